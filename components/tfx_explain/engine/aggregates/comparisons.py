"""Distances between a candidate and a model that passed, from their bucket statistics; each for all draws at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfx_explain.engine.aggregates.buckets import BucketStatistics
from tfx_explain.engine.aggregates.intervals import drawn

MIN_BIN_ROWS = 5
MIN_COVERED, MIN_COVERED_SHARE = 0.5, 0.05
MIN_SHARED_BINS = 4
"""A direction is compared only over at least this many bins with MIN_BIN_ROWS rows on both sides."""
ONE_BIN = 0.95
"""A feature of which one bin holds this part of both models' rows has no direction to speak of, whatever the others."""


@dataclasses.dataclass(frozen=True)
class Profiles:
    """What a comparison needs, drawn: D = 1 + draws (1 for a reference, which is a constant).

    Attributes:
      features: F names.
      absolute: [D, F] mean |attribution|.
      draws: [D, buckets].
      bin_rows: [K] distinct rows of each value bin, all features end to end.
      bin_weight, bin_sum: [buckets, K] weight, and sum of attribution; drawn feature by feature, since for thousands of
        features all draws of all bins would be gigabytes.
      bin_slices: feature -> its slice of K.
    """

    features: tuple[str, ...]
    absolute: np.ndarray
    draws: np.ndarray
    bin_rows: np.ndarray
    bin_weight: np.ndarray
    bin_sum: np.ndarray
    bin_slices: dict[str, slice]

    @classmethod
    def of(cls, statistics: BucketStatistics, draws: np.ndarray) -> Profiles:
        """Draws a model's statistics; `draws` is [D, buckets]."""
        weight = drawn(draws, statistics.scalars["weight"])
        with np.errstate(invalid="ignore", divide="ignore"):
            absolute = drawn(draws, statistics.sums["sum_absolute"]) / weight[:, None]
        starts = np.concatenate([[0], np.cumsum(statistics.bin_sizes)]).astype(int)
        return cls(
            statistics.features,
            absolute,
            draws,
            statistics.bin_sums["bin_rows"].sum(axis=0),
            statistics.bin_sums["bin_weight"],
            statistics.bin_sums["bin_sum"],
            {f: slice(a, b) for f, a, b in zip(statistics.features, starts[:-1], starts[1:], strict=True)},
        )

    def bins(self, feature: str) -> tuple[np.ndarray, np.ndarray]:
        """(weight [D, k], sum of attribution [D, k]) of a feature's value bins."""
        at = self.bin_slices[feature]
        both = drawn(self.draws, np.concatenate([self.bin_weight[:, at], self.bin_sum[:, at]], axis=1))
        return both[:, : at.stop - at.start], both[:, at.stop - at.start :]

    @property
    def total(self) -> np.ndarray:
        """[D] total mean |attribution|."""
        return self.absolute.sum(axis=1)

    def total_of(self, among: tuple[str, ...]) -> np.ndarray:
        """[D] total mean |attribution| of some features."""
        return self._columns(among).sum(axis=1)

    def shares(self, among: tuple[str, ...]) -> np.ndarray:
        """[D, len(among)] shares of the total over `among`; NaN where that total is 0."""
        columns = self._columns(among)
        with np.errstate(invalid="ignore", divide="ignore"):
            return columns / columns.sum(axis=1, keepdims=True)

    def one_sidedness(self, among: tuple[str, ...]) -> np.ndarray:
        """[D, len(among)] mean attribution as a part of the mean |attribution|: in [-1, 1]; 0 where there is none."""
        absolute, means = self._columns(among), np.zeros((len(self.draws), len(among)))
        for i, feature in enumerate(among):
            weight, total = (part.sum(axis=1) for part in self.bins(feature))
            with np.errstate(invalid="ignore", divide="ignore"):
                means[:, i] = total / weight
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(absolute == 0, 0.0, means / absolute)  # NaN stays: what is unknown takes no side

    def _columns(self, among: tuple[str, ...]) -> np.ndarray:
        place = {f: i for i, f in enumerate(self.features)}
        return self.absolute[:, [place[f] for f in among]]


def share_changes(candidate: Profiles, reference: Profiles, common: tuple[str, ...]) -> np.ndarray:
    """|change of share| per common feature, shares renormalised over them: [D, len(common)]."""
    return np.abs(candidate.shares(common) - reference.shares(common))


