"""What every check reads (Evidence) and gives (Result), and the rule from interval to verdict."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from tfx_explain.attribution_validator.checks.advice import Advice, ask_less
from tfx_explain.attribution_validator.checks.units import SHARE, UNITS, allowed, bounds
from tfx_explain.config import Approval, EvidenceFloor, ValidationConfig
from tfx_explain.engine.aggregates.buckets import BucketStatistics
from tfx_explain.engine.aggregates.comparisons import Profiles, moved_inputs, part_behind
from tfx_explain.engine.aggregates.groups import Group, GroupStatistics, group_shares
from tfx_explain.engine.aggregates.intervals import Measured, bucket_draws
from tfx_explain.engine.aggregates.statistics import shares_known, total_attribution
from tfx_explain.names import OVERALL

_SOLID_ROWS = 20

Verdict = Literal["PASS", "FAIL", "NEEDS_APPROVAL", "INCONCLUSIVE", "NO_REFERENCE"]


@dataclasses.dataclass(frozen=True)
class Result:
    """One line of the verdict.

    Attributes:
      check: which check.
      verdict: PASS only if the whole interval lies inside the threshold.
      severity: `block`, `warn` or `off`; whatever is not PASS blocks under `block`.
      sentence: for the person on call: what was found, how much is allowed, where to look.
      feature: a feature, or the name of a group of features.
      unit: of the numbers: SHARE, RATIO or INVERSE of `units`; None: that of the check, else plain numbers.
      policy: YAML to write into the policy to let this pass, as the sentence tells; None where it tells none.
    """

    check: str
    verdict: Verdict
    severity: str
    sentence: str
    feature: str | None = None
    slice: str = OVERALL
    value: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    unit: str | None = None
    policy: str | None = None

    @property
    def blocks(self) -> bool:
        """Whether this result alone refuses the model."""
        return self.severity == "block" and self.verdict != "PASS"

    def to_dict(self) -> dict[str, Any]:
        """As JSON; what is not finite becomes null."""
        data = dataclasses.asdict(self) | {"unit": self.unit or UNITS.get(self.check)}
        for key in ("value", "low", "high", "threshold"):
            if data[key] is not None and not np.isfinite(data[key]):
                data[key] = None
        return data


@dataclasses.dataclass(frozen=True)
class SliceOfModel:
    """What is known of one model in one slice.

    Attributes:
      statistics: the slice's bucket statistics.
      groups: sums of groups of features; None where there are none.
      rows_read: rows that the data hold of it.
    """

    statistics: BucketStatistics
    groups: GroupStatistics | None = None
    rows_read: int = 0


@dataclasses.dataclass(frozen=True)
class ModelEvidence:
    """What is known of one model.

    Attributes:
      name: how sentences call it.
      fingerprint: of the model's files.
      statistics: its bucket statistics over all rows.
      uncovered_features: used, but without gradient.
      blocked: by feature that reaches the output round the attributions, the operation that keeps gradients from it.
      at_baseline: features of which every explained row has the input baseline's value, where attributions begin there.
      no_gradient: why nothing was attributed, where no feature has a gradient; else empty.
      num_steps: gradients behind every row before any repair: nodes of all its paths.
      method: name of the attribution method; empty where it is not known.
      rows_read: rows of the splits.
      stands_for: rows that the explained ones stand for, as a part of rows_read; None where it is not known.
      groups: sums of groups of features over all rows.
      configured_groups: by name, the features of groups that its configuration named; of a model that passed.
      approved_new, approved_removed: of a model that passed: features that an approval let come; features that one let
        go, with what each had carried, by slice.
      slices: by name, the slices that the policy requires.
      classes: by id, the class that the model gives to each row that the reference keeps; None where the explained
        column is not each row's own, so that directions tell what a class means.
      class_names: of the columns, where they are known.
      empty_slices: required slices of which the data hold no row.
      unexplained_slices: required slices that were not explained as such.
      unrequired_slices: those of them that were measured as ordinary slices.
    """

    name: str
    fingerprint: str
    statistics: BucketStatistics
    uncovered_features: tuple[str, ...] = ()
    blocked: Mapping[str, str] = dataclasses.field(default_factory=dict)
    at_baseline: tuple[str, ...] = ()
    no_gradient: str = ""
    num_steps: int = 0
    method: str = ""
    rows_read: int = 0
    stands_for: Measured | None = None
    groups: GroupStatistics | None = None
    configured_groups: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    approved_new: tuple[str, ...] = ()
    approved_removed: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    slices: Mapping[str, SliceOfModel] = dataclasses.field(default_factory=dict)
    classes: Mapping[str, int] | None = None
    class_names: tuple[str, ...] = ()
    empty_slices: tuple[str, ...] = ()
    unexplained_slices: tuple[str, ...] = ()
    unrequired_slices: tuple[str, ...] = ()

    @property
    def used_features(self) -> tuple[str, ...]:
        """Features with a path to the output."""
        return (*self.statistics.features, *self.uncovered_features)

    @property
    def overall(self) -> SliceOfModel:
        """All rows."""
        return SliceOfModel(self.statistics, self.groups, self.rows_read)


class SliceEvidence:
    """One slice of a candidate, drawn, beside the same slice of the model that passed.

    Attributes:
      name: of the slice.
      statistics: the candidate's sums.
      profiles, reference_profiles: both models; the latter None where there is nothing to compare with.
      common: features of both.
      moved: see `moved_inputs`.
      solid: bool [common]: enough rows show the feature in samples of either size; one that few rows have is met, or
        missed, by chance.
      groups: groups of two and more features.
      group_shares: [1 + draws, groups].
    """

    def __init__(self, name: str, candidate: SliceOfModel, reference: SliceOfModel | None, draws: np.ndarray):
        self.name, self.statistics = name, candidate.statistics
        self.profiles = Profiles.of(candidate.statistics, draws)
        self.reference_profiles: Profiles | None = None
        self.common: tuple[str, ...] = ()
        self.moved: Mapping[str, float] = {}
        self.solid = np.zeros(0, bool)
        if reference is not None:
            self.reference_profiles = Profiles.of(reference.statistics, np.ones((1, draws.shape[1])))
            there = set(reference.statistics.features)
            self.common = tuple(f for f in candidate.statistics.features if f in there)
            self.moved = moved_inputs(candidate.statistics, reference.statistics)
            both = candidate.statistics, reference.statistics
            shown = np.maximum(*(part_behind(statistics, self.common) for statistics in both))
            self.solid = shown * min(statistics.effective_rows for statistics in both) >= _SOLID_ROWS
        self.groups: tuple[Group, ...] = ()
        self.group_shares = np.zeros((len(draws), 0))
        if candidate.groups is not None:
            several = [i for i, (_, members) in enumerate(candidate.groups.groups) if len(members) > 1]
            self.groups = tuple(candidate.groups.groups[i] for i in several)
            self.group_shares = group_shares(candidate.groups, candidate.statistics, draws)[:, several]

    @property
    def filled(self) -> int:
        """Buckets that hold rows."""
        return self.statistics.filled_buckets

    @property
    def where(self) -> str:
        """How a sentence about it begins; nothing for the overall slice."""
        return "" if self.name == OVERALL else f"In slice {self.name}: "

    def moved_sentence(self, feature: str | None) -> str:
        """Where the inputs moved too, a sentence that says so; else nothing."""
        moved = sorted((f for f, size in self.moved.items() if size > 1), key=lambda f: -self.moved[f])
        if not moved:
            return ""
        if feature in moved:
            return (
                f" The values of {feature!r} moved too (its value bins are filled otherwise): look at the data first."
            )
        names = ", ".join(repr(f) for f in moved[:3]) + (f" and {len(moved) - 3} more" if len(moved) > 3 else "")
        return f" The inputs moved too ({names}): look at the data as well."


class Evidence:
    """A candidate, the newest model that passed (or none), and the draws that give every statistic its interval."""

    def __init__(
        self,
        candidate: ModelEvidence,
        reference: ModelEvidence | None,
        known_features: Mapping[str, float],
        seed: int,
        today: datetime.date,
        floor: EvidenceFloor,
        known_in_slices: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
    ):
        """Draws the statistics.

        A required slice that falls short of the floor is not drawn: the evidence floor refuses it by name. A slice of
        the reference that falls short counts as one that it lacks.

        Args:
          candidate: the model to judge.
          reference: the newest model that passed, other than the candidate where there is another.
          known_features: features that any other model of the reference used, with the share that each had in the
            newest of those that used it.
          seed: of the draws, from the contents' fingerprints.
          today: for approvals that end.
          floor: what a required slice must hold to be judged.
          known_in_slices: as `known_features`, by slice.
        """
        self.candidate, self.reference, self.known_features, self.today = candidate, reference, known_features, today
        self._known_in_slices = known_in_slices
        self.draws = bucket_draws(seed)
        self.overall = SliceEvidence(OVERALL, candidate.overall, reference.overall if reference else None, self.draws)
        self.shortfalls = {
            name: short
            for name, part in candidate.slices.items()
            if (short := shortfall(part, candidate.overall, floor)) is not None
        }
        kept = {name: part for name, part in candidate.slices.items() if name not in self.shortfalls}
        before = {name: _usable(name, reference, floor) for name in kept}
        self.slices = (
            self.overall,
            *(SliceEvidence(name, part, before[name], self.draws) for name, part in kept.items()),
        )

    @property
    def profiles(self) -> Profiles:
        """The candidate's, over all rows."""
        return self.overall.profiles

    @property
    def reference_profiles(self) -> Profiles | None:
        """Those of the model that passed, over all rows."""
        return self.overall.reference_profiles

    @property
    def common(self) -> tuple[str, ...]:
        """Features of both models."""
        return self.overall.common

    @property
    def alone(self) -> bool:
        """There is no other model to compare with: none has passed, or this one alone."""
        return self.reference is None or self.reference.fingerprint == self.candidate.fingerprint

    @property
    def let_go(self) -> frozenset[str]:
        """Features that an approval let go, and that the last model that passed still did without."""
        return frozenset(self.reference.approved_removed) if self.reference is not None else frozenset()

    def known_share(self, feature: str, slice_name: str) -> float:
        """What a feature carried in the newest model that used it: in the slice, or in all rows where it is unknown.

        Nothing for one that was let go: models from before are no witness that it may be used.
        """
        if feature in self.let_go:
            return 0.0
        overall = self.known_features.get(feature, 0.0)
        return self._known_in_slices.get(slice_name, {}).get(feature, overall)

    def share_cap(self, config: ValidationConfig) -> float:
        """The cap on one feature's share: the policy's, else the default."""
        threshold = config.checks.max_share.threshold
        return self.default_share_cap if threshold is None else threshold

    @property
    def default_share_cap(self) -> float:
        """max(0.4, 0.3 + 1/F) for F raw features: more is unusual, and often a leak of the label."""
        raw = {part for f in self.candidate.used_features for part in f.split(" x ")}
        return min(1.0, max(0.4, 0.3 + 1 / max(len(raw), 1)))

    def moved_sentence(self, feature: str | None) -> str:
        """Where the inputs moved too, a sentence that says so; else nothing."""
        return self.overall.moved_sentence(feature)

    def approval(self, feature: str, config: ValidationConfig) -> Approval | None:
        """The approval of a feature that holds today."""
        return config.approval(feature, self.today)


