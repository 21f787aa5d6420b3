"""The section of features without a gradient: which operation keeps it from them, beside what permuting them costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfx_explain.report.formats import ABSENT, interval, number, text
from tfx_explain.report.html import Html, table, tag
from tfx_explain.report.importance import shown_metric


def no_gradient(summary: Mapping[str, Any]) -> str:
    """Why nothing was attributed, where no feature has a gradient; else empty."""
    said = summary.get("attributions") or {}
    return str(said.get("reason") or "unknown") if said.get("status") == "no_gradient" else ""


def blocked_sections(summary: Mapping[str, Any]) -> list[Html]:
    """A table of the features that reach the output, in part or wholly, without a gradient; nothing where none does."""
    uncovered = [str(name) for name in summary.get("uncovered_features") or ()]
    blocked = summary.get("blocked_features") or {}
    names = sorted({*uncovered, *map(str, blocked)})
    if not names:
        return []
    metric = shown_metric(summary)
    measured = (summary.get("permutation_importance") or {}).get("features") or ()
    drops = {str(item["name"]): (item["metrics"].get(metric) or {}).get("drop") or {} for item in measured}
    header = ["feature", "attributed", "operation without gradient", "its name"]
    header += [f"drop in {metric}", "interval"] if metric else []
    rows = []
    for name in names:
        blocker, drop = blocked.get(name) or {}, drops.get(name) or {}
        row = [
            name,
            "no" if name in uncovered else "in part",
            text(blocker.get("operation")),
            text(blocker.get("name")),
        ]
        if metric:
            row += [number(drop.get("value")) if drop else ABSENT, interval(drop.get("low"), drop.get("high"))]
        rows.append(row)
    sentence = (
        "These features reach the output through an operation that has no gradient: what they change there is missing "
        "from the attributions, and from every share. Permutation importance needs no gradient."
    )
    content = tag("div", table(header, rows, numeric=range(4, len(header))), class_="wide features")
    return [tag("h2", "Without a gradient"), tag("p", sentence, class_="warning"), content]
