"""Evidence floor: enough rows, steps and features were measured for a verdict to mean something."""

from tfx_explain.attribution_validator.checks.base import Evidence, Result
from tfx_explain.config import ValidationConfig

CHECK = "evidence_floor"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """One result per shortfall, or one PASS; always required, since the floor is not to be disarmed."""
    floor, model = config.evidence, evidence.candidate
    rows, failed = model.statistics.effective_rows, model.statistics.failed_weight_fraction
    out = []

    def short(sentence: str, value: float, threshold: float, feature: str | None = None) -> None:
        out.append(Result(CHECK, "INCONCLUSIVE", "block", sentence, feature=feature, value=value, threshold=threshold))

    if not rows >= floor.min_effective_rows:
        short(
            f"Only {rows:.0f} effective rows were explained ({model.rows_read} were read), the policy asks for "
            f"{floor.min_effective_rows:.0f}: give ExplainerGen more examples or a larger max_examples.",
            rows,
            floor.min_effective_rows,
        )
    if not model.num_steps >= floor.min_num_steps:
        short(
            f"Integrated gradients ran with {model.num_steps} steps, the policy asks for {floor.min_num_steps}: raise "
            "integrated_gradients.num_steps.",
            model.num_steps,
            floor.min_num_steps,
        )
    if not failed <= floor.max_failed_weight:
        short(
            f"{100 * failed:.2f} % of the rows could not be explained, {100 * floor.max_failed_weight:.2f} % are "
            "allowed: the report lists why (unreadable, not finite, or refused by the model's parser).",
            failed,
            floor.max_failed_weight,
        )
    for feature in model.uncovered_features:
        short(
            f"Feature {feature!r} reaches the output only through steps without a gradient, so nothing is known of its "
            "share.",
            0.0,
            1.0,
            feature,
        )
    if not model.statistics.features:
        short("No feature was attributed.", 0.0, 1.0)
    return out or [
        Result(
            CHECK,
            "PASS",
            "block",
            f"{rows:.0f} effective rows at {model.num_steps} steps cover all {len(model.used_features)} used features.",
            value=rows,
            threshold=floor.min_effective_rows,
        )
    ]
