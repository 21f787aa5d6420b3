"""What every check reads (Evidence) and gives (Result), and the rule from interval to verdict."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from tfx_explain.config import Approval, ValidationConfig
from tfx_explain.engine.aggregates.buckets import BucketStatistics
from tfx_explain.engine.aggregates.comparisons import Profiles, moved_inputs
from tfx_explain.engine.aggregates.intervals import Measured, bucket_draws, measure
from tfx_explain.names import OVERALL

Verdict = Literal["PASS", "FAIL", "NEEDS_APPROVAL", "INCONCLUSIVE", "NO_REFERENCE"]


@dataclasses.dataclass(frozen=True)
class Result:
    """One line of the verdict.

    Attributes:
      check: which check.
      verdict: PASS only if the whole interval lies inside the threshold.
      severity: `block`, `warn` or `off`; whatever is not PASS blocks under `block`.
      sentence: for the person on call: what was found, how much is allowed, where to look.
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

    @property
    def blocks(self) -> bool:
        """Whether this result alone refuses the model."""
        return self.severity == "block" and self.verdict != "PASS"

    def to_dict(self) -> dict[str, Any]:
        """As JSON; what is not finite becomes null."""
        data = dataclasses.asdict(self)
        for key in ("value", "low", "high", "threshold"):
            if data[key] is not None and not np.isfinite(data[key]):
                data[key] = None
        return data


@dataclasses.dataclass(frozen=True)
class ModelEvidence:
    """What is known of one model.

    Attributes:
      name: how sentences call it.
      fingerprint: of the model's files.
      statistics: its bucket statistics.
      uncovered_features: used, but without gradient.
      num_steps: nodes of integrated gradients.
      rows_read: rows of the splits.
    """

    name: str
    fingerprint: str
    statistics: BucketStatistics
    uncovered_features: tuple[str, ...] = ()
    num_steps: int = 0
    rows_read: int = 0

    @property
    def used_features(self) -> tuple[str, ...]:
        """Features with a path to the output."""
        return (*self.statistics.features, *self.uncovered_features)


class Evidence:
    """A candidate, the newest model that passed (or none), and the draws that give every statistic its interval."""

    def __init__(
        self,
        candidate: ModelEvidence,
        reference: ModelEvidence | None,
        known_features: Mapping[str, float],
        seed: int,
        today: datetime.date,
    ):
        """Draws the statistics.

        Args:
          candidate: the model to judge.
          reference: the newest model that passed, other than the candidate where there is another.
          known_features: features that any model of the reference used, with the share that each had in the newest of
            those that used it.
          seed: of the draws, from the contents' fingerprints.
          today: for approvals that end.
        """
        self.candidate, self.reference, self.known_features, self.today = candidate, reference, known_features, today
        self.draws = bucket_draws(seed)
        self.profiles = Profiles.of(candidate.statistics, self.draws)
        self.reference_profiles: Profiles | None = None
        self.common: tuple[str, ...] = ()
        self.moved: Mapping[str, float] = {}
        if reference is not None:
            self.reference_profiles = Profiles.of(reference.statistics, np.ones((1, self.draws.shape[1])))
            there = set(reference.statistics.features)
            self.common = tuple(f for f in candidate.statistics.features if f in there)
            self.moved = moved_inputs(candidate.statistics, reference.statistics)

    @property
    def alone(self) -> bool:
        """There is no other model to compare with: none has passed, or this one alone."""
        return self.reference is None or self.reference.fingerprint == self.candidate.fingerprint

    def share_cap(self, config: ValidationConfig) -> float:
        """The cap on one feature's share: the policy's, else max(0.4, 0.3 + 1/F) for F raw features."""
        if config.checks.max_share.threshold is not None:
            return config.checks.max_share.threshold
        raw = {part for f in self.candidate.used_features for part in f.split(" x ")}
        return min(1.0, max(0.4, 0.3 + 1 / max(len(raw), 1)))

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

    def approval(self, feature: str, config: ValidationConfig) -> Approval | None:
        """The approval of a feature that holds today."""
        return next((a for a in config.approved_features if a.name == feature and a.until >= self.today), None)


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


def worst(statistic: np.ndarray) -> tuple[int, Measured]:
    """Of a statistic [1 + draws, features]: (column with the largest value, the maximum with its interval)."""
    # What could not be measured comes first; six digits, so that machines whose last bits differ name the same one.
    value = np.array([float(f"{v:.6g}") if np.isfinite(v) else np.inf for v in statistic[0]])
    top = int(np.argmax(value))
    return top, measure(statistic.max(axis=1))


def result(
    check: str,
    verdict: Verdict,
    severity: str,
    sentence: str,
    measured: Measured,
    threshold: float,
    feature: str | None,
) -> Result:
    """A result with its numbers."""
    return Result(
        check=check,
        verdict=verdict,
        severity=severity,
        sentence=sentence,
        feature=feature,
        value=measured.value,
        low=measured.low,
        high=measured.high,
        threshold=threshold,
    )


def percent(value: float) -> str:
    """`12.3 %`."""
    return f"{100 * value:.1f} %" if np.isfinite(value) else "an unknown share"


def uncertain(verdict: Verdict, measured: Measured, threshold: float) -> str:
    """For an interval that straddles the threshold, why that is no pass."""
    if verdict != "INCONCLUSIVE":
        return ""
    if not np.isfinite([measured.low, measured.high]).all():
        return " It could not be measured on these rows."
    return (
        f" The interval {measured.low:.3g} to {measured.high:.3g} straddles the threshold {threshold:.3g}: "
        "explain more rows (max_examples) to decide."
    )
