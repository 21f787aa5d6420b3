"""What the checks against a reference share: nothing to compare is never a pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfx_explain.attribution_validator.checks.base import Evidence, Result, SliceEvidence, judge, result, uncertain
from tfx_explain.attribution_validator.checks.cells import largest, lower_bounds
from tfx_explain.attribution_validator.checks.units import UNITS
from tfx_explain.config import Check
from tfx_explain.engine.aggregates.comparisons import Profiles
from tfx_explain.engine.aggregates.intervals import Measured

Distance = Callable[[Profiles, Profiles, tuple[str, ...]], np.ndarray]
Describe = Callable[[SliceEvidence, int, Measured], str]
Together = Callable[[SliceEvidence, np.ndarray], Result | None]


def compare_features(
    name: str,
    rule: Check,
    evidence: Evidence,
    distance: Distance,
    describe: Describe,
    together: Together | None = None,
) -> list[Result]:
    """The largest distance over common features, of all rows and of each required slice that can be compared.

    Args:
      name: of the check.
      rule: threshold and severity.
      evidence: with a reference.
      distance: gives [1 + draws, common features].
      describe: (slice, index of the worst common feature, the maximum) -> sentence.
      together: (slice, its distances) -> a finding on all its features, or None; asked where each passes alone.
    """
    if evidence.reference_profiles is None or not evidence.common:
        sentence = (
            "The candidate shares no attributed feature with the last model that passed: nothing can be compared."
        )
        return [Result(name, "INCONCLUSIVE", rule.severity, sentence, threshold=rule.threshold)]
    compared, tables = [], []
    for part in evidence.slices:
        if part.reference_profiles is not None:
            compared.append(part)
            tables.append(distance(part.profiles, part.reference_profiles, part.common))
    lows = lower_bounds(tables, [part.filled for part in compared])
    out = []
    for part, table, low in zip(compared, tables, lows, strict=True):
        top, measured = largest(table, low, part.filled)
        verdict, feature = judge(measured, rule.threshold), part.common[top]
        sentence = part.where + describe(part, top, measured)
        if verdict != "PASS":
            sentence += part.moved_sentence(feature) + uncertain(
                verdict, measured, rule.threshold, part.name, UNITS.get(name)
            )
        out.append(result(name, verdict, rule.severity, sentence, measured, rule.threshold, feature, part.name))
        if together is not None and verdict == "PASS" and (found := together(part, table)) is not None:
            out.append(found)
    return out
