"""BucketStatistics: the weighted sums behind every statistic, per hash bucket."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfx_explain.engine.aggregates.edges import reached, row_by_row
from tfx_explain.names import NUM_BUCKETS

_POSITIVE_EDGES = np.array([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0])
HISTOGRAM_EDGES = np.concatenate([-_POSITIVE_EDGES[::-1], [0.0], _POSITIVE_EDGES])
"""Inner edges of attribution histograms, in units of the pinned total mean |attribution|; 20 bins."""
HISTOGRAM_SIZE = len(HISTOGRAM_EDGES) + 1

SCORE_SIZE = 1000
SCORE_LIMIT = 10.0
"""Score histograms: 1,000 bins spaced evenly in logits on [-10, 10], the outer ones open."""

_PIECE = 256  # rows of a bucket that are summed one after the other, before the sum is added to the bucket's
_AT_ONCE = 128  # rows, at least, whose intermediate results stay in the processor's cache

# Per model: one value a bucket.
SCALARS = (
    "rows",  # distinct rows
    "weight",
    "weight_squared",
    "failed_rows",
    "failed_weight",
    "unconverged_weight",
    "sum_prediction",
    "sum_prediction_squared",
    "labelled_weight",
    "sum_label",
    "sum_log_loss",
    "sum_squared_error",
    "sum_correct",
)
# Per feature: [buckets, features].
SUMS = ("sum_absolute", "sum", "sum_squared", "sum_positive", "sum_row_share")
# Per value bin, all features end to end: [buckets, bins].
BIN_SUMS = ("bin_rows", "bin_weight", "bin_sum", "bin_sum_label")
# Score histograms by label: [buckets, SCORE_SIZE].
SCORES = ("scores_negative", "scores_positive")


@dataclasses.dataclass(frozen=True)
class BucketStatistics:
    """Sums of one slice and target over 64 hash buckets; all arrays float64.

    They are sums: two sets of rows are merged by adding. Merging is done in a fixed order (block by block), so that
    the bytes do not depend on who did the work.

    Attributes:
      features: names of the attributed features, F of them.
      bin_sizes: number of value bins of each feature.
      scalars: [buckets] by name of SCALARS.
      sums: [buckets, F] by name of SUMS; `sum_positive` adds the weight of rows with a > 0, `sum_row_share` adds |a|
        as a share of its row's |a|.
      histogram: [buckets, F, HISTOGRAM_SIZE] weights by attribution.
      bin_sums: [buckets, sum(bin_sizes)] by name of BIN_SUMS.
      scores: [buckets, SCORE_SIZE] by name of SCORES; zeros without a binary label.
    """

    features: tuple[str, ...]
    bin_sizes: tuple[int, ...]
    scalars: dict[str, np.ndarray]
    sums: dict[str, np.ndarray]
    histogram: np.ndarray
    bin_sums: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]

    @classmethod
    def empty(cls, features: tuple[str, ...], bin_sizes: tuple[int, ...]) -> BucketStatistics:
        """All sums zero."""
        return cls(
            features,
            bin_sizes,
            {name: np.zeros(NUM_BUCKETS) for name in SCALARS},
            {name: np.zeros((NUM_BUCKETS, len(features))) for name in SUMS},
            np.zeros((NUM_BUCKETS, len(features), HISTOGRAM_SIZE)),
            {name: np.zeros((NUM_BUCKETS, int(sum(bin_sizes)))) for name in BIN_SUMS},
            {name: np.zeros((NUM_BUCKETS, SCORE_SIZE)) for name in SCORES},
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without the buckets that hold nothing: a shard of a large slice fills few of them."""
        filled = np.any([values.reshape(len(values), -1).any(axis=1) for values in self._arrays()], axis=0)
        return _filled_again, (self._map(lambda values: values[filled])._fields(), np.flatnonzero(filled), len(filled))

    def _fields(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in dataclasses.fields(self))

    def __add__(self, other: BucketStatistics) -> BucketStatistics:
        if (self.features, self.bin_sizes) != (other.features, other.bin_sizes):
            raise ValueError(
                f"statistics of other features or bins cannot be added. Received: {self.features} and {other.features}"
            )
        return BucketStatistics(
            self.features,
            self.bin_sizes,
            {k: v + other.scalars[k] for k, v in self.scalars.items()},
            {k: v + other.sums[k] for k, v in self.sums.items()},
            self.histogram + other.histogram,
            {k: v + other.bin_sums[k] for k, v in self.bin_sums.items()},
            {k: v + other.scores[k] for k, v in self.scores.items()},
        )

    def bucket(self, index: int) -> BucketStatistics:
        """The sums of one bucket alone: every array keeps its axes, the first of length 1."""
        return self._map(lambda values: values[index : index + 1])

    @classmethod
    def join(cls, parts: Mapping[int, BucketStatistics]) -> BucketStatistics:
        """All buckets from single ones by index; a bucket without rows may be absent. At least one is needed."""
        first = next(iter(parts.values()))
        out = cls.empty(first.features, first.bin_sizes)
        for index, part in parts.items():
            for mine, theirs in zip(out._arrays(), part._arrays(), strict=True):
                mine[index] = theirs[0]
        return out

    def _arrays(self) -> list[np.ndarray]:
        groups = (self.scalars, self.sums, {"": self.histogram}, self.bin_sums, self.scores)
        return [values for group in groups for values in group.values()]

    def _map(self, function: Callable[[np.ndarray], np.ndarray]) -> BucketStatistics:
        return BucketStatistics(
            self.features,
            self.bin_sizes,
            {k: function(v) for k, v in self.scalars.items()},
            {k: function(v) for k, v in self.sums.items()},
            function(self.histogram),
            {k: function(v) for k, v in self.bin_sums.items()},
            {k: function(v) for k, v in self.scores.items()},
        )

    @property
    def total_weight(self) -> float:
        """Weight of the rows that were explained."""
        return float(self.scalars["weight"].sum())

    @property
    def filled_buckets(self) -> int:
        """Number of buckets with weight: the independent units that intervals are drawn from."""
        return int(np.count_nonzero(self.scalars["weight"]))

    @property
    def effective_rows(self) -> float:
        """Kish's effective sample size: (sum w)^2 / sum w^2."""
        squared = float(self.scalars["weight_squared"].sum())
        return self.total_weight**2 / squared if squared else 0.0

    @property
    def failed_weight_fraction(self) -> float:
        """Weight of failed rows as a share of all weight; 0 when there are no rows at all."""
        failed = float(self.scalars["failed_weight"].sum())
        return failed / (failed + self.total_weight) if failed else 0.0


