"""Intervals by drawing whole hash buckets: how well a number is measured."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Literal

import numpy as np

from tfx_explain.names import NUM_BUCKETS

NUM_DRAWS = 400
_EXACT_BITS = 53
_ONE_THREAD = 1 << 18  # multiplications up to which OpenBLAS stays in one thread
_EXACT_SHIFT = 900  # to multiply by a power of two up to here loses nothing
LOW, HIGH = 0.05, 0.95
"""One-sided levels: a bound errs in 5 % of draws."""
QUANTILES: Literal["weibull"] = "weibull"
"""Which quantile of the draws (Hyndman and Fan 1996, definition 6): a new draw falls below the k-th of n with
probability k / (n + 1)."""

Z95 = 1.6448536269514722
"""95th percentile of the normal distribution."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """A number and its interval; NaN where it could not be measured."""

    value: float
    low: float
    high: float


def number(value: float) -> float | None:
    """Six significant digits, so that other machines print the same; None for what is not finite."""
    return float(f"{value:.6g}") + 0.0 if np.isfinite(value) else None


def seed_from(*parts: str) -> int:
    """A seed that belongs to a content: the first 64 bits of the parts' SHA-256."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def bucket_draws(seed: int, draws: int = NUM_DRAWS) -> np.ndarray:
    """How often each bucket is drawn: float64 [1 + draws, buckets]; row 0 takes every bucket once (the value itself).

    References:
      Efron and Tibshirani 1993, chapter 6; clusters (here: buckets) are drawn whole.
    """
    picks = np.random.Generator(np.random.PCG64(seed)).integers(0, NUM_BUCKETS, (draws, NUM_BUCKETS))
    flat = (np.arange(draws)[:, None] * NUM_BUCKETS + picks).ravel()
    counts = np.bincount(flat, minlength=draws * NUM_BUCKETS).reshape(draws, NUM_BUCKETS)
    return np.concatenate([np.ones((1, NUM_BUCKETS)), counts])


