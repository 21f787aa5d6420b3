"""Share change: no feature's share has moved further than retraining moves it, nor has that of features together."""

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
from tfx_explain.attribution_validator.checks.units import SHARE
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.comparisons import Profiles, share_changes
from tfx_explain.engine.aggregates.intervals import Measured, measure

CHECK = "share_change"
_TOGETHER = 0.5
"""Part of the attribution that may move to other features where no feature's part shows; of honest retrains, many
overfitted or linear ones among them, 99 % moved less than a third."""


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """The largest |change of share| over common features, of all rows and of each required slice; and over groups.

    A leak in several copies moves each of them a little, so that where there are groups, the largest rise of one has a
    result of its own. Where each feature passes alone, one for what moved in all: a model of many features may come to
    lean on others altogether.
    """
    rule = config.checks.share_change

    def describe(part: SliceEvidence, top: int, measured: Measured) -> str:
        if part.reference_profiles is None or evidence.reference is None:
            raise ValueError("share_change needs a reference. Received: none")
        now = part.profiles.shares(part.common)[0, top]
        before = part.reference_profiles.shares(part.common)[0, top]
        among = "" if set(part.common) == set(part.statistics.features) else " of the common features"
        return (
            f"{part.common[top]!r} carries {percent(now)} of the attribution{among}, {percent(before)} in "
            f"{evidence.reference.name}: a change of {100 * measured.value:.1f} percentage points, allowed are "
            f"{100 * rule.threshold:.3g}."
        )

    def together(part: SliceEvidence, _: np.ndarray) -> Result | None:
        measured = measure(_moved(part), part.filled)
        limit = max(rule.threshold, _TOGETHER)
        verdict = judge(measured, limit)
        if verdict == "PASS":
            return None
        name = evidence.reference.name if evidence.reference else "no model"
        sentence = (
            f"{part.where}{percent(measured.value)} of the attribution lie on other features than in {name}, allowed "
            f"are {percent(limit)}; no feature alone moved by much." + part.moved_sentence(None)
        )
        sentence += uncertain(verdict, measured, limit, part.name, SHARE)
        return result(CHECK, verdict, rule.severity, sentence, measured, limit, None, part.name)

    return [*compare_features(CHECK, rule, evidence, share_changes, describe, together), *_groups(evidence, config)]


def _moved(part: SliceEvidence) -> np.ndarray:
    """Part of the attribution that lies on other features than before: [1 + draws].

    What came is as much as what went. Of features that few rows show neither is known, and they may stand on one side
    alone: the larger of both counts.
    """
    if part.reference_profiles is None:
        raise ValueError("share_change needs a reference. Received: none")
    moved = (part.profiles.shares(part.common) - part.reference_profiles.shares(part.common))[:, part.solid]
    return np.maximum(np.maximum(moved, 0.0).sum(axis=1), np.maximum(-moved, 0.0).sum(axis=1))


def _groups(evidence: Evidence, config: ValidationConfig) -> Iterator[Result]:
    """The largest rise of a group, of all rows and of each required slice that has groups."""
    rule, compared, tables = config.checks.share_change, [], []
    for part in evidence.slices:
        if part.reference_profiles is not None and part.common and part.groups:
            compared.append(part)
            tables.append(_rises(part, part.reference_profiles))
    if not tables or evidence.reference is None:
        return
    lows = lower_bounds(tables, [part.filled for part in compared])
    for part, table, low in zip(compared, tables, lows, strict=True):
        top, measured = largest(table, low, part.filled)
        verdict, (name, members) = judge(measured, rule.threshold), part.groups[top]
        sentence = (
            f"{part.where}{' and '.join(repr(m) for m in members[:3])}{' and others' if len(members) > 3 else ''}, "
            f"together {percent(float(part.group_shares[0, top]))} of the attribution, carry "
            f"{100 * measured.value:.1f} percentage points more than all of them did in {evidence.reference.name}, "
            f"allowed are {100 * rule.threshold:.3g}."
        )
        if verdict != "PASS":
            sentence += " A leak of the label that stands in several columns rises like this."
            sentence += part.moved_sentence(None) + uncertain(verdict, measured, rule.threshold, part.name, SHARE)
        yield result(CHECK, verdict, rule.severity, sentence, measured, rule.threshold, name, part.name)


def _rises(part: SliceEvidence, reference: Profiles) -> np.ndarray:
    """How much more each group carries than before, at least: [1 + draws, groups].

    What a group of the candidate carried together in the reference is not kept; it was at most the sum of its members'
    shares. New members have a check of their own, and count as if they had been there. Shares are of common features.
    """
    features, common = part.profiles.features, set(part.common)
    shares = part.profiles.shares(features)  # [1 + draws, features]
    before = dict(zip(part.common, reference.shares(part.common)[0].tolist(), strict=True))
    whole = shares[:, [i for i, f in enumerate(features) if f in common]].sum(axis=1)
    columns = []
    for g, (_, members) in enumerate(part.groups):
        new = shares[:, [features.index(m) for m in members if m not in common]].sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            now = (part.group_shares[:, g] - new) / whole
        columns.append(np.maximum(now - sum(before[m] for m in members if m in common), 0.0))
    return np.stack(columns, axis=1)
