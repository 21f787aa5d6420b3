"""The sample: distinct rows with the smallest order keys, cut into blocks by id."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import apache_beam as beam
import numpy as np

from tfx_explain.explainer_gen.columns import decode
from tfx_explain.explainer_gen.row_ids import KEY_DTYPE, ids_of, order_keys, row_ids

MODEL_SAMPLE_ROWS = 64
"""Rows on which a model is split, and verifies itself."""
PREDICTION_ROWS = 512
BACKGROUND_ROWS = 48
"""Rows that a reference pins, raw."""


@dataclasses.dataclass(frozen=True)
class RowBatch:
    """Some rows: order keys S24 [n], serialised examples [n], index of each row's split int16 [n]."""

    keys: np.ndarray
    raw: list[bytes]
    split: np.ndarray


@dataclasses.dataclass(frozen=True)
class Block:
    """Distinct rows of one range of ids, sorted by id.

    Attributes:
      index: number of the block.
      keys: S24 [n].
      ids: S16 [n], rising.
      raw: serialised examples [n], one of those that are equal.
      split: int16 [n], the first split in which the row stands.
      count: int64 [n], how many equal rows were read.
    """

    index: int
    keys: np.ndarray
    ids: np.ndarray
    raw: list[bytes]
    split: np.ndarray
    count: np.ndarray


@dataclasses.dataclass(frozen=True)
class SamplePlan:
    """Which rows are taken and where they go; small, so it travels as a side input.

    Attributes:
      rows: distinct rows in the sample, at most max_examples.
      last_key: the largest key taken (S24 scalar array [0 or 1]).
      block_starts: first id of each block, rising: S16 [blocks].
      model_sample, prediction, background: ids of rows with a role, S16, rising.
    """

    rows: int
    last_key: np.ndarray
    block_starts: np.ndarray
    model_sample: np.ndarray
    prediction: np.ndarray
    background: np.ndarray

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.block_starts)

    @classmethod
    def of(cls, keys: np.ndarray, block_rows: int) -> SamplePlan:
        """The plan for sorted distinct keys S24 [n]; every block but the last has `block_rows` rows."""
        ids = np.sort(ids_of(keys))
        return cls(
            rows=len(keys),
            last_key=keys[-1:],
            block_starts=ids[::block_rows],
            model_sample=np.sort(ids_of(keys[:MODEL_SAMPLE_ROWS])),
            prediction=np.sort(ids_of(keys[:PREDICTION_ROWS])),
            background=np.sort(ids_of(keys[-BACKGROUND_ROWS:])),
        )

    def block_of(self, ids: np.ndarray) -> np.ndarray:
        """Index of the block that each id belongs to: int64 [n]."""
        return np.searchsorted(self.block_starts, ids, side="right") - 1


class SmallestKeys(beam.CombineFn):
    """The k smallest distinct keys. A set operation, so the result does not depend on order or grouping."""

    def __init__(self, k: int):
        self._k = k

    def create_accumulator(self) -> np.ndarray:
        """No key."""
        return np.zeros(0, KEY_DTYPE)

    def add_input(self, accumulator: np.ndarray, element: np.ndarray) -> np.ndarray:
        """Adds a batch's keys."""
        if len(accumulator) == self._k:
            element = element[element < accumulator[-1]]
            if not len(element):
                return accumulator
        return np.unique(np.concatenate([accumulator, element]))[: self._k]

    def merge_accumulators(self, accumulators: Iterable[np.ndarray]) -> np.ndarray:
        """Joins partial results."""
        return np.unique(np.concatenate([self.create_accumulator(), *accumulators]))[: self._k]

    def extract_output(self, accumulator: np.ndarray) -> np.ndarray:
        """Sorted keys."""
        return accumulator


class ContentSum(beam.CombineFn):
    """(rows, sum of ids modulo 2^128): a fingerprint of all rows read, whatever their order and shards."""

    def create_accumulator(self) -> tuple[int, int]:
        """No rows."""
        return 0, 0

    def add_input(self, accumulator: tuple[int, int], element: np.ndarray) -> tuple[int, int]:
        """Adds a batch's keys."""
        words = ids_of(element).view(">u8").reshape(-1, 2)
        # 32-bit halves, so that numpy's sums cannot overflow
        high, low = (int((w >> 32).sum()) << 32 | 0 for w in (words[:, 0].astype("u8"), words[:, 1].astype("u8")))
        high += int((words[:, 0].astype("u8") & 0xFFFFFFFF).sum())
        low += int((words[:, 1].astype("u8") & 0xFFFFFFFF).sum())
        return accumulator[0] + len(element), (accumulator[1] + (high << 64) + low) % 2**128

    def merge_accumulators(self, accumulators: Iterable[tuple[int, int]]) -> tuple[int, int]:
        """Joins partial results."""
        rows = total = 0
        for r, t in accumulators:
            rows, total = rows + r, (total + t) % 2**128
        return rows, total

    def extract_output(self, accumulator: tuple[int, int]) -> tuple[int, int]:
        """(rows, sum)."""
        return accumulator


def identify(raw: list[bytes], split: int, seed: int) -> RowBatch:
    """Gives a batch of serialised examples their keys."""
    ids = row_ids(decode(raw), raw)
    return RowBatch(order_keys(ids, seed), raw, np.full(len(raw), split, np.int16))


def select(batch: RowBatch, plan: SamplePlan) -> Iterable[tuple[int, RowBatch]]:
    """The rows of a batch that are in the sample, by block."""
    if not plan.rows:
        return
    taken = np.nonzero(batch.keys <= plan.last_key[0])[0]
    if not len(taken):
        return
    block = plan.block_of(ids_of(batch.keys[taken]))
    for index in np.unique(block):
        rows = taken[block == index]
        yield int(index), RowBatch(batch.keys[rows], [batch.raw[i] for i in rows], batch.split[rows])


def make_block(index: int, batches: Iterable[RowBatch]) -> Block:
    """Joins a block's rows: equal rows become one with a count."""
    parts = list(batches)
    keys = np.concatenate([p.keys for p in parts])
    raw = [r for p in parts for r in p.raw]
    split = np.concatenate([p.split for p in parts])
    ids = ids_of(keys)
    distinct, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    earliest = np.full(len(distinct), np.iinfo(np.int16).max, np.int16)
    np.minimum.at(earliest, inverse, split)
    return Block(
        index=index,
        keys=keys[first],
        ids=distinct,
        raw=[raw[i] for i in first],
        split=earliest,
        count=np.bincount(inverse, minlength=len(distinct)).astype(np.int64),
    )


def is_in(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Bool [n]: which ids stand among `wanted` (rising)."""
    if not len(wanted):
        return np.zeros(len(ids), bool)
    at = np.minimum(np.searchsorted(wanted, ids), len(wanted) - 1)
    return wanted[at] == ids