def _filled_again(fields: tuple[Any, ...], filled: np.ndarray, buckets: int) -> BucketStatistics:
    """The inverse of pickling: sums of so many buckets, zeros but for the filled ones."""

    def spread(values: np.ndarray) -> np.ndarray:
        out = np.zeros((buckets, *values.shape[1:]), values.dtype)
        out[filled] = values
        return out

    return BucketStatistics(*fields)._map(spread)


@dataclasses.dataclass(frozen=True)
class Rows:
    """Explained rows of one block; failed rows are left out and counted in `failed_*`.

    Attributes:
      bucket: int [n].
      weight: float64 [n].
      attributions: float32 [n, F].
      converged: bool [n].
      prediction: float64 [n], in the explained unit.
      bin_index: int [n, F], of any size, each within its feature.
      failed_bucket, failed_weight: [m], of rows that could not be explained.
      label: float64 [n] or None; NaN where a row has none.
      score: float64 [n] logit of the positive class (binary), or the prediction (regression); None without a label.
      log_loss, squared_error, correct: float64 [n] or None where the task has no such thing.
      binary: labels are 0 or 1, so that score histograms make sense.
      histogram_bin: uint8 [n, F] of `histogram_bins`; None where it is yet to be found.
      sketch_bin: int16 [n, F] of `sketch_bins`; None where it is yet to be found.
      magnitude: float64 [n] of `magnitudes`; None where it is yet to be found.
    """

    bucket: np.ndarray
    weight: np.ndarray
    attributions: np.ndarray
    converged: np.ndarray
    prediction: np.ndarray
    bin_index: np.ndarray
    failed_bucket: np.ndarray
    failed_weight: np.ndarray
    label: np.ndarray | None = None
    score: np.ndarray | None = None
    log_loss: np.ndarray | None = None
    squared_error: np.ndarray | None = None
    correct: np.ndarray | None = None
    binary: bool = False
    histogram_bin: np.ndarray | None = None
    sketch_bin: np.ndarray | None = None
    magnitude: np.ndarray | None = None


