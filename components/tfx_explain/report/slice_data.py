"""Slices of a summary as the report reads them; summaries of before there were slices have none."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, TypedDict

from tfx_explain.report.chart import fraction
from tfx_explain.report.formats import known

Measure = Mapping[str, Any]
"""`value`, `low`, `high`; each may be None."""


class Slice(TypedDict):
    """One slice; `features` and `importance` are by name, the leading ones first.

    Attributes:
      name: of the slice.
      small: whether it is a remainder of small slices.
      entry: what the summary holds of it.
      features: `share` and `mean` of each.
      importance: drop of the metric that is shown, by feature or group.
    """

    name: str
    small: bool
    entry: Mapping[str, Any]
    features: Mapping[str, Mapping[str, Measure]]
    importance: Mapping[str, Measure]


def slices_of(summary: Mapping[str, Any], metric: str | None, named: Set[str] = frozenset()) -> list[Slice]:
    """The slices of a summary: those in `named`, those that the gate's checks require, the others, remainders last.

    Args:
      summary: what summary.json holds.
      metric: whose drops are shown.
      named: slices that a failed check names.
    """
    required = set((summary.get("slicing") or {}).get("required") or ())
    slices = [_slice(entry, metric) for entry in summary.get("slices") or ()]
    return sorted(slices, key=lambda one: (one["name"] not in named, one["name"] not in required, one["small"]))


def overall_shares(summary: Mapping[str, Any]) -> dict[str, float]:
    """Share of each feature overall, where it is known."""
    shares = {str(feature["name"]): fraction(feature.get("share")) for feature in summary["features"]}
    return {name: share for name, share in shares.items() if share is not None}


def _slice(entry: Mapping[str, Any], metric: str | None) -> Slice:
    items = entry.get("permutation_importance") or ()
    drops = {str(item["name"]): (item["metrics"].get(metric) or {}).get("drop") or {} for item in items}
    ordered = sorted(drops, key=lambda name: (-(known(drops[name]) or 0.0), name))
    return {
        "name": str(entry["name"]),
        "small": entry.get("key") is None,
        "entry": entry,
        "features": {str(feature["name"]): feature for feature in entry.get("features") or ()},
        "importance": {name: drops[name] for name in ordered if known(drops[name]) is not None},
    }


def rows_read(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of each slice that the summary shows."""
    return {str(entry["name"]): entry.get("rows") for entry in summary.get("slices") or ()}
