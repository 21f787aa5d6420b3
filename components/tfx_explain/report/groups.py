"""The section of features that move together: configured groups, and clusters of correlated attributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tfx_explain.names import MAX_CLUSTERED
from tfx_explain.report.chart import fraction
from tfx_explain.report.formats import ABSENT, interval, is_number, known, listed, percent
from tfx_explain.report.html import Html, table, tag
from tfx_explain.report.slice_data import overall_shares

_MEMBERS: Final = 12


def group_sections(summary: Mapping[str, Any]) -> list[Html]:
    """Each group's joint share beside the sum of its members' own; nothing for a summary that was not asked."""
    groups = summary.get("groups")
    if groups is None:
        return []
    head = tag("h2", "Features that move together")
    if not groups:
        nothing = "No group is configured, and no features were found whose attributions move together."
        if len(summary.get("features") or ()) > MAX_CLUSTERED:
            nothing = (
                f"No group is configured, and among more than {MAX_CLUSTERED} features none are looked for whose "
                "attributions move together: name copies of one source in feature_groups."
            )
        return [head, tag("p", nothing, class_="note")]
    joint = summary.get("group_shares") or {}
    alone = overall_shares(summary)
    rows = []
    for name in sorted(groups, key=lambda name: (-(fraction(known(joint.get(name))) or 0.0), name)):
        share, members = joint.get(name) or {}, [str(member) for member in groups[name]]
        apart = [alone[member] for member in members if member in alone]
        each = [f"{member} {percent(alone.get(member))}" for member in members]
        rows.append(
            [
                str(name),
                percent(share.get("value")),
                interval(share.get("low"), share.get("high"), percent),
                percent(sum(apart)) if len(apart) == len(members) and all(map(is_number, apart)) else ABSENT,
                listed(each, _MEMBERS),
            ]
        )
    header = ["group", "joint share", "interval", "sum of single shares", "members"]
    note = (
        "The joint share counts a row's sum over the members: it is below the sum of single shares where members pull"
        " a row both ways. Judge such features together: retrains move attribution between them freely. What a feature"
        " and its crosses carry is what the model would lose with it."
    )
    return [
        head,
        tag("div", table(header, rows, numeric=(1, 2, 3)), class_="wide features"),
        tag("p", note, class_="note"),
    ]
