"""The section of values: what each value of a feature that a finding names adds to the prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tfx_explain.report.formats import ABSENT, is_number, number, raw, shortened, text, visible
from tfx_explain.report.html import Html, folded, joined, table, tag
from tfx_explain.report.method import method_unit

_OPEN_ROWS: Final = 12
_LEADING: Final = 8
_LENGTH: Final = 60
_ROWS: Final = "Rows are the distinct ones that were explained."
_LEAK: Final = (
    " A feature that gives the label away has values whose label mean is near 0 or 1, and whose contribution is far"
    " from that of the others."
)


def by_value_sections(anomalies: Mapping[str, Any], summary: Mapping[str, Any] | None) -> list[Html]:
    """A table for each feature that a finding names; nothing where there is none, as in files of before.

    Args:
      anomalies: what anomalies.json holds.
      summary: of the judged model; None when it could not be read.
    """
    entries: Sequence[Mapping[str, Any]] = anomalies.get("by_value") or ()
    if not entries:
        return []
    unit = text(anomalies["model"].get("unit")) if summary is None else method_unit(summary)
    baselines = {} if summary is None else summary["method"].get("input_baseline") or {}
    parts = [part for entry in entries for part in _feature(entry, unit, baselines.get(entry["feature"]))]
    means = [v["label_mean"] for entry in entries for v in entry["values"] if is_number(v["label_mean"])]
    leak = _LEAK if means and all(0 <= mean <= 1 for mean in means) else ""
    return [tag("h2", "Named features, by value"), *parts, tag("p", _ROWS, leak, class_="note")]


def _feature(entry: Mapping[str, Any], unit: str, baseline: Sequence[Any] | None) -> list[Html]:
    values: Sequence[Mapping[str, Any]] = entry["values"]
    place = "" if entry["slice"] == "overall" else f" in slice {entry['slice']}"
    start = f", counted from the input baseline {_plain(baseline[0])}" if baseline and len(baseline) == 1 else ""
    title = tag("p", tag("strong", str(entry["feature"])), f"{place}: mean contribution of each value{start}.")
    known = [name for name in ("label_mean",) if any(is_number(value.get(name)) for value in values)]
    header = ["value", "rows", *("label mean" for _ in known), f"mean contribution, {unit}"]
    unused, compared = entry["model"] == "not_used", entry["reference"] != "absent"
    header += ["in the last model that passed"] if compared else []
    rows = [
        [
            shortened(visible(str(value["value"])), _LENGTH),
            number(value["rows"] if value["rows"] is not None else value["reference_rows"]),
            *(number(value.get(name)) for name in known),
            "not used" if unused else _signed(value["mean"]),
            *(
                ["not used" if entry["reference"] == "not_used" else _signed(value["reference_mean"])]
                if compared
                else []
            ),
        ]
        for value in values
    ]
    first = set(range(len(rows))) if len(rows) <= _OPEN_ROWS else _leading(values, unused)
    shown, rest = ([row for i, row in enumerate(rows) if (i in first) is wanted] for wanted in (True, False))
    more = [folded(f"{len(rest)} more values", _table(header, rest))] if rest else []
    return [title, _table(header, shown), *more]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    return joined((tag("div", table(header, rows, numeric=range(1, len(header))), class_="wide values"),))


def _leading(values: Sequence[Mapping[str, Any]], unused: bool) -> set[int]:
    """Places of the values that set rows apart most: by their weight, and how far their mean is from that of all."""
    weight, mean = ("reference_rows", "reference_mean") if unused else ("weight", "mean")
    known = {i: (v[weight], v[mean]) for i, v in enumerate(values) if is_number(v[weight]) and is_number(v[mean])}
    total = sum(w for w, _ in known.values())
    overall = sum(w * m for w, m in known.values()) / total if total else 0.0
    order = sorted(known, key=lambda i: (-known[i][0] * abs(known[i][1] - overall), i))
    return set(order[:_LEADING])


def _signed(value: object) -> str:
    if not is_number(value):
        return ABSENT
    return f"+{number(value)}" if value > 0 else number(value)


def _plain(value: object) -> str:
    """A raw value, cut."""
    return shortened(visible(raw(value)), _LENGTH)
