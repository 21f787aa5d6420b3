"""Which slices are kept, and which of their rows are taken: a threshold on order keys for each slice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import apache_beam as beam
import numpy as np

from tfx_explain.config import RequiredSlice, Slices
from tfx_explain.explainer_gen.row_ids import KEY_DTYPE, ranks_of
from tfx_explain.explainer_gen.sampling import RowBatch
from tfx_explain.names import OVERALL, SliceKey, slice_name

ALL = int(np.iinfo(np.uint64).max)
"""Threshold that takes every row."""


@dataclasses.dataclass(frozen=True)
class SliceSketch:
    """What is known of a slice before anything is explained.

    Attributes:
      rows: rows read.
      keys: its smallest distinct order keys, rising: S24 [<= k].
    """

    rows: int
    keys: np.ndarray


class SketchSlice(beam.CombineFn):
    """Row counts and the k smallest keys: sums of integers and sets, so order and grouping do not matter."""

    def __init__(self, k: int):
        self._k = k

    def create_accumulator(self) -> SliceSketch:
        """No row."""
        return SliceSketch(0, np.zeros(0, KEY_DTYPE))

    def add_input(self, accumulator: SliceSketch, element: SliceSketch) -> SliceSketch:
        """Adds a batch's part of the slice."""
        return self.merge_accumulators([accumulator, element])

    def merge_accumulators(self, accumulators: Iterable[SliceSketch]) -> SliceSketch:
        """Joins partial results."""
        parts = list(accumulators)
        keys = np.unique(np.concatenate([p.keys for p in parts])) if parts else np.zeros(0, KEY_DTYPE)
        return SliceSketch(sum(p.rows for p in parts), keys[: self._k])

    def extract_output(self, accumulator: SliceSketch) -> SliceSketch:
        """The sketch."""
        return accumulator


def sketch_slices(batch: RowBatch, k: int) -> Iterable[tuple[SliceKey, SliceSketch]]:
    """(slice, its part of a batch), for every slice but the overall one."""
    members = batch.members
    if members is None:
        return
    order = np.argsort(members.slice, kind="stable")
    ends = np.searchsorted(members.slice[order], np.arange(len(members.keys) + 1))
    for index, key in enumerate(members.keys):
        rows = members.row[order[ends[index] : ends[index + 1]]]
        if key and len(rows):
            yield key, SliceSketch(len(rows), np.unique(batch.keys[rows])[:k])


def is_required(key: SliceKey, required: Iterable[RequiredSlice]) -> bool:
    """Whether a slice is one of those that checks name."""
    return any(r.matches(key) for r in required)


def columns_of(key: SliceKey) -> tuple[str, ...]:
    """The features that a slice is made of."""
    return tuple(column for column, _ in key)


