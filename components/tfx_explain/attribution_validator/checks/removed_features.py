"""Removed features: what mattered may not lose its path to the output before a person has approved it."""

from collections.abc import Iterator

from tfx_explain.attribution_validator.checks.advice import Advice, approve
from tfx_explain.attribution_validator.checks.base import Evidence, Result, SliceEvidence, percent
from tfx_explain.config import ValidationConfig

CHECK = "removed_features"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """Of all rows and of each required slice one result per removed feature, or one PASS.

    Where each passes alone, one for all unapproved ones together. The reference's share is a stored constant, without
    interval. Comparisons are among common features: what a removed one carried in a slice shows nowhere else. A model
    that is compared with itself, since no other stands passed, is asked again for what an approval let go.
    """
    return [one for part in evidence.slices for one in _check_slice(evidence, config, part)]


def _check_slice(evidence: Evidence, config: ValidationConfig, part: SliceEvidence) -> Iterator[Result]:
    rule = config.checks.removed_features
    if evidence.reference_profiles is None or evidence.reference is None:
        raise ValueError("removed_features needs a reference. Received: none")
    if part.reference_profiles is None:
        return  # a slice that the reference lacks: `without_reference` decides
    features, name = evidence.reference.statistics.features, evidence.reference.name
    shares = dict(zip(features, part.reference_profiles.shares(features)[0].tolist(), strict=True))
    if evidence.alone:
        before = evidence.reference.approved_removed
        shares = {f: by_slice[part.name] for f, by_slice in before.items() if part.name in by_slice}
        features, name = tuple(shares), "the model before it, and an approval let it go"
    used = set(evidence.candidate.used_features)
    out, unapproved = [], []
    for feature in (f for f in features if f not in used):
        share = shares[feature]
        sentence = (
            f"{part.where}{feature!r} has no path to the output any more; it carried {percent(share)} in {name}, "
            f"{percent(rule.threshold)} need no approval."
        )
        approval, passed = evidence.approval(feature, config), share <= rule.threshold
        if approval is None:
            unapproved.append(feature)
        if not passed and approval is not None:
            passed, sentence = True, f"{sentence} Approved until {approval.until}: {approval.reason}"
        advice = None if passed else approve([feature])
        if advice is not None:
            sentence += f" If it was meant to go, {advice}."
        out.append(_result(config, part, advice, sentence, share, feature))
    if len(unapproved) > 1 and all(r.verdict == "PASS" for r in out):
        together = sum(shares[f] for f in unapproved)
        advice = None if together <= rule.threshold else approve(unapproved)
        sentence = (
            f"{part.where}{len(unapproved)} features lost their path to the output; together they carried "
            f"{percent(together)} in {name}, {percent(rule.threshold)} need no approval."
        )
        if advice is not None:
            sentence += f" If they were meant to go, {advice}."
        out.append(_result(config, part, advice, sentence, together, None))
    nothing = f"{part.where}No feature was removed."
    yield from out or [Result(CHECK, "PASS", rule.severity, nothing, slice=part.name, threshold=rule.threshold)]


def _result(
    config: ValidationConfig,
    part: SliceEvidence,
    advice: Advice | None,
    sentence: str,
    share: float,
    feature: str | None,
) -> Result:
    """A PASS where there is nothing to advise."""
    rule = config.checks.removed_features
    return Result(
        CHECK,
        "PASS" if advice is None else "NEEDS_APPROVAL",
        rule.severity,
        sentence,
        feature=feature,
        slice=part.name,
        value=share,
        low=share,
        high=share,
        threshold=rule.threshold,
        policy=None if advice is None else advice.policy,
    )
