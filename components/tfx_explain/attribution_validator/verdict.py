"""The verdict: every check on one candidate, and the rule that turns results into a blessing."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tfx_explain.artifacts.properties import FORMAT_VERSION
from tfx_explain.attribution_validator.checks.advice import decide_alone
from tfx_explain.attribution_validator.checks.base import Evidence, ModelEvidence, Result
from tfx_explain.attribution_validator.checks.evidence_floor import without_attributions
from tfx_explain.attribution_validator.checks.registry import ABSOLUTE, WITH_REFERENCE
from tfx_explain.config import AbsoluteChecksDecide, ValidationConfig
from tfx_explain.engine.aggregates.intervals import seed_from
from tfx_explain.names import ITS_CROSSES, OVERALL

NO_REFERENCE = "reference"
POLICY = "policy"
EVALUATOR = "evaluator"


@dataclasses.dataclass(frozen=True)
class GateVerdict:
    """All results of one candidate.

    Attributes:
      results: in the order of the checks; none with severity `off`.
      blessed: no result blocks, and there is at least one.
    """

    results: tuple[Result, ...]

    @property
    def blocking(self) -> tuple[Result, ...]:
        """The results that refuse the model."""
        return tuple(r for r in self.results if r.blocks)

    @property
    def blessed(self) -> bool:
        """Whether the model may be pushed."""
        return bool(self.results) and not self.blocking

    def to_dict(self) -> dict[str, Any]:
        """As anomalies.json has it."""
        return {
            "format_version": FORMAT_VERSION,
            "blessed": self.blessed,
            "blocking": [r.sentence for r in self.blocking],
            "results": [r.to_dict() for r in self.results],
        }


def refusal(check: str, sentence: str, verdict: Any = "INCONCLUSIVE") -> Result:
    """A result that always blocks: something was missing, mismatched or unreadable."""
    return Result(check, verdict, "block", sentence)


def judge_model(
    candidate: ModelEvidence,
    reference: ModelEvidence | None,
    known_features: Mapping[str, float],
    config: ValidationConfig,
    today: datetime.date,
    known_in_slices: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
) -> GateVerdict:
    """Runs every check.

    Args:
      candidate: the model to judge.
      reference: the newest model that passed, or None on a first run.
      known_features: features that any other model of the reference used, with their last share.
      config: the policy.
      today: decides whether approvals and `without_reference` still hold.
      known_in_slices: the same with the share in each slice, as far as it was measured there.
    """
    if candidate.no_gradient:
        # Whatever reads attributions would have nothing to say of such a model, and saying nothing passes.
        return GateVerdict((without_attributions(candidate, reference),))
    seed = seed_from(candidate.fingerprint, str(candidate.rows_read))
    evidence = Evidence(candidate, reference, known_features, seed, today, config.evidence, known_in_slices)
    results = [r for check in ABSOLUTE.values() for r in check(evidence, config)]
    if reference is None:
        results.append(without_reference(config, today))
    elif candidate.statistics.features:
        new = [part.name for part in evidence.slices if part.reference_profiles is None]
        results += [without_reference(config, today, name) for name in new]
        results += [r for check in WITH_REFERENCE.values() for r in check(evidence, config)]
    results += _without_effect(candidate, reference, known_features, config)
    return GateVerdict(tuple(r for r in results if r.severity != "off"))


def _without_effect(
    candidate: ModelEvidence,
    reference: ModelEvidence | None,
    known_features: Mapping[str, float],
    config: ValidationConfig,
) -> list[Result]:
    """One warning for each limit that no feature or group has: a misspelt name is else seen by nobody."""
    models = [model for model in (candidate, reference) if model is not None]
    names = {*known_features, *(f for model in models for f in model.used_features)}
    groups = {name for model in models if model.groups is not None for name, _ in model.groups.groups}
    names |= groups | {name.removesuffix(ITS_CROSSES) for name in groups}
    names |= {name for model in models for name in model.configured_groups}
    return [
        Result(
            POLICY,
            "INCONCLUSIVE",
            "warn",
            f"dominant_features names {name!r}, which is no feature or group of this model or of those that passed: it "
            "has no effect. Look for a misspelt name.",
            feature=name,
        )
        for name in sorted(config.dominant_features)
        if name not in names and not names.issuperset(name.split(" + "))  # a cluster is not found in every sample
    ]


def without_reference(config: ValidationConfig, today: datetime.date, slice_name: str = OVERALL) -> Result:
    """What the policy says where no model has passed yet, or where the last one was not measured on a slice."""
    rule, whole, advice = config.without_reference, slice_name == OVERALL, decide_alone()
    found = (
        "No model has passed this gate yet"
        if whole
        else f"The last model that passed has no evidence on the slice {slice_name}, as when it is newly required"
    )
    if isinstance(rule, AbsoluteChecksDecide):
        until = rule.absolute_checks_decide.until
        if today <= until:
            none = "none decide alone" if whole else "no reference decide alone there"
            sentence = f"{found}; until {until} the checks that need {none} (without_reference)."
            return Result(NO_REFERENCE, "NO_REFERENCE", "warn", sentence, slice=slice_name)
        lost = (
            "find out where the reference went (a renamed pipeline or gate node, another metadata store)"
            if whole
            else "find out why the slice was not measured (see required_slices, and evidence.min_rows_per_slice)"
        )
        sentence = (
            f"{found}, and without_reference ended on {until}: if this is a first run"
            f"{'' if whole else ' with the slice'} {advice}, else {lost}."
        )
    else:
        sentence = (
            f"{found}, and the policy refuses without a reference: for a first run{'' if whole else ' with the slice'} "
            f"{advice}."
        )
    return Result(NO_REFERENCE, "NO_REFERENCE", "block", sentence, slice=slice_name, policy=advice.policy)
