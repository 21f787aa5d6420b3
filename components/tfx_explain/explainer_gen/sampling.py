"""The sample: distinct rows with the smallest order keys, cut into blocks by id."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np

from tfx_explain.explainer_gen.columns import Columns, decode
from tfx_explain.explainer_gen.examples import canonical
from tfx_explain.explainer_gen.row_ids import ID_DTYPE, KEY_DTYPE, cluster_ids, ids_of, order_keys, row_ids
from tfx_explain.explainer_gen.transit import PackedInTransit, travels
from tfx_explain.names import SliceKey

if TYPE_CHECKING:
    from tfx_explain.explainer_gen.slicing import Memberships, SliceAssigner

MODEL_SAMPLE_ROWS = 64
"""Rows on which a model is split, and verifies itself."""
PREDICTION_ROWS = 512
BACKGROUND_ROWS = 48
"""Rows that a reference pins, raw."""

_BOUNDED_SLICES = 10_000  # slices whose first rows a worker knows; of others it keeps all rows


@travels
@dataclasses.dataclass(frozen=True)
class RowBatch(PackedInTransit):
    """Some rows.

    Attributes:
      keys: order keys S24 [n].
      raw: serialised examples [n].
      split: index of each row's split, int16 [n].
      members: the slices that the rows belong to, beside the overall one; None without slices.
      probability: of each row's inclusion in the sample, float64 [n]; None before the sample is known.
    """

    keys: np.ndarray
    raw: list[bytes]
    split: np.ndarray
    members: Memberships | None = None
    probability: np.ndarray | None = None


@travels
@dataclasses.dataclass(frozen=True)
class Block(PackedInTransit):
    """Distinct rows of one range of ids, sorted by id.

    Attributes:
      index: number of the block.
      ids: S16 [n], rising.
      raw: serialised examples [n], one of those that are equal.
      split: int16 [n], the first split in which the row stands.
      count: int64 [n], how many equal rows were read.
      probability: float64 [n], of each row's inclusion in the sample.
      columns: the rows, decoded.
    """

    index: int
    ids: np.ndarray
    raw: list[bytes]
    split: np.ndarray
    count: np.ndarray
    probability: np.ndarray
    columns: Columns


@dataclasses.dataclass(frozen=True)
class SamplePlan:
    """Where the rows of the sample go; small, so it travels as a side input.

    Attributes:
      rows: distinct rows in the sample.
      block_starts: first id of each block, rising: S16 [blocks].
      model_sample, prediction, background: ids of rows with a role, S16, rising.
    """

    rows: int
    block_starts: np.ndarray
    model_sample: np.ndarray
    prediction: np.ndarray
    background: np.ndarray

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.block_starts)

    @classmethod
    def of(cls, ids: np.ndarray, keys: np.ndarray, max_examples: int, block_rows: int) -> SamplePlan:
        """The plan; every block but the last has `block_rows` rows.

        Args:
          ids: of the sample, S16, rising.
          keys: the smallest keys of all rows, S24, rising; rows with a role are those of them that are in the sample.
          max_examples: rows of the overall sample.
          block_rows: rows of a block.
        """
        overall = ids_of(keys[:max_examples])
        overall = overall[is_in(overall, ids)]
        return cls(
            rows=len(ids),
            block_starts=ids[::block_rows],
            model_sample=np.sort(overall[:MODEL_SAMPLE_ROWS]),
            prediction=np.sort(overall[:PREDICTION_ROWS]),
            background=np.sort(overall[-BACKGROUND_ROWS:]),
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
        return _with(accumulator, element)[: self._k]

    def merge_accumulators(self, accumulators: Iterable[np.ndarray]) -> np.ndarray:
        """Joins partial results."""
        return np.unique(np.concatenate([self.create_accumulator(), *accumulators]))[: self._k]

    def extract_output(self, accumulator: np.ndarray) -> np.ndarray:
        """Sorted keys."""
        return accumulator


def _with(distinct: np.ndarray, element: np.ndarray) -> np.ndarray:
    """Distinct rising values, and others put among them: what is there already is not sorted again."""
    if not len(element):
        return distinct
    element = np.unique(element)
    at = np.searchsorted(distinct, element)
    new = ~is_in(element, distinct)
    return np.insert(distinct, at[new], element[new])


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


class UnionOfIds(beam.CombineFn):
    """The distinct ids of all arrays: a set operation, so the result does not depend on order or grouping."""

    def create_accumulator(self) -> np.ndarray:
        """No id."""
        return np.zeros(0, ID_DTYPE)

    def add_input(self, accumulator: np.ndarray, element: np.ndarray) -> np.ndarray:
        """Adds a batch's ids."""
        return _with(accumulator, element)

    def merge_accumulators(self, accumulators: Iterable[np.ndarray]) -> np.ndarray:
        """Joins partial results."""
        return np.unique(np.concatenate([self.create_accumulator(), *accumulators]))

    def extract_output(self, accumulator: np.ndarray) -> np.ndarray:
        """Sorted ids."""
        return accumulator


