"""Bins of many values at once: the numbers of `np.searchsorted`, from a table instead of a search."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

_FRACTION_BITS = 5
_SHIFT = np.int64(52 - _FRACTION_BITS)
_AT_ONCE = 8192  # values whose intermediate results stay in the processor's cache


def row_by_row(function: Callable[[np.ndarray], np.ndarray], table: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """`function` of a table [n, F], some rows at a time: what lies between is never taken from memory anew.

    Args:
      function: rows [m, F] -> [m, ...]; a row of the result depends on its own row only.
      table: [n, F].
      dtype: of the result.
    """
    step = max(_AT_ONCE // max(table.shape[1], 1), 1)
    parts = [function(table[start : start + step]) for start in range(0, max(len(table), 1), step)]
    return np.concatenate(parts).astype(dtype, copy=False)


def reached(edges: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How many edges each value reaches: int64 [...], as `np.searchsorted(edges, values, side="right")` counts them.

    A search branches unforeseeably at every step. Here the leading bits of a value (sign, exponent, 5 of the fraction)
    name a cell of a table that holds how many edges the smallest value of the cell reaches; only the few edges within
    the cell are left to compare.

    Args:
      edges: [E], at least one, rising, finite.
      values: [...], no NaN.
    """
    edges = np.ascontiguousarray(edges, np.float64)
    first, base, most = _table(edges.tobytes())
    following = np.append(edges, np.full(most, np.inf))
    flat = np.ascontiguousarray(values).reshape(-1)
    out = np.empty(len(flat), np.int64)
    for start in range(0, len(flat), _AT_ONCE):
        part = flat[start : start + _AT_ONCE].astype(np.float64)
        cell = _keys(part) >> _SHIFT
        cell -= first
        count = base.take(cell, mode="clip")
        for _ in range(most):
            count += part >= following.take(count)
        np.minimum(count, len(edges), out=out[start : start + _AT_ONCE])
    return out.reshape(np.shape(values))


@functools.lru_cache(maxsize=64)
def _table(edges: bytes) -> tuple[int, np.ndarray, int]:
    """(number of the first cell, edges that each cell's smallest value reaches, most edges beyond it in a cell).

    The first and the last cell are open: they stand for all below and above the edges.
    """
    keys = _keys(np.frombuffer(edges))
    cells = keys >> _SHIFT
    first, last = int(cells[0]) - 1, int(cells[-1]) + 1
    base = np.searchsorted(keys, np.arange(first, last + 1) << _SHIFT, side="right")
    beyond = np.searchsorted(cells, np.arange(first, last + 1), side="right") - base
    return first, base.astype(np.int64), int(beyond.max())


def _keys(values: np.ndarray) -> np.ndarray:
    """Integers in the order of float64 values; both zeros are 0: int64 [...]."""
    bits = (values + 0.0).view(np.int64)
    return bits ^ ((bits >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF))
