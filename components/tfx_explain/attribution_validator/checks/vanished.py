"""Vanished: no feature that mattered is still wired and yet dead."""

from collections.abc import Iterator

from tfx_explain.attribution_validator.checks.base import Evidence, Result, SliceEvidence, Verdict, percent, result
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.intervals import measure

CHECK = "vanished"
_FRACTION, _FLOOR = 0.1, 0.004


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """Of all rows and of each required slice one result per feature that vanished, or one PASS.

    A common feature vanished if its share fell below a tenth of what it was, and below 0.004.
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
    if not found:
        sentence = f"{part.where}Every feature that carried at least {percent(rule.threshold)} still carries something."
        yield Result(CHECK, "PASS", rule.severity, sentence, slice=part.name, threshold=rule.threshold)