def accumulate(
    features: tuple[str, ...], bin_sizes: tuple[int, ...], rows: Rows, histogram_unit: float
) -> BucketStatistics:
    """Sums rows bucket by bucket, in their order: the bits depend neither on threads nor on the other buckets' rows.

    Args:
      features: F names.
      bin_sizes: bins of each feature.
      rows: the block.
      histogram_unit: pinned total mean |attribution|, > 0.
    """
    out = BucketStatistics.empty(features, bin_sizes)
    out.scalars["failed_rows"][:] = _by_bucket(rows.failed_bucket, np.ones(len(rows.failed_bucket)))
    out.scalars["failed_weight"][:] = _by_bucket(rows.failed_bucket, rows.failed_weight)
    if not len(rows.bucket):
        return out
    bucket, weight = rows.bucket, rows.weight
    scalars: dict[str, np.ndarray] = {
        "rows": np.ones(len(bucket)),
        "weight": weight,
        "weight_squared": weight**2,
        "unconverged_weight": weight * ~rows.converged,
        "sum_prediction": weight * rows.prediction,
        "sum_prediction_squared": weight * rows.prediction**2,
    }
    labelled = np.zeros(len(bucket), bool) if rows.label is None else np.isfinite(rows.label)
    label_weight = weight * labelled
    label = np.zeros(len(bucket)) if rows.label is None else np.where(labelled, rows.label, 0.0)
    if rows.label is not None:
        scalars["labelled_weight"] = label_weight
        scalars["sum_label"] = label_weight * label
        for name, values in (
            ("sum_log_loss", rows.log_loss),
            ("sum_squared_error", rows.squared_error),
            ("sum_correct", rows.correct),
        ):
            if values is not None:
                scalars[name] = label_weight * np.where(labelled, values, 0.0)
    for name, values in scalars.items():
        out.scalars[name][:] = _by_bucket(bucket, values)
    order = np.argsort(bucket, kind="stable")
    first = np.searchsorted(bucket[order], np.arange(NUM_BUCKETS + 1))
    summed = _FeatureSums(out, rows, label_weight * label, histogram_unit)
    for pieces in _together(first):
        summed.add(order, pieces)
    if rows.binary and rows.score is not None:
        place = score_bins(rows.score)
        for name, wanted in (("scores_negative", label == 0), ("scores_positive", label == 1)):
            chosen = label_weight * wanted
            out.scores[name] = np.bincount(
                bucket * SCORE_SIZE + place, weights=chosen, minlength=NUM_BUCKETS * SCORE_SIZE
            ).reshape(NUM_BUCKETS, SCORE_SIZE)
    return out


_Piece = tuple[int, int, int]
"""(bucket, first, last + 1) of some rows of one bucket, in the order by bucket."""


def _together(first: np.ndarray) -> Iterator[list[_Piece]]:
    """All rows in pieces of one bucket each, so many pieces at a time as are worked on together.

    Where a bucket is cut depends on its own rows alone, so its sums have the same bits whatever stands beside it.

    Args:
      first: where each bucket's rows begin, int [buckets + 1].
    """
    pieces: list[_Piece] = []
    for bucket in range(len(first) - 1):
        for start in range(first[bucket], first[bucket + 1], _PIECE):
            pieces.append((bucket, start, min(start + _PIECE, int(first[bucket + 1]))))
            if pieces[-1][2] - pieces[0][1] >= _AT_ONCE:
                yield pieces
                pieces = []
    if pieces:
        yield pieces


