"""The section of slices: which rows each holds, how well the model does there, and what it leans on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from tfx_explain.report.formats import interval, listed, measured, number, percent
from tfx_explain.report.heat_map import MAX_FEATURES, MAX_SLICES, share_heat_map
from tfx_explain.report.html import Html, folded, joined, table, tag
from tfx_explain.report.method import method_unit
from tfx_explain.report.slice_data import Slice, overall_shares, slices_of
from tfx_explain.report.slice_table import slice_table

_NAMES: Final = 20


def slice_sections(
    summary: Mapping[str, Any], metric: str | None, named: Set[str] = frozenset(), features: Set[str] = frozenset()
) -> list[Html]:
    """Heat map, table, every slice's features, and what was left out; nothing for a summary that knows no slices.

    Args:
      summary: what summary.json holds.
      metric: whose drops under permutation are shown.
      named: slices that a failed check names; they stand first.
      features: features that a failed check names; the heat map has them.
    """
    if "slices" not in summary:
        return []
    head = tag("h2", "Slices")
    slices = slices_of(summary, metric, named)
    if not slices:
        nothing = tag("p", "No slice was explained beside the overall one.", class_="note")
        return [head, nothing, *_left_out(summary, slices)]
    overall = overall_shares(summary)
    unit = method_unit(summary)
    return [
        head,
        _map(slices, overall, sorted(features)),
        slice_table(summary, slices, overall, metric),
        folded("Every slice's features", *(_features(one, overall, unit, metric) for one in slices)),
        *_left_out(summary, slices),
    ]


def _map(slices: Sequence[Slice], overall: Mapping[str, float], features: Sequence[str]) -> Html:
    svg = share_heat_map(slices, overall, features)
    if not svg:
        return tag("p", "No slice has a share between 0 and 1 to draw.", class_="warning")
    cut = f" Drawn are {MAX_SLICES} of {len(slices)} slices." if len(slices) > MAX_SLICES else ""
    fewer = f" Drawn are the {MAX_FEATURES} leading of {len(overall)} features." if len(overall) > MAX_FEATURES else ""
    note = (
        "Shares in %. Colour: how far a slice's share is from the overall one, where the overall one lies outside the"
        " slice's interval (5th to 95th percentile); by chance alone one cell in ten would have some."
    )
    return joined((tag("figure", svg), tag("p", note, cut, fewer, class_="note")))


def _features(one: Slice, overall: Mapping[str, float], unit: str, metric: str | None) -> Html:
    """The slice's leading features with their intervals, shut."""
    header = ["feature", "share", "interval", "overall", f"mean, {unit}", "interval"]
    drops = [f"drop in {metric}"] if one["importance"] else []
    rows = []
    for name, feature in one["features"].items():
        share, mean = feature.get("share") or {}, feature.get("mean") or {}
        rows.append(
            [
                name,
                percent(share.get("value")),
                interval(share.get("low"), share.get("high"), percent),
                percent(overall.get(name)),
                number(mean.get("value")),
                interval(mean.get("low"), mean.get("high")),
                *(measured(one["importance"].get(name)) for _ in drops),
            ]
        )
    content = tag("div", table([*header, *drops], rows, numeric=range(1, len(header) + len(drops))), class_="wide")
    groups = one["entry"].get("group_shares") or {}
    together = "; ".join(f"{name} {measured(groups[name], percent)}" for name in sorted(groups))
    note = tag("p", f"Together: {together}.", class_="note") if together else Html()
    return folded(f"{one['name']}: {number(one['entry'].get('rows'))} rows", content, note)


def _left_out(summary: Mapping[str, Any], slices: Sequence[Slice]) -> list[Html]:
    """What the section lacks, and why."""
    slicing = summary.get("slicing") or {}
    notes = []
    missing = slicing.get("missing") or ()
    if missing:
        notes.append(tag("p", f"Required slices without a row: {listed(missing, _NAMES)}.", class_="warning"))
    sentences = []
    shown, kept = sum(not one["small"] for one in slices), slicing.get("slices")
    if isinstance(kept, int) and kept > shown:
        sentences.append(f"{shown:,} of {kept:,} slices are shown, the largest and the required ones.")
    small = slicing.get("small_slices") or {}
    if small:
        merged = (f"{name}: {number(small[name].get('rows'))} rows" for name in sorted(small))
        sentences.append(f"Slices too small to stand alone are merged ({'; '.join(merged)}).")
    for key, words in (
        ("only_ours", "Slices that Evaluator's result lacks"),
        ("only_evaluators", "Slices of Evaluator's result that were not explained"),
    ):
        names = slicing.get(key) or ()
        if names:
            sentences.append(f"{words}: {listed(names, _NAMES)}.")
    skipped = slicing.get("evaluator_skipped") or {}
    if skipped:
        reasons = (f"{number(skipped[reason])} ({reason})" for reason in sorted(skipped))
        sentences.append(f"Left out of Evaluator's numbers: {', '.join(reasons)}.")
    return [*notes, *(tag("p", sentence, class_="note") for sentence in sentences)]
