"""The section of weak slices: where the model is worse than overall, and what it leans on there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tfx_explain.report.formats import ABSENT, excludes, interval, known, measured, number, points
from tfx_explain.report.html import Html, folded, joined, table, tag
from tfx_explain.report.slice_data import rows_read

_FEATURES: Final = 3
_OPEN_SLICES: Final = 8

_NOTE: Final = (
    "Slices whose metric is clearly worse than overall, by the gap times the shift of a share. Of slices that are no"
    " worse, about one in twenty would stand here by chance. Bold: the shift's interval leaves out 0."
)


def weak_sections(summary: Mapping[str, Any]) -> list[Html]:
    """Where the model does badly; nothing for a summary that was not asked."""
    ranked = summary.get("weak_slices")
    if ranked is None:
        return []
    head = tag("h2", "Where it does badly")
    if not ranked:
        absent = summary.get("metrics_absent")
        return [head, tag("p", f"Not known: {absent}" if absent else "No slice is worse than overall.", class_="note")]
    read = rows_read(summary)
    slices = _by_slice(ranked)
    clear = [entries for entries in slices if excludes(entries[0]["gap"], 0.0)]
    unclear = [entries for entries in slices if not excludes(entries[0]["gap"], 0.0)]
    parts = [head, _sentence(clear[0]) if clear else tag("p", "No slice is clearly worse than overall.")]
    if clear:
        parts.append(_table(clear[:_OPEN_SLICES], read))
    if clear[_OPEN_SLICES:]:
        parts.append(folded(f"{len(clear) - _OPEN_SLICES} more", _table(clear[_OPEN_SLICES:], read)))
    if unclear:
        parts.append(folded(f"{len(unclear)} whose gap may be chance", _table(unclear, read)))
    return [*parts, tag("p", _NOTE, f" summary.json has the first {len(ranked)} of the ranking.", class_="note")]


def _by_slice(ranked: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Entries of one slice and metric together, in the order of the ranking."""
    out: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in ranked:
        out.setdefault((str(entry["slice"]), str(entry["metric"])), []).append(entry)
    return list(out.values())


def _sentence(entries: Sequence[Mapping[str, Any]]) -> Html:
    """The first slice in words."""
    first = entries[0]
    return tag(
        "p",
        f"In {first['slice']}, {first['metric']} is {measured(first['gap'])} worse than overall; there"
        f" {first['feature']} has {_moved(known(first['shift']))} of the attribution.",
    )


def _moved(shift: float | None) -> str:
    if shift is None:
        return f"{ABSENT} points"
    return f"{points(abs(shift)).lstrip('+')} {'more' if shift >= 0 else 'less'}"


def _table(slices: Sequence[Sequence[Mapping[str, Any]]], read: Mapping[str, Any]) -> Html:
    rows = []
    for entries in slices:
        first = entries[0]
        gap = first["gap"]
        shifts = [_shift(entry) for entry in entries[:_FEATURES]]
        rows.append(
            [
                str(first["slice"]),
                number(read.get(str(first["slice"]))),
                str(first["metric"]),
                number(gap.get("value")),
                interval(gap.get("low"), gap.get("high")),
                joined(piece for i, line in enumerate(shifts) for piece in (("\n", line) if i else (line,))),
            ]
        )
    header = ["slice", "rows", "metric", "worse by", "interval", "leans there, from overall"]
    return tag("div", table(header, rows, numeric=(1, 3, 4)), class_="wide slices")


def _shift(entry: Mapping[str, Any]) -> Html:
    shift = entry["shift"]
    value = known(shift)
    line = f"{entry['feature']} {ABSENT if value is None else points(value)}"
    return tag("strong", line) if excludes(shift, 0.0) else joined((line,))