def identify(
    raw: list[bytes], split: int, seed: int, cluster_key: str | None = None, assigner: SliceAssigner | None = None
) -> RowBatch:
    """Gives a batch of serialised examples their keys and slices.

    Rows with empty lists are written anew without them: which of some equal rows is read first must not matter.
    """
    columns = decode(raw)
    if len(columns.with_empty_list):
        raw = list(raw)
        for i in columns.with_empty_list:  # few, if any
            raw[i] = canonical(raw[i])
    ids = row_ids(columns, raw)
    keys = order_keys(ids, seed, cluster_ids(columns, raw, ids, cluster_key))
    members = None if assigner is None else assigner.assign(raw, columns)
    return RowBatch(keys, raw, np.full(len(raw), split, np.int16), members)


class Candidates:
    """Which rows of the batches of one worker can be in the sample, for all that was seen.

    A row is in the sample when it is among the first rows of all, or of a slice. The first rows of some of the rows are
    a bound: what stands behind them stands behind those of all rows too. So what is left out depends on what a worker
    met before, and the sample does not.
    """

    def __init__(self, max_examples: int, rows_per_slice: int):
        """Bounds for the overall sample and for slices."""
        self._overall = SmallestKeys(max_examples + 1)
        self._first = self._overall.create_accumulator()
        self._of_slice = SmallestKeys(rows_per_slice + 1)
        self._slices: dict[SliceKey, np.ndarray] = {}
        self._sizes = max_examples + 1, rows_per_slice + 1

    def of(self, batch: RowBatch) -> np.ndarray:
        """Indices of the rows that can be in the sample: int64 [n], rising."""
        self._first = self._overall.add_input(self._first, batch.keys)
        kept = _up_to(batch.keys, self._first, self._sizes[0])
        members = batch.members
        if members is None:
            return np.flatnonzero(kept)
        order = np.argsort(members.slice, kind="stable")
        ends = np.searchsorted(members.slice[order], np.arange(len(members.keys) + 1))
        for index, key in enumerate(members.keys):
            rows = members.row[order[ends[index] : ends[index + 1]]]
            if not key or kept[rows].all():  # nothing can change: the bound may stay behind, which keeps more rows
                continue
            known = self._slices.get(key)
            if known is None:
                if len(self._slices) >= _BOUNDED_SLICES:
                    kept[rows] = True
                    continue
                known = self._of_slice.create_accumulator()
            self._slices[key] = known = self._of_slice.add_input(known, batch.keys[rows])
            kept[rows] |= _up_to(batch.keys[rows], known, self._sizes[1])
        return np.flatnonzero(kept)


def _up_to(keys: np.ndarray, first: np.ndarray, size: int) -> np.ndarray:
    """Bool [n]: the keys that do not stand behind the `size` first ones."""
    return np.ones(len(keys), bool) if len(first) < size else keys <= first[-1]


def part_of(batch: RowBatch, rows: np.ndarray) -> RowBatch:
    """Some rows of a batch, int64 [n], rising, with their slices."""
    out = take_rows(batch, rows)
    if batch.members is None:
        return out
    place = np.full(len(batch.keys), -1)
    place[rows] = np.arange(len(rows))
    row = place[batch.members.row]
    members = dataclasses.replace(batch.members, row=row[row >= 0], slice=batch.members.slice[row >= 0])
    return dataclasses.replace(out, members=members)


def by_block(batch: RowBatch, plan: SamplePlan) -> Iterable[tuple[int, RowBatch]]:
    """The rows of a batch, all of the sample, by block."""
    if not len(batch.keys):
        return
    block = plan.block_of(ids_of(batch.keys))
    for index in np.unique(block):
        yield int(index), take_rows(batch, np.nonzero(block == index)[0])


def take_rows(batch: RowBatch, rows: np.ndarray, probability: np.ndarray | None = None) -> RowBatch:
    """Some rows of a batch, without their slices."""
    if probability is None and batch.probability is not None:
        probability = batch.probability[rows]
    return RowBatch(batch.keys[rows], [batch.raw[i] for i in rows], batch.split[rows], None, probability)


def make_block(index: int, batches: Iterable[RowBatch]) -> Block:
    """Joins a block's rows: equal rows become one with a count."""
    parts = list(batches)
    raw = [r for p in parts for r in p.raw]
    split = np.concatenate([p.split for p in parts])
    probability = np.concatenate([np.ones(len(p.raw)) if p.probability is None else p.probability for p in parts])
    ids = ids_of(np.concatenate([p.keys for p in parts]))
    distinct, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    earliest = np.full(len(distinct), np.iinfo(np.int16).max, np.int16)
    np.minimum.at(earliest, inverse, split)
    kept = [raw[i] for i in first]
    return Block(
        index=index,
        ids=distinct,
        raw=kept,
        split=earliest,
        count=np.bincount(inverse, minlength=len(distinct)).astype(np.int64),
        probability=probability[first],
        columns=decode(kept),
    )


def is_in(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Bool [n]: which ids stand among `wanted` (rising)."""
    if not len(wanted):
        return np.zeros(len(ids), bool)
    at = np.minimum(np.searchsorted(wanted, ids), len(wanted) - 1)
    return wanted[at] == ids
