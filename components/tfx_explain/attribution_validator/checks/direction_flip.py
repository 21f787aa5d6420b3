"""Direction flip: no feature that matters pushes the other way than before, nor do many small ones together."""

from collections.abc import Iterator

import numpy as np

from tfx_explain.attribution_validator.checks.base import (
    Evidence,
    Result,
    SliceEvidence,
    judge,
    percent,
    result,
    uncertain,
)
from tfx_explain.attribution_validator.checks.cells import largest, lower_bounds
from tfx_explain.attribution_validator.checks.comparisons import compare_features
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.comparisons import direction_flips, one_sided_turns
from tfx_explain.engine.aggregates.intervals import Measured, measure

CHECK = "direction_flip"
_TOGETHER = 0.5
"""Part of the attribution that may turn where no feature's part shows. By chance less does: a third of a linear model
that was fitted to noise alone, whose weights have any sign."""


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """The largest flip over common features, of all rows and of each required slice.

    A flip is share times how far the profile has turned. Where each passes alone, one for all together: a model of many
    features whose label was inverted turns every one of them, and none by more than its share. A feature whose values
    lie in one bin, or in too few for a direction, has its mean compared, and is only warned of.
    """
    rule = config.checks.direction_flip

    def describe(part: SliceEvidence, top: int, measured: Measured) -> str:
        name = evidence.reference.name if evidence.reference else "no model"
        if measured.value == 0:
            return f"No feature pushes the other way than in {name}."
        if measured.high <= rule.threshold:
            return (
                f"Against {name}, {part.common[top]!r} turned its direction most: share times turn is "
                f"{measured.value:.3f}, allowed is {rule.threshold:.3g}."
            )
        return (
            f"{part.common[top]!r} pushes predictions the other way than in {name}: share times turn is "
            f"{measured.value:.3f}, allowed is {rule.threshold:.3g}."
        )

    def together(part: SliceEvidence, flips: np.ndarray) -> Result | None:
        measured, limit = measure(flips.sum(axis=1), part.filled), max(rule.threshold, _TOGETHER)
        verdict = judge(measured, limit)
        if verdict == "PASS":
            return None
        name = evidence.reference.name if evidence.reference else "no model"
        sentence = (
            f"{part.where}{np.count_nonzero(flips[0])} features push predictions the other way than in {name}, none of "
            f"them by much: together share times turn is {percent(measured.value)}, allowed is {percent(limit)}. An "
            "inverted label or sign looks like this." + part.moved_sentence(None)
        )
        sentence += uncertain(verdict, measured, limit, part.name)
        return result(CHECK, verdict, rule.severity, sentence, measured, limit, None, part.name)

    return [
        *compare_features(CHECK, rule, evidence, direction_flips, describe, together),
        *_in_few_bins(evidence, config),
    ]


def _in_few_bins(evidence: Evidence, config: ValidationConfig) -> Iterator[Result]:
    """Of all rows and of each required slice a warning, where a feature that lies in few bins turned its sign.

    It does not block: of honest retrains, features of three values were what turned, and the sign of a mean is that of
    the distance from the input baseline, which a network that never saw such a row makes up.
    """
    rule, compared, tables = config.checks.direction_flip, [], []
    for part in evidence.slices:
        if part.reference_profiles is not None and part.common:
            compared.append(part)
            tables.append(one_sided_turns(part.profiles, part.reference_profiles, part.common))
    if not tables or evidence.reference is None:
        return
    lows = lower_bounds(tables, [part.filled for part in compared])
    for part, table, low in zip(compared, tables, lows, strict=True):
        if not table.any():
            continue
        top, measured = largest(table, low, part.filled)
        verdict, others = judge(measured, rule.threshold), np.count_nonzero(table[0] > rule.threshold) - 1
        if verdict == "PASS":
            continue
        who = f"{part.common[top]!r} and {others} more push" if others > 0 else f"{part.common[top]!r} pushes"
        sentence = (
            f"{part.where}{who} predictions the other way than in {evidence.reference.name}: share times turn "
            f"is {measured.value:.3f}, allowed is {rule.threshold:.3g}. Its values lie in too few value bins to "
            "compare more than the sign of the mean, so that this does not block: look for an inverted sign, or for an "
            "input baseline that no longer fits the data."
        )
        sentence += part.moved_sentence(part.common[top]) + uncertain(verdict, measured, rule.threshold, part.name)
        severity = "off" if rule.severity == "off" else "warn"
        yield result(CHECK, verdict, severity, sentence, measured, rule.threshold, part.common[top], part.name)
