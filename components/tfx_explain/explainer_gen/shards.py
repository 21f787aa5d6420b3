"""Shards: which slices are summed together, and which large ones in parts of whole buckets."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfx_explain.explainer_gen.strata import ALL, SlicePlan
from tfx_explain.names import NUM_BUCKETS

ROWS_OF_A_SHARD = 8192
"""Of permuted and paired rows, whose width is not known beforehand."""
BYTES_OF_A_SHARD = 16 << 20
BYTES_OF_AN_ATTRIBUTION = 8
"""With the bins that it lies in."""
_FEWEST_ROWS = 1024


@dataclasses.dataclass(frozen=True)
class Shards:
    """Where rows of slices go to be summed: a large slice to shards of its own, small ones to one that they share.

    Attributes:
      first: int64 [slices], number of the first shard of each slice.
      count: int64 [slices], in how many shards it is summed.
    """

    first: np.ndarray
    count: np.ndarray

    def of(self, place: np.ndarray, bucket: np.ndarray) -> np.ndarray:
        """Number of the shard of a row of this bucket in the slice of this number: int64 [n]."""
        return self.first[place] + bucket * self.count[place] // NUM_BUCKETS


def shards_of(plan: SlicePlan, max_examples: int, features: int) -> Shards:
    """Shards of attributions, decided by the plan and the number of features alone.

    A shard holds some 16 MB; so a block sends few elements, however many slices there are.
    """
    most = max(BYTES_OF_A_SHARD // (BYTES_OF_AN_ATTRIBUTION * max(features, 1)), _FEWEST_ROWS)
    first, count = [], []
    number, shared, held = 0, -1, np.inf
    for rows in _expected_rows(plan, max_examples):
        shards = _shards(rows, most)
        if shards > 1:
            first.append(number)
            number += shards
        else:
            if held + rows > most:
                shared, held = number, 0.0
                number += 1
            held += rows
            first.append(shared)
        count.append(shards)
    return Shards(np.array(first, np.int64), np.array(count, np.int64))


def shard_count(plan: SlicePlan, place: int, max_examples: int) -> int:
    """In how many shards of permuted or paired rows a slice is summed: decided by the plan alone."""
    return _shards(_expected_rows(plan, max_examples)[place], ROWS_OF_A_SHARD)


def _expected_rows(plan: SlicePlan, max_examples: int) -> list[float]:
    """Rows of each slice that are expected in the sample, at most; a remainder may hold all of it."""
    rows = [float(max_examples)]
    for key, read in plan.rows.items():
        threshold = max(plan.overall, plan.thresholds.get(key, 0))
        rows.append(min(float(max_examples), read if threshold == ALL else read * threshold / 2.0**64))
    return rows + [float(max_examples)] * len(plan.small)


def _shards(rows: float, most: int) -> int:
    shards = 1
    while shards * most < rows and shards < NUM_BUCKETS:
        shards *= 2
    return shards
