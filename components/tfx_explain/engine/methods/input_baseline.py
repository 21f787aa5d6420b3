"""Input baseline: the median of numbers, the mode of categories."""

from __future__ import annotations

import numpy as np

from tfx_explain.engine.aggregates.weighted_order import finite_order


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Lower weighted median of each column of values [n, k]: [k]; a column without finite numbers gives 0.

    The lower median is one of the values, so that the baseline of an int feature is an int.
    """
    out = np.zeros(values.shape[1], values.dtype)
    for j in range(values.shape[1]):
        out[j] = lower_median(*finite_order(values[:, j], weights))
    return out


def lower_median(values: np.ndarray, reached: np.ndarray) -> float | int:
    """The lower median of values in rising order and the weights that they have reached: what `finite_order` gives."""
    return values[np.searchsorted(reached, reached[-1] / 2)] if len(values) else 0


def mode(values: np.ndarray, lengths: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The most frequent list of values, ties by length, then by value.

    Args:
      values: [sum(lengths)] the lists end to end; numbers or bytes objects.
      lengths: int [n], each >= 1.
      weights: [n].

    Returns:
      The values of that list.
    """
    distinct, codes = np.unique(values, return_inverse=True)
    starts = np.cumsum(lengths) - lengths
    best: tuple[float, np.ndarray] | None = None
    for length in np.unique(lengths):
        rows = lengths == length
        table = codes[starts[rows][:, None] + np.arange(length)]  # [rows of that length, length]
        lists, inverse = np.unique(table, axis=0, return_inverse=True)
        total = np.bincount(inverse.reshape(-1), weights=weights[rows])
        top = int(np.argmax(total))
        if best is None or total[top] > best[0]:
            best = float(total[top]), lists[top]
    if best is None:
        raise ValueError("a mode needs at least one list of values. Received: none")
    return distinct[best[1]]


def central_value(values: np.ndarray, lengths: np.ndarray, weights: np.ndarray, categorical: bool) -> np.ndarray:
    """The baseline value of one feature over the rows that have one.

    Numbers of one constant length give the median of each position; categories, and lists of varying length, give the
    most frequent list.

    Args:
      values: [sum(lengths)] the rows' values end to end.
      lengths: int [n], each >= 1.
      weights: [n].
      categorical: whether numbers are categories.
    """
    if not categorical and len(lengths) and (lengths == lengths[0]).all():
        return weighted_median(values.reshape(len(lengths), -1), weights)
    if values.dtype.kind == "f":
        rows = np.repeat(np.arange(len(lengths)), lengths)
        good = np.bincount(rows, weights=~np.isfinite(values), minlength=len(lengths)) == 0
        if not good.any():
            return np.zeros(1, values.dtype)
        values, lengths, weights = values[good[rows]], lengths[good], weights[good]
    return mode(values, lengths, weights)
