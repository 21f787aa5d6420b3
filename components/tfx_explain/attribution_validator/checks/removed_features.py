"""Removed features: a feature that mattered may not lose its path to the output before a person has approved it."""

from tfx_explain.attribution_validator.checks.base import Evidence, Result, percent
from tfx_explain.config import ValidationConfig

CHECK = "removed_features"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """One result per removed feature, or one PASS. The reference's share is a stored constant, without interval."""
    rule = config.checks.removed_features
    if evidence.reference_profiles is None or evidence.reference is None:
        raise ValueError("removed_features needs a reference. Received: none")
    features = evidence.reference.statistics.features
    shares = evidence.reference_profiles.shares(features)[0]
    used = set(evidence.candidate.used_features)
    out = []
    for feature, share in zip(features, shares, strict=True):
        if feature in used:
            continue
        sentence = (
            f"{feature!r} has no path to the output any more; it carried {percent(share)} in "
            f"{evidence.reference.name}, "
            f"{percent(rule.threshold)} need no approval."
        )
        approval = evidence.approval(feature, config)
        passed = share <= rule.threshold
        if not passed and approval is not None:
            passed, sentence = True, f"{sentence} Approved until {approval.until}: {approval.reason}"
        elif not passed:
            sentence += " If it was meant to go, add it to approved_features with a reason."
        out.append(
            Result(
                CHECK,
                "PASS" if passed else "NEEDS_APPROVAL",
                rule.severity,
                sentence,
                feature=feature,
                value=float(share),
                low=float(share),
                high=float(share),
                threshold=rule.threshold,
            )
        )
    return out or [Result(CHECK, "PASS", rule.severity, "No feature was removed.", threshold=rule.threshold)]
