"""New features: what the last model that passed did not use may not lead before a person has approved it."""

from collections.abc import Iterator

import numpy as np

from tfx_explain.attribution_validator.checks.advice import approve
from tfx_explain.attribution_validator.checks.base import (
    Evidence,
    Result,
    SliceEvidence,
    Verdict,
    judge,
    percent,
    result,
    uncertain,
)
from tfx_explain.attribution_validator.checks.units import SHARE
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.intervals import Measured, measure

CHECK = "new_features"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """Of all rows and of each required slice one result per feature that the last model did not use, or one PASS.

    Where each passes alone, one for all unapproved ones together. A feature that an earlier model of the reference used
    is judged by how much its share has risen since, unless an approval let it go: what a person took out, as a leak
    is, comes back by a person's word. A model that is compared with itself, since no other stands passed, is no
    witness of what an approval let come.

    Comparisons are among common features: what a new one carries in a slice shows nowhere else.
    """
    return [one for part in evidence.slices for one in _check_slice(evidence, config, part)]


def _check_slice(evidence: Evidence, config: ValidationConfig, part: SliceEvidence) -> Iterator[Result]:
    rule, features = config.checks.new_features, evidence.candidate.statistics.features
    used_before = set(evidence.reference.used_features) if evidence.reference else set()
    if evidence.reference is not None and evidence.alone:
        used_before -= {*evidence.reference.approved_new}
    shares, out, unapproved = part.profiles.shares(features), [], []
    for i, feature in enumerate(features):
        if feature in used_before:
            continue
        before = evidence.known_share(feature, part.name)
        measured = measure(shares[:, i] - before, part.filled)
        verdict = _judged(measured, rule.threshold)
        carried = percent(float(shares[0, i]))
        if feature in evidence.let_go:
            sentence = (
                f"{part.where}{feature!r} is back: an approval let it go, so that what models before it carried does "
                f"not count. It carries {carried} of the attribution, {percent(rule.threshold)} need no approval."
            )
        elif feature in evidence.known_features:
            sentence = (
                f"{part.where}{feature!r} is back: the last model that passed did not use it, an earlier one gave it "
                f"{percent(before)}. It carries {carried} of the attribution; a rise of "
                f"{percent(rule.threshold)} needs no approval."
            )
        else:
            came = "came by an approval: no other" if evidence.alone else "is new: no"
            sentence = (
                f"{part.where}{feature!r} {came} model that passed used it. It carries {carried} of the "
                f"attribution, {percent(rule.threshold)} need no approval."
            )
        approval, own = evidence.approval(feature, config), config.dominant_features.get(feature)
        if approval is None:
            unapproved.append(i)
        limit = (approval and approval.max_share) or (own.max_share if own else evidence.share_cap(config))
        whole = measure(shares[:, i], part.filled)
        within = judge(whole, limit) == "PASS"
        advice = approve([feature], None if within else max(whole.value, whole.high))
        if verdict != "PASS" and approval is not None and not within:
            sentence += f" Its approval reaches to {percent(limit)}; to go further, replace it: {advice}."
        elif verdict != "PASS" and approval is not None:
            verdict, sentence = "PASS", f"{sentence} Approved until {approval.until}: {approval.reason}"
        elif verdict != "PASS":
            if shares[0, i] > evidence.default_share_cap:
                sentence += " A feature that carries a model is often a leak of the label."
            sentence += f" If it may be used, {advice}.{_ended(feature, config)}"
            sentence += uncertain(verdict, measured, rule.threshold, part.name, SHARE)
        wanted = None if verdict == "PASS" else advice
        numbers = measured, rule.threshold
        out.append(result(CHECK, verdict, rule.severity, sentence, *numbers, feature, part.name, advice=wanted))
    if len(unapproved) > 1 and all(r.verdict == "PASS" for r in out):
        out.append(_together(evidence, config, part, unapproved, shares))
    nothing = f"{part.where}No feature is new."
    yield from out or [Result(CHECK, "PASS", rule.severity, nothing, slice=part.name, threshold=rule.threshold)]


def _together(
    evidence: Evidence, config: ValidationConfig, part: SliceEvidence, columns: list[int], shares: np.ndarray
) -> Result:
    """Many small new features are as much of the model as a large one; one that fell makes no room for others."""
    rule, features = config.checks.new_features, evidence.candidate.statistics.features
    before = np.array([evidence.known_share(features[i], part.name) for i in columns])
    measured = measure(np.maximum(shares[:, columns] - before, 0.0).sum(axis=1), part.filled)
    verdict = _judged(measured, rule.threshold)
    names = ", ".join(repr(features[i]) for i in columns[:5]) + (" and others" if len(columns) > 5 else "")
    which = "came by approvals" if evidence.alone else "the last model that passed did not use"
    sentence = (
        f"{part.where}{len(columns)} features that {which} ({names}) together carry "
        f"{percent(float(shares[0, columns].sum()))} of the attribution, {percent(rule.threshold)} need no approval."
    )
    advice = None if verdict == "PASS" else approve([features[i] for i in columns])
    if advice is not None:
        sentence += f" If they may be used, {advice}."
        sentence += uncertain(verdict, measured, rule.threshold, part.name, SHARE)
    numbers = measured, rule.threshold
    return result(CHECK, verdict, rule.severity, sentence, *numbers, None, part.name, advice=advice)


def _judged(measured: Measured, threshold: float) -> Verdict:
    verdict = judge(measured, threshold)
    return "NEEDS_APPROVAL" if verdict == "FAIL" else verdict


def _ended(feature: str, config: ValidationConfig) -> str:
    ends = [a.until for a in config.approved_features if a.name == feature]
    return f" Its approval ended on {max(ends)}." if ends else ""