@dataclasses.dataclass(frozen=True)
class Shortfall:
    """Why a slice cannot be judged: a sentence, what was found, what is asked for, in which unit, and what helps."""

    sentence: str
    value: float
    threshold: float
    unit: str | None = None
    advice: Advice | None = None


def shortfall(part: SliceOfModel, whole: SliceOfModel, floor: EvidenceFloor) -> Shortfall | None:
    """What a slice lacks for its shares to be judged, or None.

    Args:
      part: the slice.
      whole: all rows of the same model.
      floor: the policy's.
    """
    statistics = part.statistics
    effective, explained = statistics.effective_rows, int(statistics.scalars["rows"].sum())
    failed = statistics.failed_weight_fraction
    if not failed <= floor.max_failed_weight_per_slice:
        sentence = (
            f"{100 * failed:.2f} % of its rows could not be explained, {100 * floor.max_failed_weight_per_slice:.2f} % "
            "are allowed in a required slice: the report lists why."
        )
        return Shortfall(sentence, failed, floor.max_failed_weight_per_slice, SHARE)
    if not effective >= floor.min_rows_per_slice:
        rest = part.rows_read - explained
        advice = None if rest > 0 else ask_less("min_rows_per_slice", effective)
        way_out = (
            f"raise slices.min_rows_per_slice of ExplainConfig ({rest} more rows of it were read)"
            if advice is None
            else f"the data hold no more of it, so give more data, or {advice}"
        )
        sentence = (
            f"Only {effective:.0f} effective rows were explained ({explained} distinct ones of {part.rows_read} read), "
            f"the policy asks for {floor.min_rows_per_slice:.0f}: {way_out}."
        )
        return Shortfall(sentence, effective, floor.min_rows_per_slice, advice=advice)
    own, overall = total_attribution(statistics), total_attribution(whole.statistics)
    if not shares_known(own, floor.min_total_attribution * overall):
        ratio = own / overall if overall > 0 else 0.0
        advice = ask_less("min_total_attribution", ratio)
        sentence = (
            f"Its total attribution is {ratio:.2g} times that of all rows; below {floor.min_total_attribution:.2g} "
            "shares mean nothing, since the model gives these rows what it gives the input baseline. Look why, or "
            f"{advice}."
        )
        return Shortfall(sentence, ratio, floor.min_total_attribution, advice=advice)
    return None