def profile_changes(candidate: Profiles, reference: Profiles, common: tuple[str, ...]) -> np.ndarray:
    """Distance of attribution profiles per common feature: [D, len(common)].

    A profile is the mean attribution of each value bin, less its weighted mean. The distance is
    sum_b w_b |P_candidate(b) - P_reference(b)|, as a share of the reference's total mean |attribution|; w_b is the
    smaller of both models' bin shares, normalised, over bins with MIN_BIN_ROWS rows on both sides. 0 where no two such
    bins exist; NaN, which passes nowhere, where a feature with a share above MIN_COVERED_SHARE has left its bins: where
    those that both models filled hold less than MIN_COVERED of either side's rows.
    """
    ours, theirs = candidate.shares(common), reference.shares(common)
    total = reference.total  # [1]
    columns = []
    for i, feature in enumerate(common):
        bins = _Shared.of(candidate, reference, feature)
        with np.errstate(invalid="ignore", divide="ignore"):
            distance = np.sum(bins.weights * np.abs(bins.ours - bins.theirs), axis=1) / total
        if max(ours[0, i], theirs[0, i]) > MIN_COVERED_SHARE and bins.covered < MIN_COVERED:
            distance = np.full_like(distance, np.nan)
        columns.append(distance)
    return np.stack(columns, axis=1)


