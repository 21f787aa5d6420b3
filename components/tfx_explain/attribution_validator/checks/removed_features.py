"""Removed features: what mattered may not lose its path to the output before a person has approved it."""

from tfx_explain.attribution_validator.checks.base import Evidence, Result, percent
from tfx_explain.config import ValidationConfig

CHECK = "removed_features"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """One result per removed feature, one for all unapproved ones together, or one PASS.

    The reference's share is a stored constant, without interval.
    """
    rule = config.checks.removed_features
    if evidence.reference_profiles is None or evidence.reference is None:
        raise ValueError("removed_features needs a reference. Received: none")
    features, name = evidence.reference.statistics.features, evidence.reference.name
    shares = dict(zip(features, evidence.reference_profiles.shares(features)[0].tolist(), strict=True))
    used = set(evidence.candidate.used_features)
    out, unapproved = [], []
    for feature in (f for f in features if f not in used):
        share = shares[feature]
        sentence = (
            f"{feature!r} has no path to the output any more; it carried {percent(share)} in {name}, "
            f"{percent(rule.threshold)} need no approval."
        )
        approval, passed = evidence.approval(feature, config), share <= rule.threshold
        if approval is None:
            unapproved.append(feature)
        if not passed and approval is not None:
            passed, sentence = True, f"{sentence} Approved until {approval.until}: {approval.reason}"
        elif not passed:
            sentence += " If it was meant to go, add it to approved_features with a reason."
        out.append(_result(config, passed, sentence, share, feature))
    if len(unapproved) > 1 and all(r.verdict == "PASS" for r in out):
        together = sum(shares[f] for f in unapproved)
        passed = together <= rule.threshold
        sentence = (
            f"{len(unapproved)} features lost their path to the output; together they carried {percent(together)} in "
            f"{name}, {percent(rule.threshold)} need no approval."
        )
        if not passed:
            sentence += " If they were meant to go, add them to approved_features with a reason."
        out.append(_result(config, passed, sentence, together, None))
    return out or [Result(CHECK, "PASS", rule.severity, "No feature was removed.", threshold=rule.threshold)]


def _result(config: ValidationConfig, passed: bool, sentence: str, share: float, feature: str | None) -> Result:
    rule = config.checks.removed_features
    return Result(
        CHECK,
        "PASS" if passed else "NEEDS_APPROVAL",
        rule.severity,
        sentence,
        feature=feature,
        value=share,
        low=share,
        high=share,
        threshold=rule.threshold,
    )
