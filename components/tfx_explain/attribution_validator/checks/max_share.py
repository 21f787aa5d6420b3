"""Share cap: no feature, and no group of features that move together, carries the model alone."""

from collections.abc import Iterator

import numpy as np

from tfx_explain.attribution_validator.checks.advice import lead
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
from tfx_explain.attribution_validator.checks.units import SHARE
from tfx_explain.config import Severity, ValidationConfig
from tfx_explain.engine.aggregates.groups import Group
from tfx_explain.names import ITS_CROSSES

CHECK = "max_share"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """The largest share over features, and over groups, of all rows and of each required slice.

    A dominant feature, and a group with a cap of its own (see `_own_cap`), has a result of its own. A group is judged
    by what its members carry together, so that a leak in two copies does not hide in halves.
    """
    features = evidence.candidate.statistics.features
    tables = [np.concatenate([p.profiles.shares(features), p.group_shares], axis=1) for p in evidence.slices]
    lows = lower_bounds(tables, [part.filled for part in evidence.slices])
    found = [
        one
        for part, table, low in zip(evidence.slices, tables, lows, strict=True)
        for one in _check_slice(evidence, config, part, table, low)
    ]
    return [*found, *_unmeasured(evidence, config)]


def _unmeasured(evidence: Evidence, config: ValidationConfig) -> Iterator[Result]:
    """One result for each group with a cap of its own that the last model was measured by, and this one is not."""
    known = evidence.reference.configured_groups if evidence.reference is not None else {}
    measured = {*evidence.candidate.used_features}
    if evidence.candidate.groups is not None:
        measured |= {name for name, _ in evidence.candidate.groups.groups}
    for name in sorted({*config.dominant_features} & {*known} - measured):
        left = [member for member in known[name] if member in evidence.candidate.statistics.features]
        if left:
            sentence = (
                f"The policy caps the group {name!r}, which the last model that passed was measured by, and these "
                f"attributions do not hold it, though the model uses {', '.join(map(repr, left[:6]))}: name it under "
                "feature_groups of ExplainConfig, or take it out of dominant_features."
            )
            limit = config.dominant_features[name].max_share
            severity = _severity(evidence, config, evidence.overall)
            yield Result(CHECK, "INCONCLUSIVE", severity, sentence, feature=name, threshold=limit)


def _severity(evidence: Evidence, config: ValidationConfig, part: SliceEvidence) -> Severity:
    """A slice that the reference lacks is judged as on a first run."""
    rule = config.checks.max_share
    if evidence.alone or part.reference_profiles is None:
        return rule.severity
    # The warning is the default, which `off` takes back; a block is somebody's word.
    return "off" if rule.severity == "off" and rule.with_reference == "warn" else rule.with_reference


def _check_slice(
    evidence: Evidence, config: ValidationConfig, part: SliceEvidence, table: np.ndarray, low: np.ndarray
) -> Iterator[Result]:
    """Judges a slice; columns of `table` and `low` are its features, then its groups."""
    features, severity = evidence.candidate.statistics.features, _severity(evidence, config, part)
    cap = evidence.share_cap(config)

    def judged(columns: list[int], limit: float, why: str) -> Result:
        top, measured = largest(table[:, columns], low[columns], part.filled)
        place, verdict = columns[top], judge(measured, limit)
        if place < len(features):
            name = features[place]
            sentence, hint = f"{name!r} carries {percent(measured.value)} of the total attribution", _FEATURE_HINT
        else:
            group = part.groups[place - len(features)]
            name, hint = group[0], _GROUP_HINT
            sentence = f"{_called(group)} {percent(measured.value)} of the total attribution"
        sentence, advice = f"{part.where}{sentence}; {why} {percent(limit)}.", None
        if verdict != "PASS":
            advice = lead(name, max(measured.value, measured.high))
            sentence += f"{hint} {advice}."
            sentence += uncertain(verdict, measured, limit, part.name, SHARE)
        return result(CHECK, verdict, severity, sentence, measured, limit, name, part.name, advice=advice)

    plain = [i for i, f in enumerate(features) if f not in config.dominant_features]
    if plain:
        yield judged(plain, cap, "the policy caps a feature at")
    for i, feature in enumerate(features):
        if feature in config.dominant_features:
            own = config.dominant_features[feature]
            yield judged([i], own.max_share, f"its own cap ({own.reason}) is")
    caps = [_own_cap(group, cap, config) for group in part.groups]
    plain = [len(features) + j for j, own_cap in enumerate(caps) if own_cap is None]
    if plain:
        yield judged(plain, cap, "the policy caps a group, as a feature, at")
    for j, own_cap in enumerate(caps):
        if own_cap is not None:
            yield judged([len(features) + j], *own_cap)


_FEATURE_HINT = " One feature that carries a model is often a leak of the label; if it leads by nature,"
_GROUP_HINT = " A leak of the label that stands in several columns hides like this; if they lead by nature,"


def _called(group: Group) -> str:
    """The subject of a sentence on a group, with its verb."""
    name, members = group
    listed = ", ".join(repr(m) for m in members[:6]) + (f" and {len(members) - 6} more" if len(members) > 6 else "")
    if name == " + ".join(members):
        return f"{listed}, whose attributions move together, carry"
    return f"The group {name!r} ({listed}) carries"


def _own_cap(group: Group, cap: float, config: ValidationConfig) -> tuple[float, str] | None:
    """(cap, why) of a group that may carry more or less than a feature without a cap of its own; else None.

    A group that dominant_features names has that cap. Else its dominant members may together carry the sum of their
    caps, and so may the group: what each may carry alone they may carry when they move together. A group with other
    members besides may carry at least what any feature may; but a feature with its crosses, and these are members
    besides, no more than its cap: what is capped low must not be read in crosses instead.
    """
    name, members = group
    dominant, whose = config.dominant_features, name.removesuffix(ITS_CROSSES)
    if name in dominant:
        return dominant[name].max_share, f"its own cap ({dominant[name].reason}) is"
    named = [m for m in dict.fromkeys((whose, *members)) if m in dominant]
    together = min(1.0, sum(dominant[m].max_share for m in named))
    if not named or (whose not in named and len(named) < len(members) and together <= cap):
        return None
    return together, f"the caps of its dominant features ({', '.join(repr(m) for m in named)}) add up to"
