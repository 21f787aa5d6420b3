"""Published statistics of attributions in one slice, with intervals, for all features at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfx_explain.engine.aggregates.buckets import BucketStatistics
from tfx_explain.engine.aggregates.intervals import Measured, drawn, measure_columns
from tfx_explain.engine.aggregates.sketch import QuantileSketch

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
STATISTICS = (
    "share",
    "mean_absolute",
    "mean",
    "row_share",
    "standard_deviation",
    "fraction_positive",
    "direction",
    *(f"quantile_{q}" for q in QUANTILES),
)
MIN_DIRECTION_BINS = 4

# What a statistic cannot leave, whatever its interval was widened by.
_LIMITS = {
    "share": (0.0, 1.0),
    "mean_absolute": (0.0, np.inf),
    "row_share": (0.0, 1.0),
    "standard_deviation": (0.0, np.inf),
    "fraction_positive": (0.0, 1.0),
    "direction": (-1.0, 1.0),
}
_AT_ONCE = 8  # features whose drawn bins stay in the processor's cache
# A variance below this part of the mean square is the rounding of a constant.
_VARIANCE_ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True)
class DependenceCurves:
    """Mean attribution by value bin, all features end to end: K bins.

    Attributes:
      starts: int64 [F + 1], where each feature's bins begin.
      value, low, high: float64 [K] mean attribution and its interval; NaN for a bin without rows, and an interval NaN
        for a bin whose rows fill so few buckets that a draw misses them all.
      rows: float64 [K] distinct rows.
      weight: float64 [K].
    """

    starts: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rows: np.ndarray
    weight: np.ndarray

    def of(self, index: int) -> DependenceCurves:
        """The curve of one feature alone, by its index."""
        at = slice(self.starts[index], self.starts[index + 1])
        return DependenceCurves(
            np.array([0, at.stop - at.start]),
            *(getattr(self, name)[at] for name in ("value", "low", "high", "rows", "weight")),
        )


@dataclasses.dataclass(frozen=True)
class SliceStatistics:
    """What is published of one slice; NaN where a number could not be measured.

    - `share`: part of the summed |attribution|; `row_share`: mean share of a row's |attribution|.
    - `mean_absolute`, `mean`, `standard_deviation`: of the attribution, in its unit.
    - `fraction_positive`: part of the weight with an attribution > 0.
    - `direction`: rank correlation of value and attribution in [-1, 1]; see `directions`.
    - `quantile_0.05` and others: of the attribution, from the sketch; a bound is infinite where too few rows lie beyond
      the quantile.

    Attributes:
      features: F names.
      names: S statistics, as STATISTICS.
      value, low, high: float64 [F, S].
      curves: mean attribution by value bin.
      rows: distinct rows.
      effective_rows: Kish's effective sample size.
      filled_buckets: buckets that hold rows.
    """

    features: tuple[str, ...]
    names: tuple[str, ...]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    curves: DependenceCurves
    rows: int
    effective_rows: float
    filled_buckets: int

    def measured(self, feature: str, statistic: str) -> Measured:
        """One number.

        Raises:
          KeyError: no such feature or statistic.
        """
        if feature not in self.features or statistic not in self.names:
            raise KeyError(f"feature and statistic must be among the published. Received: {feature!r}, {statistic!r}")
        at = self.features.index(feature), self.names.index(statistic)
        return Measured(float(self.value[at]), float(self.low[at]), float(self.high[at]))

    def curve(self, feature: str) -> DependenceCurves:
        """Mean attribution by value bin of one feature.

        Raises:
          KeyError: no such feature.
        """
        if feature not in self.features:
            raise KeyError(f"feature must be among the attributed. Received: {feature!r}")
        return self.curves.of(self.features.index(feature))


def total_attribution(statistics: BucketStatistics) -> float:
    """Total mean |attribution| of a slice, in the unit of the attributions; NaN without rows."""
    weight = statistics.total_weight
    return float(statistics.sums["sum_absolute"].sum()) / weight if weight else float("nan")


def shares_known(total: float, floor: float) -> bool:
    """Whether a slice is attributed enough for shares to mean something.

    Args:
      total: the slice's `total_attribution`.
      floor: least total; `min_total_attribution` times the overall slice's.
    """
    return bool(total > 0 and total >= floor)


def slice_statistics(
    statistics: BucketStatistics,
    sketch: QuantileSketch,
    draws: np.ndarray,
    ordered: Sequence[bool],
    floor: float = 0.0,
) -> SliceStatistics:
    """All statistics of one slice, every interval from the same draws (those of quantiles: from order statistics).

    A slice that fills fewer than all buckets has wider intervals: see `small_sample_factor`.

    Args:
      statistics: sums of the slice.
      sketch: of the same rows.
      draws: [1 + draws, buckets] of `bucket_draws`.
      ordered: [F] whether a feature's value bins, but the last (missing), have an order: True for quantile bins.
      floor: least total mean |attribution| at which shares are known; below it they are NaN.

    Raises:
      ValueError: sketch or `ordered` are of other features.
    """
    count = len(statistics.features)
    if sketch.num_features != count or len(ordered) != count:
        raise ValueError(
            f"sketch and ordered must have the statistics' {count} features. "
            f"Received: {sketch.num_features} and {len(ordered)}"
        )
    tables = _tables(statistics, draws)
    tables["direction"], curves = _by_bin(statistics, draws, ordered)
    if not shares_known(total_attribution(statistics), floor):
        for name in ("share", "row_share"):
            tables[name] = np.full_like(tables[name], np.nan)
    filled = statistics.filled_buckets
    value, low, high = (np.full((count, len(STATISTICS)), np.nan) for _ in range(3))
    for j, name in enumerate(STATISTICS):
        if name in tables:
            value[:, j], low[:, j], high[:, j] = measure_columns(tables[name], filled)
            if name in _LIMITS:
                low[:, j], high[:, j] = np.clip(low[:, j], *_LIMITS[name]), np.clip(high[:, j], *_LIMITS[name])
    at = STATISTICS.index(f"quantile_{QUANTILES[0]}")
    levels = np.array(QUANTILES)
    known = np.isfinite(tables["mean"]).all(axis=0)[:, None]
    value[:, at:] = sketch.quantiles(levels)
    bounds = sketch.intervals(levels, _resembling_rows(tables, statistics.effective_rows))
    low[:, at:], high[:, at:] = (np.where(known, bound, np.nan) for bound in bounds)
    return SliceStatistics(
        statistics.features,
        STATISTICS,
        value,
        low,
        high,
        curves,
        int(statistics.scalars["rows"].sum()),
        statistics.effective_rows,
        filled,
    )


def directions(
    bin_sizes: Sequence[int], bin_weight: np.ndarray, bin_sum: np.ndarray, ordered: Sequence[bool]
) -> np.ndarray:
    """Weighted rank correlation between value bins and their mean attribution: [D, F].

    Spearman's correlation over rows when each row stands for its bin: bins rank by their order and by their mean
    attribution, ties at the middle of the weight they span. Missing values have no place in the order and are left
    out. NaN for a feature without order, with fewer than MIN_DIRECTION_BINS filled bins, or with the same mean in all.

    Args:
      bin_sizes: [F] bins of each feature, missing included.
      bin_weight: [D, K], drawn; row 0 is the value.
      bin_sum: [D, K] sums of attribution, drawn.
      ordered: [F].

    References:
      Spearman 1904; Kendall 1945, The treatment of ties in ranking problems.
    """
    out = np.full((len(bin_weight), len(bin_sizes)), np.nan)
    starts = np.concatenate([[0], np.cumsum(bin_sizes)]).astype(np.int64)
    by_count: dict[int, list[tuple[int, np.ndarray]]] = {}
    for f in np.flatnonzero(ordered):
        filled = starts[f] + np.flatnonzero(bin_weight[0, starts[f] : starts[f + 1] - 1] > 0)
        if len(filled) >= MIN_DIRECTION_BINS:
            by_count.setdefault(len(filled), []).append((f, filled))
    for alike in by_count.values():
        features, places = zip(*alike, strict=True)
        at = np.stack(places, axis=1)  # [B, features]
        weight, total = (np.ascontiguousarray(np.moveaxis(m[:, at], 0, -1)) for m in (bin_weight, bin_sum))
        out[:, list(features)] = _rank_correlations(weight, total).T
    return np.clip(out, -1.0, 1.0)


def _rank_correlations(weight: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Spearman's correlation of B bins with their means: [F, D] of weights and sums [B, F, D].

    A bin's rank less the middle of all ranks is half the weight of the bins below it less that of those above: ties
    add nothing, and both ranks have the weighted mean 0.
    """
    mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    below = np.cumsum(weight, axis=0)
    u = below - (weight + below[-1]) / 2
    v, held = np.zeros_like(weight), np.empty_like(weight)
    tied = np.zeros(weight.shape[1:], bool)
    for i in range(len(weight) - 1):
        apart = np.subtract(mean[i + 1 :], mean[i], out=held[i + 1 :])
        if np.count_nonzero(apart) < apart.size:
            tied |= (apart == 0).any(axis=0)
        v[i + 1 :] += np.copysign(weight[i], apart)
        v[i] -= np.copysign(weight[i + 1 :], apart, out=apart).sum(axis=0)
    if tied.any():  # few, if any: a difference of 0 has a sign, but adds nothing
        v[:, tied] = _with_ties(mean[:, tied], weight[:, tied])
    v /= 2
    weighted = weight * v
    spread = np.sqrt(np.einsum("bfd,bfd,bfd->fd", weight, u, u) * np.einsum("bfd,bfd->fd", weighted, v))
    covariance = np.einsum("bfd,bfd->fd", weighted, u)
    # Equal means leave only the rounding of the ranks.
    clear = spread > 1e-9 * (below[-1] / 2) ** 3
    return np.divide(covariance, spread, out=np.full(spread.shape, np.nan), where=clear)


