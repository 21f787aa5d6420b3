"""Completeness: the attributions of nearly every row add up to its prediction's distance from the baseline's."""

from tfx_explain.attribution_validator.checks.base import Evidence, Result, judge, result, uncertain
from tfx_explain.config import COMPLETE_METHODS, ValidationConfig
from tfx_explain.engine.aggregates.metrics import unconverged_fraction

CHECK = "completeness"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """The weight of unconverged rows, as a share of the explained weight."""
    rule, method = config.checks.completeness, evidence.candidate.method
    if method not in COMPLETE_METHODS:
        sentence = (
            f"Attributions by {method or 'an unknown method'} need not add up to the prediction's change, so that what "
            f"is missing from them cannot be told: explain the model by {' or '.join(COMPLETE_METHODS)}."
        )
        return [Result(CHECK, "INCONCLUSIVE", rule.severity, sentence, threshold=rule.threshold)]
    measured = unconverged_fraction(evidence.candidate.statistics, evidence.draws)
    verdict = judge(measured, rule.threshold)
    sentence = (
        f"{100 * measured.value:.2f} % of the rows did not converge after the last repair, "
        f"{100 * rule.threshold:.2f} % are allowed."
    )
    if verdict != "PASS":
        sentence += " Raise repair_steps, or look for a steep or singular transform." + uncertain(
            verdict, measured, rule.threshold
        )
        uncovered = evidence.candidate.uncovered_features
        for feature, operation in evidence.candidate.blocked.items():
            also = "only" if feature in uncovered else "also"
            sentence += (
                f" Feature {feature!r} reaches the output {also} through {operation}, which has no gradient: what it "
                "changes there is missing."
            )
    return [result(CHECK, verdict, rule.severity, sentence, measured, rule.threshold, None)]
