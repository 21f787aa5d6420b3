"""Share change: no feature's share has moved further than retraining moves it."""

from tfx_explain.attribution_validator.checks.base import Evidence, Result, SliceEvidence, percent
from tfx_explain.attribution_validator.checks.comparisons import compare_features
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.comparisons import share_changes
from tfx_explain.engine.aggregates.intervals import Measured

CHECK = "share_change"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """The largest |change of share| over common features, of all rows and of each required slice."""
    rule = config.checks.share_change

    def describe(part: SliceEvidence, top: int, measured: Measured) -> str:
        if part.reference_profiles is None or evidence.reference is None:
            raise ValueError("share_change needs a reference. Received: none")
        now = part.profiles.shares(part.common)[0, top]
        before = part.reference_profiles.shares(part.common)[0, top]
        among = "" if set(part.common) == set(part.statistics.features) else " of the common features"
        return (
            f"{part.common[top]!r} carries {percent(now)} of the attribution{among}, {percent(before)} in "
            f"{evidence.reference.name}: a change of {measured.value:.3f}, allowed is {rule.threshold:.3g}."
        )

    return compare_features(CHECK, rule, evidence, share_changes, describe)