def drawn(draws: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Sums per draw: [1 + draws, ...] of bucket sums [buckets, ...].

    Each column of sums is rounded to so many bits (47 for 64 buckets) of its largest entry that every product with a
    count, and every sum of such products, is a whole multiple of one power of two below 2^53. So the matrix product is
    exact in any order, and its bits do not depend on who multiplies, nor on how many threads.

    Args:
      draws: whole numbers [1 + draws, buckets], of `bucket_draws`.
      sums: float64 [buckets, ...].

    References:
      Ozaki et al. 2012, Error-free transformations of matrix multiplication (the splitting; here its first part).
    """
    flat = sums.reshape(len(sums), -1)
    most = float(np.abs(draws).sum(axis=1).max(initial=1.0))
    bits = _EXACT_BITS - int(np.ceil(np.log2(max(most, 1.0))))
    with np.errstate(invalid="ignore"):  # what is not finite stays so
        shift = bits - np.frexp(np.abs(flat).max(axis=0, initial=0.0))[1]
        if np.abs(shift).max(initial=0) > _EXACT_SHIFT:
            product = np.ldexp(draws @ np.rint(np.ldexp(flat, shift)), -shift)
        else:  # the same bits, in a third of the time
            product = _product(draws, np.rint(flat * np.ldexp(1.0, shift)))
            product *= np.ldexp(1.0, -shift)
    return product.reshape(len(draws), *sums.shape[1:])


def _product(draws: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """The matrix product, some columns at a time: so small that BLAS does not share it among threads.

    A thread that had a share waits for the next one at full speed for some 25 ms. A single column would be the product
    with a vector, which is shared from 9,216 multiplications on: it is taken twice.
    """
    columns = sums.shape[1]
    out = np.empty((len(draws), columns))
    step = max(_ONE_THREAD // draws.size, 2)
    for start in range(0, columns, step):
        part = sums[:, start : start + step]
        if part.shape[1] == 1:
            out[:, start] = np.matmul(draws, np.concatenate([part, part], axis=1))[:, 0]
        else:
            np.matmul(draws, part, out=out[:, start : start + step])
    return out


def measure(statistic: np.ndarray, filled: int = NUM_BUCKETS) -> Measured:
    """Value and percentile interval of a statistic [1 + draws] whose first entry is the value.

    The interval always holds the value: with a maximum over features every draw may lie above it.
    """
    value, low, high = measure_columns(statistic[:, None], filled)
    return Measured(float(value[0]), float(low[0]), float(high[0]))


def measure_columns(
    table: np.ndarray, filled: int | np.ndarray = NUM_BUCKETS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(value, low, high), each [...], of a table [1 + draws, ...]: `measure` of every column.

    A column with a draw that is not finite has no interval: NaN.

    Args:
      table: statistics by draw; row 0 is the value.
      filled: buckets that hold rows, of all columns or of each [...]; the interval is widened about the value by their
        `small_sample_factor`.
    """
    value = table[0].astype(np.float64)
    known = np.isfinite(table).all(axis=0)
    low, high = _percentiles(np.where(known, table[1:], 0.0))
    low, high = np.minimum(low, value), np.maximum(high, value)
    factor = small_sample_factor(filled)
    with np.errstate(invalid="ignore"):  # a value that is not finite has no interval
        low, high = value - factor * (value - low), value + factor * (high - value)
    return value, np.where(known, low, np.nan), np.where(known, high, np.nan)


def _percentiles(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """LOW and HIGH of [draws, ...].

    The k-th of n draws stands for k / (n + 1), as `np.quantile` has it with `QUANTILES`. With its default,
    (k - 1) / (n - 1), a bound lies inside its level by almost a draw: of 200 draws that is a point of coverage.
    """
    last = len(table) - 1
    ranks = [min(max(len(table) * level + level - 1, 0.0), float(last)) for level in (LOW, HIGH)]
    places = [(min(int(rank), max(last - 1, 0)), min(int(rank) + 1, last)) for rank in ranks]
    ordered = np.sort(table, axis=0)  # numpy sorts by vector instructions, and parts by none: a third of the time
    out = []
    for rank, (at, following) in zip(ranks, places, strict=True):
        before, after = ordered[at], ordered[following]
        part = rank - at
        out.append(before + (after - before) * part if part < 0.5 else after - (after - before) * (1 - part))
    return out[0], out[1]


def measure_maximum(table: np.ndarray, filled: int = NUM_BUCKETS) -> Measured:
    """Value and interval of the largest of many cells (slices x features), in spite of the choice among them.

    A percentile interval of the maximum is no test of it: noise alone lifts the maximum, and drawing lifts it once
    more, so that its lower bound lies above the truth far more often than in 5 % of samples. Here the lower bound is
    max_k(v_k - c s_k), s_k the standard deviation of cell k over the draws and c the 95th percentile of
    max_k (v*_k - v_k) / s_k: it errs in 5 % of samples whatever the number of cells and however they depend. The upper
    bound is the largest of the cells' own: it errs only where the bound of the truly largest cell does.

    Args:
      table: [1 + draws, cells]; row 0 is the value. A NaN anywhere leaves no interval, and no cell leaves no value.
      filled: buckets that hold rows of the least filled cell.

    References:
      Westfall and Young 1993, Resampling-Based Multiple Testing, chapter 2 (maximum of studentised differences).
    """
    if not table.shape[1]:
        return Measured(float("nan"), float("nan"), float("nan"))
    value, _, high = measure_columns(table, filled)
    top = float(value.max())
    if not np.isfinite(high).all():
        return Measured(top, float("nan"), float("nan"))
    spread = table[1:].std(axis=0)
    moved = np.divide(table[1:] - value, spread, out=np.zeros_like(table[1:]), where=spread > 0)
    most = max(float(np.quantile(moved.max(axis=1), HIGH, method=QUANTILES)), 0.0)
    critical = most * float(small_sample_factor(filled))
    return Measured(top, float((value - critical * spread).max()), float(high.max()))


def small_sample_factor(filled: int | np.ndarray) -> np.ndarray:
    """How much wider than the percentiles of the draws an interval must be when `filled` buckets hold rows.

    t(0.95, m - 1) sqrt(m / (m - 1)) of m buckets over the normal distribution's percentile: the spread is estimated
    from m - 1 degrees of freedom, and drawing understates its square by (m - 1) / m. Times 1 + 1.3 / sqrt(n) for rows
    that are skewed: their mean and their spread err together, so that a percentile errs by O(1 / sqrt(n)). 1.3 is what
    lognormal rows, and the absolute ones of Student's t with 3 degrees of freedom, were found to need from 50 rows on
    (tests/engine/aggregates/test_coverage.py). n is the number of rows, or of clusters, that fill m of 64 buckets on
    average. All 64 tell no more than that there are some hundreds: 1,000, so that 1.065 is the least factor. NaN for
    fewer than two buckets.

    References:
      Cameron, Gelbach and Miller 2008, Bootstrap-Based Improvements for Inference with Clustered Errors.
      Hall 1992, The Bootstrap and Edgeworth Expansion, chapter 3 (the error of percentiles).
    """
    return _FACTORS[filled]


_T95 = (6.313752, 2.919986, 2.353363, 2.131847)  # of Student's t with 1 to 4 degrees of freedom


def _t95(freedom: int) -> float:
    """95th percentile of Student's t (Abramowitz and Stegun 1964, 26.7.5; exact to 1e-3 from 5 degrees on)."""
    if freedom <= len(_T95):
        return _T95[freedom - 1]
    z = Z95
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(sum(term / freedom**k for k, term in enumerate(terms)))


def _widening(count: int) -> float:
    return _t95(count - 1) / Z95 * (count / (count - 1)) ** 0.5 * _for_skewness(count)


_SKEWNESS, _MANY, _FEWEST = 1.3, 1000.0, 50.0  # of fewer than 50 rows it is not known what they need


def _for_skewness(count: int) -> float:
    rows = np.log1p(-count / NUM_BUCKETS) / np.log1p(-1 / NUM_BUCKETS) if count < NUM_BUCKETS else _MANY
    return float(1 + _SKEWNESS / np.sqrt(max(rows, _FEWEST)))


_FACTORS = np.array([np.nan, np.nan, *(_widening(m) for m in range(2, NUM_BUCKETS + 1))])