@dataclasses.dataclass(frozen=True)
class SlicePlan:
    """The kept slices, and thresholds below which a row's rank takes it into the sample.

    A row is taken when its rank (the first 64 bits of its order key) lies below the threshold of the overall sample or
    of any stratified slice that it belongs to; so its inclusion probability is the largest of these thresholds as a
    part of 2^64. The threshold of k rows is the rank of row k + 1, which makes the inverse-probability weights
    unbiased.

    Attributes:
      overall: threshold of the overall sample.
      rows: rows read, by kept slice; in the order in which slices are numbered.
      thresholds: by stratified slice.
      small: by features, (number of small slices, their rows): what the remainder holds.
      rows_per_slice: rows that each kept slice gets at least, where it has them; required slices may get more.
      missing: required slices without a row.

    References:
      Duffield, Lund and Thorup 2007 (priority sampling); Cohen 2015 (one sample for several objectives).
    """

    overall: int
    rows: Mapping[SliceKey, int]
    thresholds: Mapping[SliceKey, int]
    small: Mapping[tuple[str, ...], tuple[int, int]]
    rows_per_slice: int
    required: tuple[SliceKey, ...]
    missing: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the overall slice, the kept slices and the remainders: what statistics are made for."""
        return (OVERALL, *map(slice_name, self.rows), *(self.remainder(columns) for columns in self.small))

    @property
    def keys(self) -> tuple[SliceKey | None, ...]:
        """Key of each of `names`; None for a remainder."""
        return ((), *self.rows, *(None for _ in self.small))

    def remainder(self, columns: tuple[str, ...]) -> str:
        """Name of the slices of these features that are too small to stand alone."""
        return f"remainder of {', '.join(columns)} ({self.small[columns][0]} small slices)"

    def places(self, keys: Sequence[SliceKey]) -> np.ndarray:
        """Number of each key among `names`: int64 [keys]."""
        kept = {key: 1 + i for i, key in enumerate(self.rows)}
        small = {columns: 1 + len(self.rows) + i for i, columns in enumerate(self.small)}
        return np.array([0 if not k else kept[k] if k in kept else small[columns_of(k)] for k in keys], np.int64)

    def threshold(self, batch: RowBatch) -> np.ndarray:
        """Each row's threshold, the largest of its slices': uint64 [rows]."""
        out = np.full(len(batch.keys), self.overall, np.uint64)
        if batch.members is not None and self.thresholds:
            by_key = np.array([self.thresholds.get(k, 0) for k in batch.members.keys], np.uint64)
            np.maximum.at(out, batch.members.row, by_key[batch.members.slice])
        return out

    def taken(self, batch: RowBatch) -> tuple[np.ndarray, np.ndarray]:
        """(index [n] of the rows that are in the sample, their inclusion probability float64 [n])."""
        threshold = self.threshold(batch)
        chosen = np.nonzero((ranks_of(batch.keys) < threshold) | (threshold == np.uint64(ALL)))[0]
        bound = threshold[chosen]
        return chosen, np.where(bound == np.uint64(ALL), 1.0, bound.astype(np.float64) / 2.0**64)


def plan_slices(
    _: object,
    keys: np.ndarray,
    kept: Iterable[tuple[SliceKey, SliceSketch]],
    counts: Iterable[tuple[tuple[str, ...], tuple[int, int]]],
    max_examples: int,
    slices: Slices,
    required: Sequence[RequiredSlice],
) -> SlicePlan:
    """Decides thresholds.

    Args:
      keys: the max_examples + 1 smallest keys of all rows, S24, rising.
      kept: the largest slices, and the required ones.
      counts: by features, (number of all slices, their rows).
      max_examples: rows of the overall sample.
      slices: settings.
      required: slices that get `min_rows_per_slice` whatever it costs.
    """
    overall = _threshold(keys, max_examples)
    ordered = sorted(kept, key=lambda item: (-item[1].rows, slice_name(item[0])))
    wanted = [key for key, _ in ordered if is_required(key, required)]
    fraction = 1.0 if overall == ALL else overall / 2.0**64
    others = [sketch.rows for key, sketch in ordered if key not in wanted]
    per_slice = _affordable(np.array(others, np.float64), fraction, slices.min_rows_per_slice, max_examples)
    thresholds = {}
    for key, sketch in ordered:
        threshold = _threshold(sketch.keys, slices.min_rows_per_slice if key in wanted else per_slice)
        if threshold > overall:
            thresholds[key] = threshold
    small = {}
    for columns, (number, rows) in sorted(counts):
        own = [sketch.rows for key, sketch in ordered if columns_of(key) == columns]
        if number > len(own):
            small[columns] = (number - len(own), rows - sum(own))
    return SlicePlan(
        overall=overall,
        rows={key: sketch.rows for key, sketch in ordered},
        thresholds=thresholds,
        small=small,
        rows_per_slice=per_slice,
        required=tuple(wanted),
        missing=tuple(r.name for r in required if not any(r.matches(key) for key in wanted)),
    )


def _threshold(keys: np.ndarray, k: int) -> int:
    """Rank of the row after the k smallest; ALL where there is none."""
    return int(ranks_of(keys[k : k + 1])[0]) if len(keys) > k else ALL


def _affordable(rows: np.ndarray, fraction: float, most: int, budget: int) -> int:
    """The largest k <= most for which bringing every slice to k rows adds at most `budget` expected rows."""
    low, high = 0, most
    while low < high:
        k = (low + high + 1) // 2
        extra = np.maximum(np.minimum(rows, k) - fraction * rows, 0).sum()
        low, high = (k, high) if extra <= budget else (low, k - 1)
    return low
