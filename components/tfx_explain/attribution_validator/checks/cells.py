"""Bounds for the largest of a check's cells: its features and groups, over all slices that it judges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfx_explain.engine.aggregates.intervals import HIGH, QUANTILES, Measured, measure, small_sample_factor


def lower_bounds(tables: Sequence[np.ndarray], filled: Sequence[int]) -> list[np.ndarray]:
    """Lower bounds of all cells of a check, one array [cells] a slice, that hold together in 95 % of samples.

    A check that looks at many cells finds one above its threshold by chance alone, if each has a bound of its own. Here
    cell k has v_k - c s_k, with one c for all cells of all slices: s_k is the standard deviation of the cell over the
    draws, and c the 95th percentile of max_k (v*_k - v_k) / s_k. A cell that some draw cannot measure has no bound
    (NaN), and counts for no other. No statistic of a check is negative, and no bound is.

    Args:
      tables: [1 + draws, cells] of each slice; row 0 is the value. All slices have the same draws.
      filled: buckets that hold rows, of each slice.

    References:
      Westfall and Young 1993, Resampling-Based Multiple Testing, chapter 2 (maximum of studentised differences).
    """
    known = [np.isfinite(table).all(axis=0) for table in tables]
    solid = [np.where(cells, table, 0.0) for cells, table in zip(known, tables, strict=True)]
    spreads = [table[1:].std(axis=0) for table in solid]
    peak = np.zeros(len(tables[0]) - 1)
    for table, spread in zip(solid, spreads, strict=True):
        moved = np.divide(table[1:] - table[0], spread, out=np.zeros_like(table[1:]), where=spread > 0)
        peak = np.maximum(peak, moved.max(axis=1, initial=0.0))
    critical = float(np.quantile(peak, HIGH, method=QUANTILES))
    return [
        np.where(cells, np.maximum(table[0] - critical * small_sample_factor(buckets) * spread, 0.0), np.nan)
        for cells, table, spread, buckets in zip(known, solid, spreads, filled, strict=True)
    ]


def largest(table: np.ndarray, low: np.ndarray, filled: int) -> tuple[int, Measured]:
    """(index of the largest cell, the maximum with its interval).

    The upper bound is the 95th percentile of the maximum over the draws: never below that of any cell, so that a pass
    means that every cell lies inside. It needs no correction for the number of cells: only where the bound of the truly
    largest one errs can a pass be wrong.

    Args:
      table: [1 + draws, cells], at least one cell; row 0 is the value.
      low: [cells] of `lower_bounds`.
      filled: buckets that hold rows.
    """
    # What could not be measured comes first; six digits, so that machines whose last bits differ name the same one.
    value = np.array([float(f"{v:.6g}") if np.isfinite(v) else np.inf for v in table[0]])
    maximum = measure(table.max(axis=1), filled)
    return int(np.argmax(value)), Measured(maximum.value, float(low.max()), maximum.high)
