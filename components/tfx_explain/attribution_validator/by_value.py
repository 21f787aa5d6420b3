"""What each value of a named feature does: a feature that gives the label away shows it here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfx_explain.attribution_reference.store import PassedModel
from tfx_explain.attribution_validator.checks.base import Result
from tfx_explain.attribution_validator.evidence import Candidate, Judged
from tfx_explain.engine.aggregates.bins import FeatureBins
from tfx_explain.engine.aggregates.buckets import BucketStatistics
from tfx_explain.engine.aggregates.intervals import number

MAX_FEATURES = 3
MEASURED, NOT_USED, ABSENT = "measured", "not_used", "absent"


def by_value(judged: Judged) -> list[dict[str, Any]]:
    """Of each feature that a finding names, those that block first, its value bins with rows; as JSON.

    Args:
      judged: findings, and the statistics that they were reached from.

    Returns:
      At most MAX_FEATURES entries: `feature`, `slice`; `model` and `reference`, each MEASURED, NOT_USED or ABSENT (no
      other model, or one with other value bins); and `values`, bin by bin.
    """
    candidate = judged.candidate
    if candidate is None:
        return []
    newest = judged.reference.newest_other(candidate.fingerprint) if judged.reference else None
    if any(r.check == "comparability" for r in judged.verdict.results):
        newest = None
    entries = (_entry(candidate, newest, judged, *named) for named in _named(judged.verdict.results, candidate))
    return [entry for entry in entries if entry is not None][:MAX_FEATURES]


def _named(results: Sequence[Result], candidate: Candidate) -> Iterator[tuple[str, str]]:
    """(feature, slice) of findings, each feature once; of a group its members."""
    findings = sorted((r for r in results if r.verdict != "PASS" and r.feature), key=lambda r: not r.blocks)
    seen: set[str] = set()
    for result in findings:
        groups = candidate.groups.get(result.slice)
        members = dict(groups.groups).get(str(result.feature)) if groups else None
        for feature in members or (str(result.feature),):
            if feature not in seen:
                seen.add(feature)
                yield feature, result.slice


def _entry(
    candidate: Candidate, newest: PassedModel | None, judged: Judged, feature: str, slice_name: str
) -> dict[str, Any] | None:
    """One feature in one slice; None where no bins of it are known, or no row has any."""
    pinned = judged.reference.pins.bins.get(feature) if judged.reference else None
    bins = candidate.pins.bins.get(feature, pinned)
    if bins is None:
        return None
    ours, now = _sums(candidate.slices.get(slice_name), feature, bins)
    theirs, before = ABSENT, None
    if newest is not None and (bins == pinned or feature not in newest.statistics.features):
        theirs, before = _sums(newest.slices.get(slice_name), feature, bins)
    # What a label adds up to by value is a rate, or a mean, only where the label is such a number.
    labelled = now is not None and slice_name in candidate.slices and _labelled(candidate, candidate.slices[slice_name])
    values = [
        {
            "value": words,
            "rows": None if now is None else int(now["bin_rows"][i]),
            "weight": None if now is None else number(now["bin_weight"][i]),
            "mean": _mean(now, "bin_sum", i),
            "label_mean": _mean(now, "bin_sum_label", i) if labelled else None,
            "reference_rows": None if before is None else int(before["bin_rows"][i]),
            "reference_mean": _mean(before, "bin_sum", i),
        }
        for i, words in enumerate(bins.labels)
    ]
    held = [v for v in values if v["rows"] or v["reference_rows"]]
    return (
        {"feature": feature, "slice": slice_name, "model": ours, "reference": theirs, "values": held} if held else None
    )


def _sums(
    statistics: BucketStatistics | None, feature: str, bins: FeatureBins
) -> tuple[str, dict[str, np.ndarray] | None]:
    """Whether a model has sums of the feature's bins, and these, over all hash buckets: each [bins]."""
    if statistics is None:
        return ABSENT, None
    if feature not in statistics.features:
        return NOT_USED, None
    place = statistics.features.index(feature)
    if statistics.bin_sizes[place] != bins.size:
        return ABSENT, None
    start = int(sum(statistics.bin_sizes[:place]))
    return MEASURED, {
        name: sums[:, start : start + bins.size].sum(axis=0) for name, sums in statistics.bin_sums.items()
    }


def _labelled(candidate: Candidate, statistics: BucketStatistics) -> bool:
    """Whether every row has a label, and one that has a mean."""
    weight, labelled = (float(statistics.scalars[name].sum()) for name in ("weight", "labelled_weight"))
    known = (candidate.summary.get("metrics") or {}).get("label_mean") or {}
    return known.get("value") is not None and bool(np.isclose(weight, labelled, rtol=1e-9))


def _mean(sums: dict[str, np.ndarray] | None, name: str, place: int) -> float | None:
    if sums is None or not sums["bin_weight"][place] > 0:
        return None
    return number(sums[name][place] / sums["bin_weight"][place])
