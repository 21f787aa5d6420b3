"""What the checks against a reference share: nothing to compare is never a pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfx_explain.attribution_validator.checks.base import Evidence, Result, judge, result, uncertain, worst
from tfx_explain.config import Check
from tfx_explain.engine.aggregates.comparisons import Profiles
from tfx_explain.engine.aggregates.intervals import Measured

Distance = Callable[[Profiles, Profiles, tuple[str, ...]], np.ndarray]


def compare_features(
    name: str, rule: Check, evidence: Evidence, distance: Distance, describe: Callable[[int, Measured], str]
) -> list[Result]:
    """The largest distance over common features, judged by its interval.

    Args:
      name: of the check.
      rule: threshold and severity.
      evidence: with a reference.
      distance: gives [1 + draws, common features].
      describe: (index of the worst common feature, the maximum) -> sentence.
    """
    reference = evidence.reference_profiles
    if reference is None or not evidence.common:
        sentence = (
            "The candidate shares no attributed feature with the last model that passed: nothing can be compared."
        )
        return [Result(name, "INCONCLUSIVE", rule.severity, sentence, threshold=rule.threshold)]
    top, measured = worst(distance(evidence.profiles, reference, evidence.common))
    verdict, feature = judge(measured, rule.threshold), evidence.common[top]
    sentence = describe(top, measured)
    if verdict != "PASS":
        sentence += evidence.moved_sentence(feature) + uncertain(verdict, measured, rule.threshold)
    return [result(name, verdict, rule.severity, sentence, measured, rule.threshold, feature)]
