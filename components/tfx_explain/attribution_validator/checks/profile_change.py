"""Profile change: over its value bins, a feature pushes predictions as it did before."""

import numpy as np

from tfx_explain.attribution_validator.checks.base import Evidence, Result, SliceEvidence
from tfx_explain.attribution_validator.checks.comparisons import compare_features
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.comparisons import profile_changes
from tfx_explain.engine.aggregates.intervals import Measured

CHECK = "profile_change"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """The largest distance of attribution profiles over common features, of all rows and of each required slice."""
    rule = config.checks.profile_change

    def describe(part: SliceEvidence, top: int, measured: Measured) -> str:
        name = evidence.reference.name if evidence.reference else "no model"
        if not np.isfinite(measured.value):
            return (
                f"Most values of {part.common[top]!r} lie where {name} had none, or the other way round, so how it "
                "treats them cannot be compared."
            )
        return (
            f"The mean attribution of {part.common[top]!r} along its values differs from {name} by "
            f"{measured.value:.3f} of the total attribution, allowed is {rule.threshold:.3g}."
        )

    return compare_features(CHECK, rule, evidence, profile_changes, describe)
