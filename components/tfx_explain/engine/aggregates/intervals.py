"""Intervals by drawing whole hash buckets: how well a number is measured."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from tfx_explain.names import NUM_BUCKETS

NUM_DRAWS = 400
LOW, HIGH = 0.05, 0.95
"""One-sided levels: a bound errs in 5 % of draws."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """A number and its interval; NaN where it could not be measured."""

    value: float
    low: float
    high: float


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
    """Sums per draw: [1 + draws, ...] of bucket sums [buckets, ...]. einsum without BLAS: its order is fixed."""
    flat = sums.reshape(len(sums), -1)
    return np.einsum("db,bk->dk", draws, flat, optimize=False).reshape(len(draws), *sums.shape[1:])


def measure(statistic: np.ndarray) -> Measured:
    """Value and percentile interval of a statistic [1 + draws] whose first entry is the value.

    The interval always holds the value: with a maximum over features every draw may lie above it.
    """
    value = float(statistic[0])
    if not np.isfinite(statistic).all():
        return Measured(value, float("nan"), float("nan"))
    low, high = np.quantile(statistic[1:], [LOW, HIGH])
    return Measured(value, min(float(low), value), max(float(high), value))
