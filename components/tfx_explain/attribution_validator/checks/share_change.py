"""Share change: no feature's share has moved further than retraining moves it."""

from tfx_explain.attribution_validator.checks.base import Evidence, Result, percent
from tfx_explain.attribution_validator.checks.comparisons import compare_features
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.comparisons import share_changes
from tfx_explain.engine.aggregates.intervals import Measured

CHECK = "share_change"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """The largest |change of share| over common features."""
    rule = config.checks.share_change

    def describe(top: int, measured: Measured) -> str:
        if evidence.reference_profiles is None or evidence.reference is None:
            raise ValueError("share_change needs a reference. Received: none")
        now = evidence.profiles.shares(evidence.common)[0, top]
        before = evidence.reference_profiles.shares(evidence.common)[0, top]
        among = "" if set(evidence.common) == set(evidence.candidate.statistics.features) else " of the common features"
        return (
            f"{evidence.common[top]!r} carries {percent(now)} of the attribution{among}, {percent(before)} in "
            f"{evidence.reference.name}: a change of {measured.value:.3f}, allowed is {rule.threshold:.3g}."
        )

    return compare_features(CHECK, rule, evidence, share_changes, describe)