def _usable(name: str, reference: ModelEvidence | None, floor: EvidenceFloor) -> SliceOfModel | None:
    """A slice of the reference, where it holds enough of it to compare with."""
    if reference is None or name not in reference.slices:
        return None
    part = reference.slices[name]
    return None if shortfall(part, reference.overall, floor) is not None else part


def judge(measured: Measured, threshold: float) -> Verdict:
    """PASS if the whole interval is at most the threshold, FAIL if it lies wholly above, else INCONCLUSIVE.

    Compared at six significant digits, so that the verdict is the same on machines whose last bits differ.
    """
    low, high = (float(f"{v:.6g}") for v in (measured.low, measured.high))
    if not np.isfinite([measured.value, low, high]).all():
        return "INCONCLUSIVE"
    if high <= threshold:
        return "PASS"
    return "FAIL" if low > threshold else "INCONCLUSIVE"


def result(
    check: str,
    verdict: Verdict,
    severity: str,
    sentence: str,
    measured: Measured,
    threshold: float,
    feature: str | None,
    slice_name: str = OVERALL,
    unit: str | None = None,
    advice: Advice | None = None,
) -> Result:
    """A result with its numbers, and what lets it pass."""
    return Result(
        check=check,
        verdict=verdict,
        severity=severity,
        sentence=sentence,
        feature=feature,
        slice=slice_name,
        value=measured.value,
        low=measured.low,
        high=measured.high,
        threshold=threshold,
        unit=unit,
        policy=None if advice is None else advice.policy,
    )


def percent(value: float) -> str:
    """`12.3 %`."""
    return f"{100 * value:.1f} %" if np.isfinite(value) else "an unknown share"


def uncertain(
    verdict: Verdict, measured: Measured, threshold: float, slice_name: str = OVERALL, unit: str | None = None
) -> str:
    """For an interval that straddles the threshold, why that is no pass."""
    if verdict != "INCONCLUSIVE":
        return ""
    if not np.isfinite([measured.low, measured.high]).all():
        return " It could not be measured on these rows."
    setting = "max_examples" if slice_name == OVERALL else "slices.min_rows_per_slice of ExplainConfig"
    low, high = bounds(measured.low, measured.high, unit)
    return (
        f" The interval {low} to {high} straddles the threshold {allowed(threshold, unit)}: "
        f"explain more rows ({setting}) to decide."
    )
