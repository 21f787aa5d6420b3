"""Two models on the same rows: what the model moved and what the data moved, by feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tfx_explain.report.formats import ABSENT, interval, number, percent, text
from tfx_explain.report.html import Html, escaped, table, tag

_TOP: Final = 40


def paired_sections(summary: Mapping[str, Any]) -> list[Html]:
    """The last model that passed beside this one; nothing for a summary that was not asked."""
    paired = summary.get("paired")
    if not paired:
        return []
    head = tag("h2", "Beside the last model that passed, on the same rows")
    if paired["overall"] is None:
        return [head, tag("p", f"Not compared: {paired['absent']}.", class_="note")]
    return [head, *pair_table(paired["overall"], "paired.json")]


def pair_table(overall: Mapping[str, Any], rest: str) -> list[Html]:
    """Both models by feature, the most moved first.

    Share now = share of the reference's model then + the data's part + the model's part.

    Args:
      overall: the entry of the overall slice.
      rest: the file that holds what is not shown.
    """
    features = sorted(overall["features"], key=lambda f: (-size_of(f), f["name"]))
    header = [
        "feature", "share now", "last model, same rows", "last model, at its time", "model part", "data part", "rank",
        "row correlation",
    ]  # fmt: skip
    rows = [
        [
            _name(f),
            _share(f["share"]),
            _share(f["reference_share"]),
            _share(f["reference_share_then"]),
            part_of(f["model_part"]),
            part_of(f["data_part"]),
            _rank(f),
            value_of(f.get("correlation")),
        ]
        for f in features[:_TOP]
    ]
    note = (
        "Shares of the summed |attribution|. Model part: this model less the last one that passed, on the same rows. "
        "Data part: that model's share on today's rows less its share at its time. In brackets 5 % to 95 %."
    )
    left_out = [tag("p", f"{len(features) - _TOP} more in {rest}.", class_="note")] if features[_TOP:] else []
    return [
        tag("div", table(header, rows, numeric=range(1, len(header))), class_="wide features"),
        *left_out,
        tag("p", note, class_="note"),
    ]


def size_of(feature: Mapping[str, Any]) -> float:
    """How much of a feature's share moved, for either reason; the move itself where the parts are unknown."""
    parts = [feature[p]["value"] for p in ("model_part", "data_part") if feature[p] is not None]
    known = [abs(p) for p in parts if p is not None]
    if known:
        return max(known)
    now, then = feature["share"], feature.get("reference_share_then")
    if not now or not then or now["value"] is None or then["value"] is None:
        return 0.0
    return abs(now["value"] - then["value"])


def _name(feature: Mapping[str, Any]) -> str:
    where = {"candidate": " (not used by this model)", "reference": " (new)"}.get(feature["absent_from"], "")
    return f"{feature['name']}{where}"


def _share(measured: Mapping[str, Any] | None) -> str:
    return ABSENT if measured is None else percent(measured["value"])


def part_of(measured: Mapping[str, Any] | None) -> Html:
    """A signed part with its interval below."""
    if measured is None or measured["value"] is None:
        return escaped(ABSENT)
    value = measured["value"]
    sign = "+" if value > 0 else ""
    return escaped(f"{sign}{percent(value)}\n[{interval(measured['low'], measured['high'], percent)}]")


def _rank(feature: Mapping[str, Any]) -> str:
    now, then = feature.get("rank"), feature.get("reference_rank")
    return ABSENT if now is None and then is None else f"{text(then)} → {text(now)}"


def value_of(measured: Mapping[str, Any] | None) -> str:
    """The value alone."""
    return ABSENT if measured is None else number(measured["value"])
