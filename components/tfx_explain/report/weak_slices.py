"""The section of weak slices: where the model is worse than overall, and what it leans on there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tfx_explain.report.formats import ABSENT, excludes, interval, is_number, known, measured, number, points
from tfx_explain.report.html import Html, folded, joined, table, tag
from tfx_explain.report.slice_data import rows_read

_FEATURES: Final = 3
_OPEN_SLICES: Final = 8
_RARE, _FEW = 0.25, 100
"""A label is too few where it is this rare, and of that few rows."""

_NOTE: Final = (
    "Slices whose metric is clearly worse than overall, sorted by how much worse it is, times how much a feature's"
    " share differs there. Of slices that are no worse, about one in twenty would stand here by chance. Bold: the"
    " difference's interval leaves out 0."
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
    unmeasured = [entries for entries in slices if not _has_interval(entries[0]["gap"])]
    unclear = [entries for entries in slices if entries not in clear and entries not in unmeasured]
    parts = [head, _sentence(clear[0]) if clear else tag("p", "No slice is clearly worse than overall.")]
    if clear:
        parts.append(_table(clear[:_OPEN_SLICES], read))
    if clear[_OPEN_SLICES:]:
        parts.append(folded(f"{len(clear) - _OPEN_SLICES} more", _table(clear[_OPEN_SLICES:], read)))
    if unmeasured:
        entries = {str(entry["name"]): entry for entry in summary.get("slices") or ()}
        why = [_why(entries.get(str(one[0]["slice"]), {})) for one in unmeasured]
        title = f"{len(unmeasured)} not measurable: how far the gap is chance cannot be told"
        parts.append(folded(title, _table(unmeasured, read, why), shut=len(unmeasured) > _OPEN_SLICES))
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


def _has_interval(gap: Mapping[str, Any]) -> bool:
    return is_number(gap.get("low")) and is_number(gap.get("high"))


def _why(entry: Mapping[str, Any]) -> str:
    """Why a slice's metric has no interval: some draw of its rows holds none, or labels of one kind alone."""
    rows = entry.get("explained_rows")
    if not is_number(rows):
        return "too few rows, or too few of one label"
    mean = known((entry.get("metrics") or {}).get("label_mean"))
    if mean is not None and 0 <= mean <= 1:
        for part, kind in ((mean, "positive"), (1 - mean, "negative")):
            if part < _RARE and part * rows < _FEW:
                return f"too few {kind} labels: about {number(round(part * rows))} of {number(rows)} explained rows"
    return f"too few rows: {number(rows)} explained"


def _table(
    slices: Sequence[Sequence[Mapping[str, Any]]], read: Mapping[str, Any], why: Sequence[str] | None = None
) -> Html:
    """A row for each slice; instead of intervals the reasons `why` there are none."""
    rows = []
    for i, entries in enumerate(slices):
        first = entries[0]
        gap = first["gap"]
        shifts = [_shift(entry) for entry in entries[:_FEATURES]]
        rows.append(
            [
                str(first["slice"]),
                number(read.get(str(first["slice"]))),
                str(first["metric"]),
                number(gap.get("value")),
                interval(gap.get("low"), gap.get("high")) if why is None else why[i],
                joined(piece for j, line in enumerate(shifts) for piece in (("\n", line) if j else (line,))),
            ]
        )
    header = ["slice", "rows", "metric", "worse by", "interval", "leans there, from overall"]
    if why is not None:
        header[4] = "why it has no interval"
    return tag("div", table(header, rows, numeric=(1, 3, 4) if why is None else (1, 3)), class_="wide slices")


def _shift(entry: Mapping[str, Any]) -> Html:
    shift = entry["shift"]
    value = known(shift)
    line = f"{entry['feature']} {ABSENT if value is None else points(value)}"
    return tag("strong", line) if excludes(shift, 0.0) else joined((line,))