def direction_flips(candidate: Profiles, reference: Profiles, common: tuple[str, ...]) -> np.ndarray:
    """How much attribution has turned its direction, per common feature: [D, len(common)].

    min(share, share) max(0, -r), r the weighted correlation of both profiles; 0 where fewer than MIN_SHARED_BINS bins
    are shared: over two or three bins a correlation says nothing.
    """
    ours, theirs = candidate.shares(common), reference.shares(common)
    columns = []
    for i, feature in enumerate(common):
        bins = _Shared.of(candidate, reference, feature)
        w, u, v = bins.weights, bins.ours, bins.theirs
        if w.shape[1] < MIN_SHARED_BINS:
            columns.append(np.zeros(len(ours)))
            continue
        covariance = np.sum(w * u * v, axis=1)
        spread = np.sqrt(np.sum(w * u * u, axis=1) * np.sum(w * v * v, axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):
            r = np.where(spread == 0, 0.0, covariance / spread)  # NaN stays: what is unknown has not kept its direction
        columns.append(np.minimum(ours[:, i], theirs[:, i]) * np.maximum(0.0, -r))
    return np.stack(columns, axis=1)


def left_bins(candidate: Profiles, reference: Profiles, common: tuple[str, ...]) -> np.ndarray:
    """Features that have left their bins, so that no profile can be compared: bool [len(common)].

    Those that both models filled hold less than MIN_COVERED of either side's rows.
    """
    return np.array([_shared_bins(candidate, reference, f)[1] < MIN_COVERED for f in common], bool)


def one_sided_turns(candidate: Profiles, reference: Profiles, common: tuple[str, ...]) -> np.ndarray:
    """How much attribution has turned its sign, of common features without a direction: [D, len(common)].

    min(share, share) max(0, -m n), m and n the mean attribution of each model as a part of the mean |attribution|: 1
    where every row is pushed up. 0 for a feature with a direction, MIN_SHARED_BINS shared bins of which none holds
    ONE_BIN of the rows on both sides: its profile says more than its mean. Profiles are centred: of one bin they show
    nothing at all, and of two a tenth of the attribution may turn before they differ by much.
    """
    ours, theirs = candidate.shares(common), reference.shares(common)
    turned = np.zeros_like(ours)
    at = [i for i, feature in enumerate(common) if _undirected(candidate, reference, feature)]
    chosen = tuple(common[i] for i in at)
    turned[:, at] = np.maximum(0.0, -candidate.one_sidedness(chosen) * reference.one_sidedness(chosen))
    return np.minimum(ours, theirs) * turned


def _undirected(candidate: Profiles, reference: Profiles, feature: str) -> bool:
    """Whether too few bins are shared for a direction, or the same one holds ONE_BIN of the weight on both sides."""
    if np.count_nonzero(_shared_bins(candidate, reference, feature)[0]) < MIN_SHARED_BINS:
        return True
    sides = [p.bin_weight[:, p.bin_slices[feature]].sum(axis=0) for p in (candidate, reference)]
    return bool(np.any(np.minimum(*(side / side.sum() for side in sides)) >= ONE_BIN))


def log_scale(candidate: Profiles, reference: Profiles, among: tuple[str, ...] | None = None) -> np.ndarray:
    """log(total mean |attribution| / the reference's), of all features of each or of those `among` both: [D]."""
    now, before = (p.total if among is None else p.total_of(among) for p in (candidate, reference))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(now / before)


def part_behind(statistics: BucketStatistics, features: Sequence[str]) -> np.ndarray:
    """On what part of the rows a feature's share rests: float64 [features].

    (sum w |a|)^2 / (sum w sum w a^2) is the part of the rows that have all of it, were it equal in these.
    """
    place = {f: i for i, f in enumerate(statistics.features)}
    at = [place[f] for f in features]
    absolute, squared = (statistics.sums[name].sum(axis=0)[at] for name in ("sum_absolute", "sum_squared"))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(absolute**2 / (squared * statistics.total_weight))


def moved_inputs(candidate: BucketStatistics, reference: BucketStatistics) -> dict[str, float]:
    """Per common feature, the largest |change of a value bin's share| in units of its tolerance; > 1 means moved.

    |dp| / sqrt(v + 0.01^2) over 5.5 x 1.3: v is the binomial variance of the difference, 0.01 the drift that a healthy
    pipeline shows, 1.3 the widening while fewer than three models have passed.
    """
    out: dict[str, float] = {}
    sides = []
    for s in (candidate, reference):
        weight, n = s.bin_sums["bin_weight"].sum(axis=0), max(s.effective_rows, 1.0)
        starts = np.concatenate([[0], np.cumsum(s.bin_sizes)]).astype(int)
        sides.append((weight, n, {f: (a, b) for f, a, b in zip(s.features, starts[:-1], starts[1:], strict=True)}))
    (weight_c, n_c, at_c), (weight_r, n_r, at_r) = sides
    for feature in candidate.features:
        if feature not in at_r or at_c[feature][1] - at_c[feature][0] != at_r[feature][1] - at_r[feature][0]:
            continue
        p, q = weight_c[slice(*at_c[feature])], weight_r[slice(*at_r[feature])]
        if not p.sum() or not q.sum():
            continue
        p, q = p / p.sum(), q / q.sum()
        pooled = (p * n_c + q * n_r) / (n_c + n_r)
        variance = pooled * (1 - pooled) * (1 / n_c + 1 / n_r)
        out[feature] = float(np.max(np.abs(p - q) / np.sqrt(variance + 0.01**2)) / (5.5 * 1.3))
    return out


@dataclasses.dataclass(frozen=True)
class _Shared:
    """The bins of a feature that both models filled, k of them.

    Attributes:
      weights: [D, k]; they add up to 1.
      ours, theirs: [D, k] centred profiles of the candidate and of the reference.
      covered: weight of these bins as a share of all, on the side where it is smaller.
    """

    weights: np.ndarray
    ours: np.ndarray
    theirs: np.ndarray
    covered: float

    @classmethod
    def of(cls, candidate: Profiles, reference: Profiles, feature: str) -> _Shared:
        """Compares the shared bins."""
        shared, covered = _shared_bins(candidate, reference, feature)
        (weight_c, sum_c), (weight_r, sum_r) = candidate.bins(feature), reference.bins(feature)
        weight_c, sum_c, weight_r, sum_r = (a[:, shared] for a in (weight_c, sum_c, weight_r, sum_r))
        with np.errstate(invalid="ignore", divide="ignore"):
            parts = (weight / weight.sum(axis=1, keepdims=True) for weight in (weight_c, weight_r))
            w = np.minimum(*parts)
            w = w / w.sum(axis=1, keepdims=True)
            u, v = sum_c / weight_c, sum_r / weight_r
        # A bin that a draw leaves empty weighs nothing there.
        w, u = np.where(weight_c > 0, w, 0.0), np.where(weight_c > 0, u, 0.0)
        v = np.broadcast_to(v, u.shape)
        u, v = (x - np.sum(w * x, axis=1, keepdims=True) for x in (u, v))
        return cls(w, u, v, covered)


def _shared_bins(candidate: Profiles, reference: Profiles, feature: str) -> tuple[np.ndarray, float]:
    """(bool [bins]: MIN_BIN_ROWS rows on both sides, and weight, since rows of weight 0 have no mean; `covered`)."""
    at_c, at_r = candidate.bin_slices[feature], reference.bin_slices[feature]
    if at_c.stop - at_c.start != at_r.stop - at_r.start:
        raise ValueError(f"both models must have the same value bins. Received: other bins for feature {feature!r}")
    sides = candidate.bin_weight[:, at_c].sum(axis=0), reference.bin_weight[:, at_r].sum(axis=0)
    rows = np.minimum(candidate.bin_rows[at_c], reference.bin_rows[at_r])
    shared = (rows >= MIN_BIN_ROWS) & (np.minimum(*sides) > 0)
    return shared, min(float(side[shared].sum() / side.sum()) if side.sum() else 0.0 for side in sides)
