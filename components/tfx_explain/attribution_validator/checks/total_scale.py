"""Total scale: all attributions together are about as large as before, and in no slice otherwise than in all rows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tfx_explain.attribution_validator.checks.base import Evidence, Result, judge, result, uncertain
from tfx_explain.attribution_validator.checks.cells import largest, lower_bounds
from tfx_explain.attribution_validator.checks.units import RATIO, allowed, ratio_unit
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.comparisons import Profiles, log_scale
from tfx_explain.engine.aggregates.intervals import measure

CHECK = "total_scale"
_HINT = " More is typical of an overfitted model or changed regularisation, less of an undertrained one."


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """|log ratio| of the total mean |attribution|; of a required slice, what it differs by from that of all rows.

    How sure of itself a retrained network is differs everywhere at once, so that a slice is judged beside all rows: one
    of little weight may be many times as sure, or read nearly nothing, before these show it.
    """
    rule, before = config.checks.total_scale, evidence.reference_profiles
    if before is None or evidence.reference is None:
        raise ValueError("total_scale needs a reference. Received: none")
    measured = measure(np.abs(log_scale(evidence.profiles, before)), evidence.overall.filled)
    verdict = judge(measured, rule.threshold)
    ratio = float(evidence.profiles.total[0]) / float(before.total[0] or math.nan)
    unit = ratio_unit(ratio - 1)
    sentence = (
        f"The total attribution is {ratio:.2f} times that of {evidence.reference.name}, allowed is "
        f"{allowed(rule.threshold, RATIO)}."
    )
    if verdict != "PASS":
        sentence += _HINT + evidence.moved_sentence(None) + uncertain(verdict, measured, rule.threshold, unit=unit)
    overall = result(CHECK, verdict, rule.severity, sentence, measured, rule.threshold, None, unit=unit)
    return [overall, *_slices(evidence, config, before)]


def _slices(evidence: Evidence, config: ValidationConfig, overall: Profiles) -> Iterator[Result]:
    """One result for each required slice that can be compared, by common features: others have checks of their own.

    Args:
      evidence: with a reference.
      config: the policy.
      overall: the reference's, over all rows.
    """
    rule, common = config.checks.total_scale, evidence.common
    compared = [(part, part.reference_profiles) for part in evidence.slices[1:] if part.reference_profiles is not None]
    if not compared or not common or evidence.reference is None:  # that nothing is common is said by other checks
        return
    change = log_scale(evidence.profiles, overall, common)
    with np.errstate(invalid="ignore"):  # infinite in both: unknown
        tables = [np.abs(log_scale(part.profiles, before, common) - change)[:, None] for part, before in compared]
    lows = lower_bounds(tables, [part.filled for part, _ in compared])
    for (part, before), table, low in zip(compared, tables, lows, strict=True):
        _, measured = largest(table, low, part.filled)
        verdict = judge(measured, rule.threshold)
        unit = ratio_unit(float(log_scale(part.profiles, before, common)[0] - change[0]))
        sentence = (
            f"{part.where}The attribution is {math.exp(float(log_scale(part.profiles, before, common)[0])):.2f} times "
            f"that of {evidence.reference.name}, in all rows {math.exp(float(change[0])):.2f} times; allowed is "
            f"{allowed(rule.threshold, RATIO)} as much."
        )
        if verdict != "PASS":
            sentence += part.moved_sentence(None) + uncertain(verdict, measured, rule.threshold, part.name, unit)
        yield result(CHECK, verdict, rule.severity, sentence, measured, rule.threshold, None, part.name, unit)
