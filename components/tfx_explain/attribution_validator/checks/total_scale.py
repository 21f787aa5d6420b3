"""Total scale: all attributions together are about as large as before."""

import math

from tfx_explain.attribution_validator.checks.base import Evidence, Result, judge, result, uncertain
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.comparisons import scale_change
from tfx_explain.engine.aggregates.intervals import measure

CHECK = "total_scale"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """|log ratio| of the total mean |attribution|."""
    rule = config.checks.total_scale
    if evidence.reference_profiles is None or evidence.reference is None:
        raise ValueError("total_scale needs a reference. Received: none")
    measured = measure(scale_change(evidence.profiles, evidence.reference_profiles), evidence.overall.filled)
    verdict = judge(measured, rule.threshold)
    ratio = float(evidence.profiles.total[0]) / float(evidence.reference_profiles.total[0] or math.nan)
    sentence = (
        f"The total attribution is {ratio:.2f} times that of {evidence.reference.name}, allowed is "
        f"{math.exp(-rule.threshold):.2f} to {math.exp(rule.threshold):.2f} times."
    )
    if verdict != "PASS":
        hint = " More is typical of an overfitted model or changed regularisation, less of an undertrained one."
        sentence += hint + evidence.moved_sentence(None) + uncertain(verdict, measured, rule.threshold)
    return [result(CHECK, verdict, rule.severity, sentence, measured, rule.threshold, None)]
