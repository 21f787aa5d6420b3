"""Normal noise that belongs to a row's content: by counters, without any state."""

from __future__ import annotations

import functools

import numpy as np

from tfx_explain.engine.aggregates.intervals import seed_from

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_TO_UNIT = 2.0**-53


def normals(row_seeds: np.ndarray, shape: tuple[int, ...], *stream: str) -> np.ndarray:
    """Standard normal numbers, float64 [rows, *shape].

    A number depends on its row's seed, its place in the row and the stream alone: neither on the other rows, nor on
    how far the batch is padded along any axis.

    Args:
        row_seeds: uint64 [rows].
        shape: of one row.
        stream: what tells independent draws for the same rows and places apart.

    Raises:
        ValueError: if row_seeds are not uint64 [rows].

    References:
        Counter-based generation: Salmon, Moraes, Dror, Shaw: Parallel random numbers (2011). The mixer is splitmix64's
        finaliser (Steele, Lea, Flood 2014). Box, Muller: A note on the generation of random normal deviates (1958).
    """
    row_seeds = np.asarray(row_seeds)
    if row_seeds.ndim != 1 or row_seeds.dtype != np.uint64:
        raise ValueError(f"row_seeds must be uint64 [rows]. Received: {row_seeds.dtype} {list(row_seeds.shape)}")
    key = np.uint64(seed_from("noise", *stream))
    rows = _mix(row_seeds ^ key)[:, None]  # [rows, 1]
    first = _mix(rows + _places(shape)[None])  # [rows, elements]
    second = _mix(first + _GOLDEN)
    # In (0, 1]: the logarithm of 0 is never taken.
    radius = np.sqrt(-2.0 * np.log(((first >> np.uint64(11)) + np.uint64(1)) * _TO_UNIT))
    angle = 2.0 * np.pi * ((second >> np.uint64(11)) * _TO_UNIT)
    return (radius * np.cos(angle)).reshape(len(row_seeds), *shape)


@functools.lru_cache(maxsize=64)
def _places(shape: tuple[int, ...]) -> np.ndarray:
    """A number for each index of a row, the same whatever the lengths of the axes: uint64 [elements]."""
    place = np.zeros((), np.uint64)
    for length in shape:
        index = np.arange(1, length + 1, dtype=np.uint64) * _GOLDEN
        place = _mix(place[..., None] + index)
    return place.reshape(-1)


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
