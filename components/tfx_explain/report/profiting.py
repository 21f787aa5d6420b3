"""The section of profiting slices: which slices would lose most without the features that matter most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tfx_explain.report.formats import excludes, measured, percent
from tfx_explain.report.html import Html, folded, tag
from tfx_explain.report.html import table as html_table

_OPEN: Final = 5


def profiting_sections(summary: Mapping[str, Any]) -> list[Html]:
    """Which slices profit from a feature; nothing for a summary that was not asked.

    Args:
      summary: `profiting_slices` lists {slice, feature, metric, drop, overall_drop}, by feature.
    """
    if "profiting_slices" not in summary:
        return []
    head = tag("h2", "Where the leading features matter most")
    entries: Sequence[Mapping[str, Any]] = summary["profiting_slices"] or ()
    if not entries:
        absent = (summary.get("permutation_importance") or {}).get("absent")
        reason = f"Not known: {absent}." if absent else "No slice has a permutation importance."
        return [head, tag("p", reason, class_="note")]
    shares = {
        (str(s["name"]), str(f["name"])): f.get("share") for s in summary.get("slices") or () for f in s["features"]
    }
    parts = [head]
    for feature in dict.fromkeys(str(e["feature"]) for e in entries):
        own = [e for e in entries if str(e["feature"]) == feature]
        overall = own[0]["overall_drop"]
        sentence = f" shuffled, {own[0]['metric']} is {measured(overall)} worse over all rows. Worst in:"
        parts.append(tag("p", "With ", tag("b", feature), sentence))
        parts.append(_table(own[:_OPEN], shares))
        if own[_OPEN:]:
            parts.append(folded(f"{len(own) - _OPEN} more", _table(own[_OPEN:], shares)))
    note = (
        "A slice that gets much worse lives by the feature. A feature that gives the label away where it is filled in "
        "looks like this; so does an honest one that is informative there. Bold: clearly more than over all rows."
    )
    return [*parts, tag("p", note, class_="note")]


def _table(entries: Sequence[Mapping[str, Any]], shares: Mapping[tuple[str, str], Any]) -> Html:
    rows = []
    for entry in entries:
        drop, overall = entry["drop"], entry["overall_drop"]
        above = excludes(drop, overall["value"]) and drop["value"] > overall["value"]
        cost = tag("b", measured(drop)) if above else measured(drop)
        share = shares.get((str(entry["slice"]), str(entry["feature"])))
        rows.append((str(entry["slice"]), cost, measured(share, percent)))
    return tag("div", html_table(("slice", "worse by", "share there"), rows), class_="wide")