class _FeatureSums:
    """Adds rows to the sums by feature; what it works with is taken from memory once."""

    def __init__(self, out: BucketStatistics, rows: Rows, label: np.ndarray, histogram_unit: float):
        """Adds to `out` some of `rows`; `label` is weight times label, [n]."""
        self._out, self._rows, self._label, self._unit = out, rows, label, histogram_unit
        self._count, self._size = len(out.features), int(sum(out.bin_sizes))
        self._bins = np.concatenate([[0], np.cumsum(out.bin_sizes)])[:-1].astype(np.int64)
        self._histograms = np.arange(self._count) * HISTOGRAM_SIZE
        self._ones = bool((rows.weight == 1).all())
        if self._ones:
            out.bin_sums["bin_weight"] = out.bin_sums["bin_rows"]
        at_once = min(len(rows.bucket), _AT_ONCE + _PIECE)
        self._numbers = [np.empty((at_once, self._count)) for _ in range(4)]
        self._places = [np.empty((at_once, self._count), np.int64) for _ in range(2)]

    def add(self, order: np.ndarray, pieces: Sequence[_Piece]) -> None:
        """Adds pieces that stand one behind the other in `order`, int [n]."""
        rows, begin = self._rows, pieces[0][1]
        own = order[begin : pieces[-1][2]]  # [m]
        a, weighted, absolute, product = (array[: len(own)] for array in self._numbers)  # [m, F]
        places, columns = (array[: len(own)] for array in self._places)
        starts = [start - begin for _, start, _ in pieces]
        weight = rows.weight[own]
        a[:] = rows.attributions[own]
        magnitude = magnitudes(a) if rows.magnitude is None else rows.magnitude[own]
        if self._ones:
            weighted = a
        else:
            np.multiply(weight[:, None], a, out=weighted)
        np.abs(weighted, out=absolute)
        sums = {"sum": _by_piece(weighted, starts), "sum_absolute": _by_piece(absolute, starts)}
        sums["sum_squared"] = _by_piece(np.multiply(weighted, a, out=product), starts)
        # The sum of a row without attributions is no divisor: its shares are 0.
        part = np.divide(1.0, magnitude, out=np.zeros(len(own)), where=magnitude > 0)
        sums["sum_row_share"] = _by_piece(np.multiply(absolute, part[:, None], out=product), starts)
        np.multiply(a > 0, weight[:, None], out=product)
        sums["sum_positive"] = _by_piece(product, starts)
        np.add(self._bins, rows.bin_index[own], out=places)
        column = histogram_bins(a, self._unit) if rows.histogram_bin is None else rows.histogram_bin[own]
        np.add(self._histograms, column, out=columns)
        label = self._label[own]
        for number, (bucket, start, end) in enumerate(pieces):
            for name, values in sums.items():
                self._out.sums[name][bucket] += values[number]
            at = slice(start - begin, end - begin)
            self._add_bins(bucket, places[at], columns[at], weighted[at], weight[at], label[at])

    def _add_bins(
        self,
        bucket: int,
        places: np.ndarray,
        columns: np.ndarray,
        weighted: np.ndarray,
        weight: np.ndarray,
        label: np.ndarray,
    ) -> None:
        """Adds one piece's rows to value bins and histograms.

        Args:
          bucket: of all rows.
          places: value bin of each attribution, all features end to end: int64 [m, F].
          columns: histogram bin of each attribution, the same way.
          weighted: weight times attribution, [m, F].
          weight: [m].
          label: weight times label, [m].
        """
        bins, count, size = self._out.bin_sums, self._count, self._size
        spread = None if self._ones else np.repeat(weight, count)
        bins["bin_rows"][bucket] += np.bincount(places.ravel(), minlength=size)
        if not self._ones:  # else they are equal, and one array
            bins["bin_weight"][bucket] += np.bincount(places.ravel(), weights=spread, minlength=size)
        bins["bin_sum"][bucket] += np.bincount(places.ravel(), weights=weighted.ravel(), minlength=size)
        counted = np.flatnonzero(label)
        bins["bin_sum_label"][bucket] += np.bincount(
            places[counted].ravel(), weights=np.repeat(label[counted], count), minlength=size
        )
        self._out.histogram[bucket] += np.bincount(
            columns.ravel(), weights=spread, minlength=count * HISTOGRAM_SIZE
        ).reshape(count, HISTOGRAM_SIZE)


def _by_piece(values: np.ndarray, starts: Sequence[int]) -> np.ndarray:
    """Sums of the rows from each start to the next, row after row: [pieces, F] of [m, F]."""
    return np.add.reduceat(values, starts, axis=0)


def magnitudes(attributions: np.ndarray) -> np.ndarray:
    """Sum of |attribution| of each row: float64 [n]."""
    return row_by_row(lambda part: np.abs(part.astype(np.float64)).sum(axis=1), attributions, np.float64)


def histogram_bins(attributions: np.ndarray, unit: float) -> np.ndarray:
    """Bin of each attribution in the histograms: uint8 [n, F]."""
    edges = HISTOGRAM_EDGES * unit
    return row_by_row(lambda part: reached(edges, part).astype(np.uint8), attributions, np.uint8)


def score_bins(score: np.ndarray) -> np.ndarray:
    """Bin of each logit in the score histograms: int64 [n]."""
    return np.clip((score + SCORE_LIMIT) * (SCORE_SIZE / (2 * SCORE_LIMIT)), 0, SCORE_SIZE - 1).astype(np.int64)


def score_histogram(score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weights by logit: float64 [SCORE_SIZE]."""
    return np.bincount(score_bins(score), weights=weight, minlength=SCORE_SIZE)


def _by_bucket(bucket: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of values [n] per bucket: float64 [NUM_BUCKETS]."""
    return np.bincount(bucket, weights=values, minlength=NUM_BUCKETS)
