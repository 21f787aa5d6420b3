"""The table of slices: rows, metrics of ours and of Evaluator, and the features that lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tfx_explain.report.formats import ABSENT, excludes, interval, known, listed, number, percent, points
from tfx_explain.report.html import Html, folded, joined, table, tag
from tfx_explain.report.slice_data import Measure, Slice

_LEADING: Final = 3
_EVALUATORS_OWN: Final = 4
_NAMES: Final = 20
_OPEN_ROWS: Final = 12


def slice_table(
    summary: Mapping[str, Any], slices: Sequence[Slice], overall: Mapping[str, float], metric: str | None
) -> Html:
    """A row for each slice, the overall one first; an Evaluator's metric stands below ours of the same name.

    Args:
      summary: what summary.json holds.
      slices: in the order of the rows.
      overall: share of each feature overall.
      metric: whose drops under permutation say what a slice needs.
    """
    entries = [_overall_entry(summary), *(one["entry"] for one in slices)]
    ours, theirs = (_metric_names(entries, kind) for kind in ("metrics", "evaluator_metrics"))
    own = [name for name in theirs if name not in ours]
    needs = any(one["importance"] for one in slices)
    header = [
        "slice",
        "rows",
        "leads (share, points from overall)",
        *([f"needs most (drop in {metric})"] if needs else []),
    ]
    first = len(header)
    header += ["mean prediction", *ours, *(f"{name}, Evaluator" for name in own[:_EVALUATORS_OWN])]
    leads = [_overall_leading(overall), *(_leading(one, overall) for one in slices)]
    needed = [ABSENT, *map(_needed, slices)]
    names = ["overall", *(one["name"] for one in slices)]
    rows = [
        [name, _rows(entry), lead, *([need] if needs else []), *_measures(entry, ours, own[:_EVALUATORS_OWN])]
        for name, entry, lead, need in zip(names, entries, leads, needed, strict=True)
    ]
    notes = [
        "Bold: the overall share lies outside the slice's interval. In brackets the 5th to the 95th percentile; where"
        " there are none, too few rows, or too few of one label, stand behind the number."
    ]
    if needs:
        notes.append("Named as needed is what loses clearly when it is permuted: the interval of the drop is above 0.")
    if theirs:
        notes.append("Evaluator measures all rows of its splits; ours come from the explained sample.")
    if own[_EVALUATORS_OWN:]:
        notes.append(f"Left out of Evaluator's metrics: {listed(own[_EVALUATORS_OWN:], _NAMES)}.")
    content = tag("div", table(header, rows, numeric=[1, *range(first, len(header))]), class_="wide slices")
    title = f"Metrics and leading features of {len(slices)} slice{'' if len(slices) == 1 else 's'}"
    return folded(title, content, tag("p", " ".join(notes), class_="note"), shut=len(rows) > _OPEN_ROWS)


def _overall_entry(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    examples = summary["examples"]
    return {
        "rows": examples.get("rows"),
        "explained_rows": examples.get("explained_rows"),
        "prediction_mean": (summary.get("prediction") or {}).get("mean"),
        "metrics": summary.get("metrics"),
        "evaluator_metrics": summary.get("evaluator_metrics"),
    }


def _metric_names(entries: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    """Metrics that any slice has, by name; counts last, since they say least."""
    names = {str(name) for entry in entries for name in entry.get(kind) or ()}
    return sorted(names, key=lambda name: (name.endswith("_count"), name))


def _rows(entry: Mapping[str, Any]) -> str:
    failed = entry.get("failed_rows")
    lines = [number(entry.get("rows")), f"{number(entry.get('explained_rows'))} explained"]
    return "\n".join([*lines, *([f"{number(failed)} failed"] if failed else [])])


def _measures(entry: Mapping[str, Any], ours: Sequence[str], own: Sequence[str]) -> list[str]:
    mine, theirs = entry.get("metrics") or {}, entry.get("evaluator_metrics") or {}
    cells = [number(entry.get("prediction_mean"))]
    for name in ours:
        beside = f"\nEvaluator {number(theirs[name].get('value'))}" if name in theirs else ""
        cells.append(_metric(mine.get(name)) + beside)
    return [*cells, *(_metric(theirs.get(name)) for name in own)]


def _metric(measure: Measure | None) -> str:
    """The value, its interval on the next line."""
    measure = measure or {}
    bounds = interval(measure.get("low"), measure.get("high"))
    return number(measure.get("value")) + ("" if bounds == ABSENT else f"\n[{bounds}]")


def _overall_leading(overall: Mapping[str, float]) -> str:
    names = sorted(overall, key=lambda name: (-overall[name], name))[:_LEADING]
    return "\n".join(f"{name} {percent(overall[name])}" for name in names) or ABSENT


def _leading(one: Slice, overall: Mapping[str, float]) -> Html:
    lines = [_lean(name, one["features"][name].get("share"), overall) for name in list(one["features"])[:_LEADING]]
    return joined(piece for i, line in enumerate(lines) for piece in (("\n", line) if i else (line,)))


def _lean(name: str, share: Measure | None, overall: Mapping[str, float]) -> Html:
    value = known(share)
    if value is None or name not in overall:
        return joined((f"{name} {percent((share or {}).get('value'))}",))
    line = f"{name} {percent(value)} ({points(value - overall[name]).removesuffix(' points')})"
    return tag("strong", line) if excludes(share, overall[name]) else joined((line,))


def _needed(one: Slice) -> str:
    clear = [name for name, drop in one["importance"].items() if (known(drop) or 0.0) > 0 and excludes(drop, 0.0)]
    return "\n".join(f"{name} {number(known(one['importance'][name]))}" for name in clear[:_LEADING]) or ABSENT
