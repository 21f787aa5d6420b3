"""Direction flip: no feature that matters pushes the other way than before."""

from tfx_explain.attribution_validator.checks.base import Evidence, Result, SliceEvidence
from tfx_explain.attribution_validator.checks.comparisons import compare_features
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.comparisons import direction_flips
from tfx_explain.engine.aggregates.intervals import Measured

CHECK = "direction_flip"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """The largest flip over common features, of all rows and of each required slice.

    A flip is share times how far the profile has turned.
    """
    rule = config.checks.direction_flip

    def describe(part: SliceEvidence, top: int, measured: Measured) -> str:
        name = evidence.reference.name if evidence.reference else "no model"
        if measured.value == 0:
            return f"No feature pushes the other way than in {name}."
        if measured.high <= rule.threshold:
            return (
                f"Against {name}, {part.common[top]!r} turned its direction most: share times turn is "
                f"{measured.value:.3f}, allowed is {rule.threshold:.3g}."
            )
        return (
            f"{part.common[top]!r} pushes predictions the other way than in {name}: share times turn is "
            f"{measured.value:.3f}, allowed is {rule.threshold:.3g}."
        )

    return compare_features(CHECK, rule, evidence, direction_flips, describe)
