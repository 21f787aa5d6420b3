"""Vanished: no feature that mattered is still wired and yet dead."""

from tfx_explain.attribution_validator.checks.base import Evidence, Result, Verdict, percent, result
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.intervals import measure

CHECK = "vanished"
_FRACTION, _FLOOR = 0.1, 0.004


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """One result per common feature whose share fell below a tenth of what it was, and below 0.004; or one PASS."""
    rule = config.checks.vanished
    if evidence.reference_profiles is None or evidence.reference is None:
        raise ValueError("vanished needs a reference. Received: none")
    if not evidence.common:
        sentence = (
            "The candidate shares no attributed feature with the last model that passed: nothing can be compared."
        )
        return [Result(CHECK, "INCONCLUSIVE", rule.severity, sentence, threshold=rule.threshold)]
    before = evidence.reference_profiles.shares(evidence.common)[0]
    now = evidence.profiles.shares(evidence.common)
    out = []
    for i, feature in enumerate(evidence.common):
        if not before[i] >= rule.threshold:
            continue
        limit, measured = min(_FRACTION * before[i], _FLOOR), measure(now[:, i], evidence.overall.filled)
        if measured.low >= limit:
            continue
        verdict: Verdict = "FAIL" if measured.high < limit else "INCONCLUSIVE"
        sentence = (
            f"{feature!r} carried {percent(before[i])} in {evidence.reference.name} and carries "
            f"{percent(measured.value)} "
            "now, though the model still has a path from it: it looks unplugged, constant or imputed."
            + evidence.moved_sentence(feature)
        )
        out.append(result(CHECK, verdict, rule.severity, sentence, measured, limit, feature))
    return out or [
        Result(
            CHECK,
            "PASS",
            rule.severity,
            f"Every feature that carried at least {percent(rule.threshold)} still carries something.",
            threshold=rule.threshold,
        )
    ]
