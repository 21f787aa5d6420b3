"""Vanished: no feature that mattered is still wired and yet dead, nor are many small ones that mattered together."""

from collections.abc import Iterator

import numpy as np

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
from tfx_explain.engine.aggregates.intervals import measure

CHECK = "vanished"
_FRACTION, _FLOOR = 0.1, 0.004
_TOGETHER = 0.2
"""What features that vanish may have carried together: of collinear ones each retrain drops some."""


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """Of all rows and of each required slice one result per feature that vanished, or one PASS.

    A common feature vanished if its share fell below a tenth of what it was, and below 0.004. Where none did that
    mattered alone, one for all together: a join that finds nothing any more takes many columns at once.
    """
    rule = config.checks.vanished
    if evidence.reference_profiles is None or evidence.reference is None:
        raise ValueError("vanished needs a reference. Received: none")
    if not evidence.common:
        sentence = (
            "The candidate shares no attributed feature with the last model that passed: nothing can be compared."
        )
        return [Result(CHECK, "INCONCLUSIVE", rule.severity, sentence, threshold=rule.threshold)]
    return [one for part in evidence.slices for one in _check_slice(evidence, config, part)]


def _check_slice(evidence: Evidence, config: ValidationConfig, part: SliceEvidence) -> Iterator[Result]:
    rule = config.checks.vanished
    if part.reference_profiles is None or evidence.reference is None:
        return  # a slice that the reference lacks: `without_reference` decides
    before = part.reference_profiles.shares(part.common)[0]
    now, found = part.profiles.shares(part.common), False
    for i, feature in enumerate(part.common):
        if before[i] < rule.threshold:
            continue
        limit, measured = min(_FRACTION * before[i], _FLOOR), measure(now[:, i], part.filled)
        if measured.low >= limit:
            continue
        verdict: Verdict = "FAIL" if measured.high < limit else "INCONCLUSIVE"
        sentence = (
            f"{part.where}{feature!r} carried {percent(before[i])} in {evidence.reference.name} and carries "
            f"{percent(measured.value)} "
            "now, though the model still has a path from it: it looks unplugged, constant or imputed."
            + part.moved_sentence(feature)
        )
        found = True
        yield result(CHECK, verdict, rule.severity, sentence, measured, limit, feature, part.name)
    together = None if found else _together(evidence, config, part, before, now)
    if together is not None:
        yield together
    elif not found:
        sentence = f"{part.where}Every feature that carried at least {percent(rule.threshold)} still carries something."
        yield Result(CHECK, "PASS", rule.severity, sentence, slice=part.name, threshold=rule.threshold)


def _together(
    evidence: Evidence, config: ValidationConfig, part: SliceEvidence, before: np.ndarray, now: np.ndarray
) -> Result | None:
    """What all features that vanished carried before, where that is no pass.

    Args:
      evidence: with a reference.
      config: the policy.
      part: the slice.
      before: shares in the reference, [features].
      now: shares, [1 + draws, features].
    """
    reference = evidence.reference
    if reference is None:
        raise ValueError("vanished needs a reference. Received: none")
    rule, limits = config.checks.vanished, np.minimum(_FRACTION * before, _FLOOR)
    gone = np.where(np.isnan(now), np.nan, (part.solid & (now < limits)) * before)
    measured, limit = measure(gone.sum(axis=1), part.filled), max(rule.threshold, _TOGETHER)
    verdict = judge(measured, limit)
    if verdict == "PASS":
        return None
    names = [part.common[i] for i in np.argsort(-gone[0], kind="stable")[:5] if gone[0, i] > 0]
    sentence = (
        f"{part.where}{np.count_nonzero(gone[0] > 0)} features ({', '.join(map(repr, names))} first) together carried "
        f"{percent(measured.value)} in {reference.name} and carry next to nothing now, {percent(limit)} are allowed: "
        "they look unplugged, constant or imputed."
        + part.moved_sentence(None)
        + uncertain(verdict, measured, limit, part.name, SHARE)
    )
    return result(CHECK, verdict, rule.severity, sentence, measured, limit, None, part.name)
