"""Completeness: the attributions of nearly every row add up to its prediction's distance from the baseline's."""

from tfx_explain.attribution_validator.checks.base import Evidence, Result, SliceEvidence, judge, result, uncertain
from tfx_explain.attribution_validator.checks.units import SHARE
from tfx_explain.config import COMPLETE_METHODS, ValidationConfig
from tfx_explain.engine.aggregates.intervals import Measured
from tfx_explain.engine.aggregates.metrics import unconverged_fraction
from tfx_explain.names import OVERALL

CHECK = "completeness"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """The weight of unconverged rows, as a share of the explained weight, of all rows and of each required slice.

    A slice that weighs little may lack attributions nearly everywhere before all rows show it. It is judged by its
    value alone, as its failed rows are: of a few hundred rows a bound is beyond the threshold for two or three of them.
    """
    rule, method = config.checks.completeness, evidence.candidate.method
    if method not in COMPLETE_METHODS:
        sentence = (
            f"Attributions by {method or 'an unknown method'} need not add up to the prediction's change, so that what "
            f"is missing from them cannot be told: explain the model by {' or '.join(COMPLETE_METHODS)}."
        )
        return [Result(CHECK, "INCONCLUSIVE", rule.severity, sentence, threshold=rule.threshold)]
    return [_check_slice(evidence, config, part) for part in evidence.slices]


def _check_slice(evidence: Evidence, config: ValidationConfig, part: SliceEvidence) -> Result:
    rule = config.checks.completeness
    measured = unconverged_fraction(part.statistics, evidence.draws)
    if part.name != OVERALL:
        measured = Measured(measured.value, measured.value, measured.value)
    verdict = judge(measured, rule.threshold)
    sentence = (
        f"{part.where}{100 * measured.value:.2f} % of the rows did not converge after the last repair, "
        f"{100 * rule.threshold:.2f} % are allowed."
    )
    if verdict != "PASS":
        sentence += " Raise repair_steps, or look for a steep or singular transform." + uncertain(
            verdict, measured, rule.threshold, part.name, SHARE
        )
        uncovered = evidence.candidate.uncovered_features
        for feature, operation in evidence.candidate.blocked.items():
            also = "only" if feature in uncovered else "also"
            sentence += (
                f" Feature {feature!r} reaches the output {also} through {operation}, which has no gradient: what it "
                "changes there is missing."
            )
    return result(CHECK, verdict, rule.severity, sentence, measured, rule.threshold, None, part.name)
