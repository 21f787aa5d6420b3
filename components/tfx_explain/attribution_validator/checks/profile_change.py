"""Profile change: over its value bins, a feature pushes predictions as it did before."""

import numpy as np

from tfx_explain.attribution_validator.checks.base import Evidence, Result, SliceEvidence, judge, percent, result
from tfx_explain.attribution_validator.checks.comparisons import compare_features
from tfx_explain.attribution_validator.checks.units import SHARE
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.comparisons import left_bins, profile_changes
from tfx_explain.engine.aggregates.intervals import Measured, measure

CHECK = "profile_change"
_TOGETHER = 0.5
"""Part of the attribution that may lie on features which have left their bins, where none of them is much alone."""


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """The largest distance of attribution profiles over common features, of all rows and of each required slice.

    A small feature that has left its bins is no finding; where most of the attribution lies on such ones, there is no
    profile to compare, nor any direction.
    """
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

    def together(part: SliceEvidence, _: np.ndarray) -> Result | None:
        if part.reference_profiles is None or evidence.reference is None:
            raise ValueError("profile_change needs a reference. Received: none")
        left = left_bins(part.profiles, part.reference_profiles, part.common)
        shares = [p.shares(part.common)[:, left].sum(axis=1) for p in (part.profiles, part.reference_profiles)]
        measured, limit = measure(np.maximum(*shares), part.filled), max(rule.threshold, _TOGETHER)
        if judge(measured, limit) == "PASS":
            return None
        largest_first = np.argsort(-part.profiles.shares(part.common)[0], kind="stable")
        names = [repr(part.common[i]) for i in largest_first if left[i]]
        sentence = (
            f"{part.where}{len(names)} features ({', '.join(names[:5])} first), together "
            f"{percent(measured.value)} of the attribution, lie where {evidence.reference.name} had few values, or the "
            f"other way round, so how the model treats them cannot be compared; {percent(limit)} are allowed. Value "
            "bins are those of the first model: if the data are meant so, start a new gate with a node id of its own."
            + part.moved_sentence(None)
        )
        return result(CHECK, "INCONCLUSIVE", rule.severity, sentence, measured, limit, None, part.name, SHARE)

    return compare_features(CHECK, rule, evidence, profile_changes, describe, together)
