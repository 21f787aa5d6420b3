"""Evidence floor: enough rows, steps and features were measured for a verdict to mean something."""

from collections.abc import Iterator

from tfx_explain.attribution_validator.checks.base import Evidence, ModelEvidence, Result, percent
from tfx_explain.attribution_validator.checks.units import SHARE
from tfx_explain.config import ValidationConfig
from tfx_explain.names import OVERALL

CHECK = "evidence_floor"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """One result per shortfall, or one PASS, of all rows and of each required slice.

    Always required, since the floor is not to be disarmed.
    """
    return [*_overall(evidence, config), *_unseen(evidence), *_slices(evidence, config)]


def without_attributions(candidate: ModelEvidence, reference: ModelEvidence | None) -> Result:
    """The one result on a model of which nothing was attributed: no other check has anything to read.

    Args:
      candidate: with `no_gradient`.
      reference: the newest model that passed, or None.
    """
    sentence = (
        f"Nothing was attributed, so there is no evidence to pass on: {candidate.no_gradient.rstrip('. ')}. It is in "
        "ExplainerGen's report."
    )
    if reference is not None:
        sentence += (
            f" Attributions of {reference.name} cover {len(reference.statistics.features)} features: look what changed "
            "in the model's output."
        )
    return Result(CHECK, "INCONCLUSIVE", "block", sentence, value=0.0, threshold=1.0)


def _overall(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    floor, model = config.evidence, evidence.candidate
    rows, failed = model.statistics.effective_rows, model.statistics.failed_weight_fraction
    out = []

    def short(
        sentence: str, value: float, threshold: float, feature: str | None = None, unit: str | None = None
    ) -> None:
        numbers = (feature, OVERALL, value, None, None, threshold, unit)
        out.append(Result(CHECK, "INCONCLUSIVE", "block", sentence, *numbers))

    if not rows >= floor.min_effective_rows:
        short(
            f"Only {rows:.0f} effective rows were explained ({model.rows_read} were read), the policy asks for "
            f"{floor.min_effective_rows:.0f}: give ExplainerGen more examples or a larger max_examples.",
            rows,
            floor.min_effective_rows,
        )
    seen = model.stands_for
    if seen is not None and (seen.high < 1 - floor.max_unseen or seen.low > 1 + floor.max_unseen):
        short(
            f"The explained rows stand for {percent(seen.value)} of the {model.rows_read} that were read, the policy "
            f"asks for {percent(1 - floor.max_unseen)} to {percent(1 + floor.max_unseen)}: rows that are equal, or of "
            "one value of cluster_key, are taken together or not at all, and some are too many for this sample. Raise "
            "max_examples, best to the number of all distinct rows.",
            seen.value,
            1 - floor.max_unseen if seen.value < 1 else 1 + floor.max_unseen,
            unit=SHARE,
        )
    if model.method not in floor.methods:
        short(
            f"The attributions were made by {model.method or 'an unknown method'}, the policy takes "
            f"{' or '.join(floor.methods)}: set method in ExplainerGen's configuration. Where attributions need not "
            "add up to the prediction's change, their shares are no evidence of what the model leans on.",
            0.0,
            1.0,
        )
    elif not model.num_steps >= floor.min_num_steps:
        short(
            f"{model.method.replace('_', ' ').capitalize()} ran with {model.num_steps} nodes a row, the policy asks "
            f"for {floor.min_num_steps}: raise {model.method}.num_steps.",
            model.num_steps,
            floor.min_num_steps,
        )
    if not failed <= floor.max_failed_weight:
        short(
            f"{100 * failed:.2f} % of the rows could not be explained, {100 * floor.max_failed_weight:.2f} % are "
            "allowed: the report lists why (unreadable, not finite, or refused by the model's parser).",
            failed,
            floor.max_failed_weight,
            unit=SHARE,
        )
    for feature in model.uncovered_features:
        through = f"{model.blocked[feature]}, which has no" if feature in model.blocked else "steps without a"
        short(
            f"Feature {feature!r} reaches the output only through {through} gradient, so nothing is known of its "
            "share: take it out of the model, or give it a smooth path. Its permutation importance is in "
            "ExplainerGen's report.",
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


def _unseen(evidence: Evidence) -> Iterator[Result]:
    """A warning on features that no explained row shows, and that no other model was measured on.

    Their share is 0 whatever the model makes of other values, so that a new one needs no approval. It does not block:
    of many rare features some are missed by chance.
    """
    known = {*evidence.known_features}
    if evidence.reference is not None and not evidence.alone:
        known |= {*evidence.reference.statistics.features}
    names = [f for f in evidence.candidate.at_baseline if f not in known]
    if not names:
        return
    listed = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    sentence = (
        f"Nothing is known of what the model makes of {listed}: every explained row has the input baseline's value, "
        "where attributions begin, and no other model that passed was measured on it. Give ExplainerGen rows with "
        "other values, or look why there are none; this does not block, since rare values are missed by chance."
    )
    feature = names[0] if len(names) == 1 else None
    yield Result(CHECK, "INCONCLUSIVE", "warn", sentence, feature)


def _slices(evidence: Evidence, config: ValidationConfig) -> Iterator[Result]:
    model = evidence.candidate
    for name in model.empty_slices:
        yield Result(
            CHECK,
            "INCONCLUSIVE",
            "block",
            f"The data hold no row of the required slice {name}: look for what took them away, or for a misspelt name "
            "or value under required_slices.",
            slice=name,
        )
    for name in model.unexplained_slices:
        found = (
            f"The required slice {name} was measured as an ordinary one, without the rows and the sums by bucket that "
            "checks need"
            if name in model.unrequired_slices
            else f"The attributions do not hold the required slice {name}"
        )
        yield Result(
            CHECK,
            "INCONCLUSIVE",
            "block",
            f"{found}: name it under required_slices of ExplainConfig too, as add_attribution_gate does, and run "
            "ExplainerGen again.",
            slice=name,
        )
    for name, part in model.slices.items():
        short = evidence.shortfalls.get(name)
        if short is not None:
            sentence = f"In slice {name}: {short.sentence}"
            yield Result(
                CHECK,
                "INCONCLUSIVE",
                "block",
                sentence,
                slice=name,
                value=short.value,
                threshold=short.threshold,
                unit=short.unit,
                policy=None if short.advice is None else short.advice.policy,
            )
        else:
            rows = part.statistics.effective_rows
            sentence = f"In slice {name}: {rows:.0f} effective rows were explained."
            threshold = config.evidence.min_rows_per_slice
            yield Result(CHECK, "PASS", "block", sentence, slice=name, value=rows, threshold=threshold)
