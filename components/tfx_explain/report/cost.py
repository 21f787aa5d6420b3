"""The section of cost: what was forecast, what was spent, and what was lowered to keep a limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tfx_explain.report.formats import number, percent
from tfx_explain.report.html import Html, table, tag

_QUANTITIES: Final = (
    ("rows", "rows explained, at most"),
    ("forward_equivalents", "forward passes of one row"),
    ("minutes", "minutes"),
    ("memory_mb", "memory, MB"),
)


def lowered(summary: Mapping[str, Any]) -> str | None:
    """What a limit of the cost took away, in a sentence; None when nothing."""
    sentence = summary.get("lowered") or (summary.get("cost") or {}).get("lowered")
    return str(sentence) if sentence else None


def cost_sections(summary: Mapping[str, Any]) -> list[Html]:
    """Forecast beside what was spent; nothing for a summary that holds no cost."""
    cost = summary.get("cost")
    if not cost:
        return []
    forecast, spent, off = cost.get("forecast") or {}, cost.get("spent") or {}, cost.get("off")
    by_quantity = off if isinstance(off, Mapping) else {"forward_equivalents": off}
    rows = [
        [words, number(forecast.get(key)), number(spent.get(key)), _signed(by_quantity.get(key))]
        for key, words in _QUANTITIES
        if key in forecast or key in spent
    ]
    header = ["", "forecast", "spent", "forecast off by"]
    return [tag("h2", "Cost"), tag("div", table(header, rows, numeric=(1, 2, 3)), class_="wide")]


def _signed(fraction: object) -> str:
    sign = "+" if isinstance(fraction, (int, float)) and fraction > 0 else ""
    return sign + percent(fraction)