def _with_ties(mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The weight of the bins with a lower mean less that of those with a higher one: [B, n]."""
    return np.stack([(np.sign(own - mean) * weight).sum(axis=0) for own in mean])


def _tables(statistics: BucketStatistics, draws: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics by draw, each [D, F]."""
    weight = drawn(draws, statistics.scalars["weight"])[:, None]
    sums = {name: drawn(draws, values) for name, values in statistics.sums.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, square = sums["sum"] / weight, sums["sum_squared"] / weight
        variance = square - mean**2
        return {
            "share": sums["sum_absolute"] / sums["sum_absolute"].sum(axis=1, keepdims=True),
            "mean_absolute": sums["sum_absolute"] / weight,
            "mean": mean,
            "row_share": sums["sum_row_share"] / weight,
            "standard_deviation": np.sqrt(np.where(variance <= _VARIANCE_ROUNDING * square, 0.0, variance)),
            "fraction_positive": sums["sum_positive"] / weight,
        }


def _resembling_rows(tables: dict[str, np.ndarray], effective_rows: float) -> np.ndarray:
    """Effective rows by feature [F], less where rows of a bucket resemble each other.

    The design effect is the variance of the mean over draws of buckets over that of independent rows, at least 1.
    """
    independent = tables["standard_deviation"][0] ** 2 / max(effective_rows, 1e-9)
    with np.errstate(invalid="ignore"):
        between = tables["mean"][1:].var(axis=0)
    effect = np.divide(between, independent, out=np.ones_like(between), where=independent > 0)
    return effective_rows / np.maximum(np.where(np.isfinite(effect), effect, 1.0), 1.0)


def _by_bin(
    statistics: BucketStatistics, draws: np.ndarray, ordered: Sequence[bool]
) -> tuple[np.ndarray, DependenceCurves]:
    """(`directions`, curves), a few features at a time: what is drawn of their bins stays in the processor's cache."""
    sizes, sums = statistics.bin_sizes, statistics.bin_sums
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    direction, value, low, high = np.empty((len(draws), len(sizes))), *np.empty((3, starts[-1]))
    for first in range(0, len(sizes), _AT_ONCE):
        last = min(first + _AT_ONCE, len(sizes))
        at = slice(starts[first], starts[last])
        weight, total = (drawn(draws, sums[name][:, at]) for name in ("bin_weight", "bin_sum"))
        direction[:, first:last] = directions(sizes[first:last], weight, total, ordered[first:last])
        with np.errstate(invalid="ignore", divide="ignore"):
            filled = np.count_nonzero(sums["bin_weight"][:, at], axis=0)
            value[at], low[at], high[at] = measure_columns(total / weight, filled)
    rows, weights = (sums[name].sum(axis=0) for name in ("bin_rows", "bin_weight"))
    return direction, DependenceCurves(starts, value, low, high, rows, weights)
