"""PermutationStatistics: the sums behind permutation importance, and the importances with intervals.

A pair of rows, a receiver i and the donor d of its feature, weighs w_i w_d. Every statistic is a function of pair sums
that a common factor of the weights leaves as it is, so that it is linearised by its gradient g over these sums: the
pair p adds psi_p = g . (sums of p). Rows take part in pairs as receivers and as donors, so that the variance is

    sum over buckets b of (sum of psi_p with the receiver in b + sum of psi_p with the donor in b)^2 - sum of psi_p^2

Buckets of receivers alone would leave the donors' part out; the last term counts a pair once that shares both of its
rows with itself. Intervals draw the buckets of the first sum and are narrowed by the second.

References:
  Hajek 1968, Asymptotic Normality of Simple Linear Rank Statistics under Alternatives (projections).
  Aronow, Samii and Assenova 2015, Cluster-Robust Variance Estimation for Dyadic Data (both sums).
  Satterthwaite 1946, An Approximate Distribution of Estimates of Variance Components (degrees of freedom).
  Fisher, Rudin and Dominici 2019, All Models are Wrong, but Many are Useful (importance as a U-statistic).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from tfx_explain.engine.aggregates.buckets import SCORE_LIMIT, SCORE_SIZE
from tfx_explain.engine.aggregates.edges import reached
from tfx_explain.engine.aggregates.intervals import Measured, drawn, measure_columns
from tfx_explain.engine.aggregates.losses import agreement, binary_losses, class_losses, fitting_label, logits
from tfx_explain.names import NUM_BUCKETS

LOSSES = {
    "binary": ("binary_accuracy", "binary_crossentropy"),
    "multiclass": ("sparse_categorical_accuracy", "sparse_categorical_crossentropy"),
    "agreement": ("accuracy",),
    "regression": ("mean_squared_error",),
}
"""Metrics that are a mean over rows, by task; binary tasks also have `auc`."""

MAX_EDGES = 64
MIN_EDGES = 16
MIN_COARSE_EDGES = 8

_HIGHER_IS_BETTER = ("accuracy", "auc", "binary_accuracy", "sparse_categorical_accuracy")
_CHUNK = 2048  # rows that are summed at a time
_PAIRS_AT_ONCE, _FEATURES_AT_ONCE = 20_480, 16  # so few that no array is taken from memory anew
_BUDGET = 7e6  # bytes of the score histograms of one slice
_LEAST_VARIANCE = 0.25  # part of the drawn variance that the repeated pairs cannot take away


@dataclasses.dataclass(frozen=True, eq=False)
class PermutedRows:
    """Rows of one block or slice with the model's answers when features are permuted: n rows, F features, R repeats.

    Attributes:
      task: `binary`, `multiclass`, `agreement` or `regression`.
      bucket: uint8 [n].
      weight: float64 [n].
      label: float64 [n], NaN where a row has none: such a row receives nothing.
      base: float32 [n, V]. V is 2 for a multiclass task (log loss and whether the class is right), else 1: the logit of
        a binary task, an agreement's class number, a regression's prediction.
      permuted: float32 [n, F, R, V], the same with the feature taken from the donor.
      donor_bucket: uint8 [n, F, R].
      donor_weight: float32 [n, F, R]; None when all rows that are explained weigh the same.
    """

    task: str
    bucket: np.ndarray
    weight: np.ndarray
    label: np.ndarray
    base: np.ndarray
    permuted: np.ndarray
    donor_bucket: np.ndarray
    donor_weight: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        task: str,
        unit: str,
        label: np.ndarray,
        base_scores: np.ndarray,
        permuted_scores: np.ndarray,
        bucket: np.ndarray,
        weight: np.ndarray,
        donor_bucket: np.ndarray,
        donor_weight: np.ndarray | None = None,
    ) -> PermutedRows:
        """Rows from the model's predictions; a label that does not fit the task becomes NaN.

        Args:
          task: `binary`, `multiclass`, `agreement` or `regression`.
          unit: of the scores: `logit`, `probability` or `output`.
          label: [n], NaN where there is none.
          base_scores: [n, targets].
          permuted_scores: [n, F, R, targets].
          bucket: [n].
          weight: [n].
          donor_bucket: [n, F, R].
          donor_weight: [n, F, R] or None when all rows that are explained weigh the same.

        Raises:
          ValueError: if the task is not known or shapes do not fit.
        """
        if task not in LOSSES:
            raise ValueError(f"task must be one of {sorted(LOSSES)}. Received: task={task!r}")
        rows, shape = len(label), permuted_scores.shape
        weight_shape = shape[:3] if donor_weight is None else donor_weight.shape
        if (
            len(shape) != 4
            or base_scores.shape != (rows, shape[3])
            or not shape[0] == rows == len(bucket) == len(weight)
            or not donor_bucket.shape == weight_shape == shape[:3]
        ):
            raise ValueError(
                "permuted_scores must be [n, F, R, targets] and donors [n, F, R] for labels [n] and base_scores "
                f"[n, targets]. Received: {shape}, {donor_bucket.shape} and {weight_shape} for {rows} labels and "
                f"{base_scores.shape}"
            )
        label = fitting_label(task, np.asarray(label, np.float64), shape[3])
        base = _row_values(task, unit, label, base_scores)
        permuted = np.empty((*shape[:3], base.shape[1]), np.float32)
        if task == "multiclass":
            for f in range(shape[1]):
                for r in range(shape[2]):
                    permuted[:, f, r] = _row_values(task, unit, label, permuted_scores[:, f, r])
        else:
            flat = permuted_scores.reshape(-1, shape[3])  # nothing but the scores is needed
            permuted[:] = _row_values(task, unit, label, flat).reshape(permuted.shape)
        return cls(
            task,
            np.asarray(bucket, np.uint8),
            np.asarray(weight, np.float64),
            label,
            base,
            permuted,
            np.asarray(donor_bucket, np.uint8),
            None if donor_weight is None else np.asarray(donor_weight, np.float32),
        )

    def __len__(self) -> int:
        return len(self.label)

    def take(self, index: np.ndarray | slice) -> PermutedRows:
        """Some of the rows, by index, mask or slice."""
        return PermutedRows(
            self.task,
            self.bucket[index],
            self.weight[index],
            self.label[index],
            self.base[index],
            self.permuted[index],
            self.donor_bucket[index],
            None if self.donor_weight is None else self.donor_weight[index],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[PermutedRows]) -> PermutedRows:
        """The rows of all parts, in their order; at least one part.

        Raises:
          ValueError: if there is no part, or the parts differ in task or in whether donors have weights.
        """
        kinds = sorted({(part.task, part.donor_weight is not None) for part in parts})
        if len(kinds) != 1:
            raise ValueError(
                f"parts must be one or more, of one task, all with donor_weight or all without. Received: {kinds}"
            )
        weights = [part.donor_weight for part in parts if part.donor_weight is not None]
        return cls(
            parts[0].task,
            np.concatenate([part.bucket for part in parts]),
            np.concatenate([part.weight for part in parts]),
            np.concatenate([part.label for part in parts]),
            np.concatenate([part.base for part in parts]),
            np.concatenate([part.permuted for part in parts]),
            np.concatenate([part.donor_bucket for part in parts]),
            np.concatenate(weights) if weights else None,
        )


def edges_size(features: int, repeats: int) -> int:
    """Number of score edges that keeps the statistics of one slice under 8 MB: 64 up to 100 features, never under 16.

    Beyond some 300 features the least number takes more than that.
    """
    for size in range(MAX_EDGES, MIN_EDGES, -1):
        coarse = len(_coarse(size))
        if 32 * features * (repeats * size + NUM_BUCKETS * coarse + 2 * coarse**2) <= _BUDGET:
            return size
    return MIN_EDGES


def score_edges(histogram: np.ndarray, size: int = MAX_EDGES) -> np.ndarray:
    """Logits that score histograms are made at: float64 [<= size], increasing.

    A quarter of them are even on [-10, 10], the others quantiles of the base scores, closer to each other in the tails,
    where the rare class lies. With 64 edges an AUC is right to 5e-4; half as many err four times as much. Scores beyond
    the outer edges count as tied.

    Args:
      histogram: [SCORE_SIZE] weights of the base scores, all labels together (see `buckets.score_bins`).
      size: most edges, of `edges_size`.

    Raises:
      ValueError: if the histogram has another size, or size < 16.
    """
    if histogram.shape != (SCORE_SIZE,) or size < MIN_EDGES:
        raise ValueError(
            f"score_edges needs a histogram of {SCORE_SIZE} bins and size >= {MIN_EDGES}. "
            f"Received: {histogram.shape} and size={size}"
        )
    even = np.linspace(-SCORE_LIMIT, SCORE_LIMIT, size // 4)
    total = histogram.sum()
    if not total > 0:
        return even
    levels = 0.5 - 0.5 * np.cos(np.pi * (np.arange(size - len(even)) + 0.5) / (size - len(even)))
    ends = np.linspace(-SCORE_LIMIT, SCORE_LIMIT, SCORE_SIZE + 1)
    reached = np.concatenate([[0.0], np.cumsum(histogram)]) / total
    bins = np.clip(np.searchsorted(reached, levels, side="left"), 1, SCORE_SIZE)
    inside = np.clip((levels - reached[bins - 1]) / (reached[bins] - reached[bins - 1]), 0.0, 1.0)
    quantiles = ends[bins - 1] + inside * (ends[bins] - ends[bins - 1])
    # Edges that all but coincide would divide by their rounding.
    return np.unique(np.concatenate([even, quantiles]).round(6))


@dataclasses.dataclass(frozen=True, eq=False)
class PermutationStatistics:
    """Sums of one slice over pairs of rows; all float64. Two sets of rows are merged by adding, in a fixed order.

    Sums over pairs, C of them, are the weight and then, of each metric of LOSSES, the weighted base value and the
    weighted permuted value. Score histograms have the axes label (0, 1), side (permuted, base) and edge; a score
    between two edges is shared among both in proportion, so that small moves of scores make small changes. Values come
    from all K edges and intervals from some of them, k.

    Attributes:
      task: `binary`, `multiclass`, `agreement` or `regression`.
      features: names of the permuted features and groups, F of them.
      score_edges: float64 [K]; empty unless the task is binary.
      rows: [buckets] labelled rows.
      weight: [buckets] of labelled rows.
      failed_pairs: [F] pairs without a finite score, which are left out.
      loss_totals: [F, R, C].
      loss_buckets: [buckets, F, C], by the receiver's bucket plus by the donor's.
      loss_pairs: [F, C, C], sums over pairs of the products of their parts.
      score_totals: [F, R, 2, 2, K].
      score_buckets: [buckets, F, 2, 2, k], by the receiver's bucket plus by the donor's.
      score_pairs: [F, 2, 2k, 2k], of the first repeat alone: products of a pair's shares by side and edge.
    """

    task: str
    features: tuple[str, ...]
    score_edges: np.ndarray
    rows: np.ndarray
    weight: np.ndarray
    failed_pairs: np.ndarray
    loss_totals: np.ndarray
    loss_buckets: np.ndarray
    loss_pairs: np.ndarray
    score_totals: np.ndarray
    score_buckets: np.ndarray
    score_pairs: np.ndarray

    @classmethod
    def empty(
        cls, task: str, features: Sequence[str], repeats: int, score_edges: np.ndarray | None = None
    ) -> PermutationStatistics:
        """All sums zero.

        Args:
          task: `binary`, `multiclass`, `agreement` or `regression`.
          features: F names.
          repeats: R, >= 1.
          score_edges: [K] of `score_edges`; for a binary task alone.

        Raises:
          ValueError: if the task is not known, repeats < 1, or a binary task has no increasing edges.
        """
        if task not in LOSSES or repeats < 1:
            raise ValueError(
                f"task must be one of {sorted(LOSSES)} and repeats >= 1. Received: task={task!r}, repeats={repeats}"
            )
        edges = np.zeros(0)
        if task == "binary":
            if score_edges is None or len(score_edges) < 2 or not (np.diff(score_edges) > 0).all():
                raise ValueError(f"a binary task needs two or more increasing score_edges. Received: {score_edges}")
            edges = np.asarray(score_edges, np.float64)
        count, sums = len(features), 1 + 2 * len(LOSSES[task])
        coarse = len(_coarse(len(edges)))
        return cls(
            task,
            tuple(features),
            edges,
            np.zeros(NUM_BUCKETS),
            np.zeros(NUM_BUCKETS),
            np.zeros(count),
            np.zeros((count, repeats, sums)),
            np.zeros((NUM_BUCKETS, count, sums)),
            np.zeros((count, sums, sums)),
            np.zeros((count, repeats, 2, 2, len(edges))),
            np.zeros((NUM_BUCKETS, count, 2, 2, coarse)),
            np.zeros((count, 2, 2 * coarse, 2 * coarse)),
        )

    @property
    def repeats(self) -> int:
        """Number of repeats, R."""
        return self.loss_totals.shape[1]

    @property
    def filled_buckets(self) -> int:
        """Number of buckets with labelled weight."""
        return int(np.count_nonzero(self.weight))

    @property
    def nbytes(self) -> int:
        """Bytes of all sums."""
        return sum(values.nbytes for values in self.arrays().values())

    def arrays(self) -> dict[str, np.ndarray]:
        """The sums by name; those of two sets of rows can be added one by one."""
        names = ("rows", "weight", "failed_pairs", "loss_totals", "loss_buckets", "loss_pairs")
        return {name: getattr(self, name) for name in (*names, "score_totals", "score_buckets", "score_pairs")}

    def __add__(self, other: PermutationStatistics) -> PermutationStatistics:
        mine, theirs = ((s.task, s.features, s.repeats, s.score_edges.tolist()) for s in (self, other))
        if mine != theirs:
            raise ValueError(
                "statistics of other tasks, features, repeats or score edges cannot be added. "
                f"Received: {mine[:3]} and {theirs[:3]}"
            )
        others = other.arrays()
        return dataclasses.replace(self, **{name: values + others[name] for name, values in self.arrays().items()})


def accumulate(
    features: Sequence[str], rows: PermutedRows, score_edges: np.ndarray | None = None
) -> PermutationStatistics:
    """Sums rows, a bounded number at a time and without BLAS.

    Args:
      features: F names, in the order of the rows' axis.
      rows: of one slice.
      score_edges: [K], for a binary task; the same for all statistics that are to be added.

    Raises:
      ValueError: if the rows have another number of features.
    """
    if rows.permuted.shape[1] != len(features):
        raise ValueError(
            f"rows must have one column a feature. Received: {rows.permuted.shape[1]} for {len(features)} features"
        )
    out = PermutationStatistics.empty(rows.task, features, rows.permuted.shape[2], score_edges)
    for start in range(0, len(rows), _CHUNK):
        chunk = rows.take(slice(start, start + _CHUNK))
        labelled = np.isfinite(chunk.label)
        if not labelled.all():
            chunk = chunk.take(labelled)
        if not len(chunk):
            continue
        out.rows[:] += np.bincount(chunk.bucket, minlength=NUM_BUCKETS)
        out.weight[:] += np.bincount(chunk.bucket, weights=chunk.weight, minlength=NUM_BUCKETS)
        together = int(np.clip(_PAIRS_AT_ONCE // (len(chunk) * out.repeats), 1, _FEATURES_AT_ONCE))
        receivers = _Receivers.of(chunk, out.score_edges)
        for first in range(0, len(features), together):
            _add_features(out, slice(first, min(first + together, len(features))), chunk, receivers)
    return out


@dataclasses.dataclass(frozen=True)
class Importance:
    """How much a metric needs a feature.

    Attributes:
      drop: what the metric loses when the feature is permuted: permuted - base of a loss, base - permuted of `auc` and
        accuracies; positive when the model needs the feature.
      ratio: permuted / base: above 1 for a loss, below 1 for `auc` and accuracies when the model needs the feature.
      std: standard deviation of the drop over the repeats; no part of the sampling of rows is in it.
    """

    drop: Measured
    ratio: Measured
    std: float


def importances(statistics: PermutationStatistics, draws: np.ndarray) -> dict[str, dict[str, Importance]]:
    """Importances by feature and metric, names as TFMA has them.

    What the rows do not tell is NaN: no labelled rows, one label alone for `auc`, a ratio to a base of 0; the interval
    when fewer than two buckets hold rows.

    Args:
      statistics: sums of one slice.
      draws: [D, buckets] of `bucket_draws`.

    References:
      Breiman 2001, Random Forests, chapter 10; the standard deviation is scikit-learn's `importances_std`.
    """
    table: dict[str, tuple[np.ndarray, ...]] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        if statistics.task == "binary":
            table["auc"] = _score_importance(statistics, draws)
        for position, metric in enumerate(LOSSES[statistics.task]):
            table[metric] = _loss_importance(statistics, draws, position, metric)
    return {
        name: {
            metric: Importance(
                _known(Measured(*(float(column[f]) for column in columns[:3]))),
                _not_negative(Measured(*(float(column[f]) for column in columns[3:6]))),
                float(columns[6][f]),
            )
            for metric, columns in table.items()
        }
        for f, name in enumerate(statistics.features)
    }


def _known(drop: Measured) -> Measured:
    """Draws may hold both labels where the rows hold few of one: without a value there is no interval either."""
    return Measured(drop.value, np.nan, np.nan) if np.isnan(drop.value) else drop


def _not_negative(ratio: Measured) -> Measured:
    """A ratio of losses, or of shares, is never below 0, however wide its interval."""
    return Measured(ratio.value, ratio.low if np.isnan(ratio.low) else max(ratio.low, 0.0), ratio.high)


def _row_values(task: str, unit: str, label: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """float32 [n, V] of scores [n, targets]: what `PermutedRows` keeps of them."""
    scores = scores.astype(np.float64)
    if task == "multiclass":
        right, loss = class_losses(unit, scores, label)
        return np.stack([loss, right], axis=1).astype(np.float32)
    return (logits(unit, scores[:, :1]) if task == "binary" else scores[:, :1]).astype(np.float32)


def _losses(task: str, values: np.ndarray, label: np.ndarray) -> list[np.ndarray]:
    """The metrics of LOSSES by row, in their order, of values [..., V] and labels [...]."""
    if task == "binary":
        return list(binary_losses(values[..., 0], label))
    if task == "multiclass":
        return [values[..., 1], values[..., 0]]
    if task == "agreement":
        return [agreement(values[..., 0], label)]
    return [(values[..., 0] - label) ** 2]


@dataclasses.dataclass(frozen=True, eq=False)
class _Places:
    """Between which score edges scores lie, [...] each: those of the totals, and the coarse ones of the intervals.

    Attributes:
      fine, coarse: int64, the edge before a score, never the last one.
      part, coarse_part: float64, how much of the way to the edge after it: 0 or 1 beyond the outer edges.
    """

    fine: np.ndarray
    part: np.ndarray
    coarse: np.ndarray
    coarse_part: np.ndarray

    @classmethod
    def of(cls, edges: np.ndarray, score: np.ndarray) -> _Places:
        """The places of scores without NaN."""
        chosen = _coarse(len(edges))
        coarse_of = np.searchsorted(chosen, np.arange(len(edges)), side="right") - 1  # of each fine place
        fine = reached(edges, score)
        fine -= 1
        np.clip(fine, 0, len(edges) - 2, out=fine)
        coarse = coarse_of.take(fine)
        return cls(fine, _share(edges, fine, score), coarse, _share(edges[chosen], coarse, score))


@dataclasses.dataclass(frozen=True, eq=False)
class _Receivers:
    """What the n rows of a chunk have in all their pairs.

    Attributes:
      label: float64 [n], none of them NaN.
      bucket: int64 [n].
      finite: bool [n], whether the base score is.
      losses: of each metric of LOSSES, float64 [n].
      places: of the base scores [n]; for a binary task.
    """

    label: np.ndarray
    bucket: np.ndarray
    finite: np.ndarray
    losses: list[np.ndarray]
    places: _Places | None

    @classmethod
    def of(cls, rows: PermutedRows, edges: np.ndarray) -> _Receivers:
        finite = np.isfinite(rows.base).all(axis=1)
        base = np.where(finite[:, None], rows.base.astype(np.float64), 0.0)
        places = _Places.of(edges, base[:, 0]) if rows.task == "binary" else None
        losses = _losses(rows.task, base, rows.label)
        return cls(rows.label, rows.bucket.astype(np.int64), finite, losses, places)


def _add_features(out: PermutationStatistics, features: slice, rows: PermutedRows, receivers: _Receivers) -> None:
    """Adds the pairs of some features, G of them; all n rows are labelled. Pairs are laid out as [G, R, n]."""
    permuted = _pairs_of(rows.permuted, features).astype(np.float64)  # [G, R, n, V]
    donor_bucket = _pairs_of(rows.donor_bucket, features).astype(np.int64)
    # Equal weights are the donors' weights too: with and without donor_weight the sums are the same.
    donor_weight = rows.weight
    if rows.donor_weight is not None:
        donor_weight = _pairs_of(rows.donor_weight, features).astype(np.float64)
    weight = np.broadcast_to(rows.weight * donor_weight, permuted.shape[:3])
    finite = np.isfinite(permuted).all(axis=3) & receivers.finite
    if not finite.all():
        weight = weight * finite
        out.failed_pairs[features] += finite[0].size - np.count_nonzero(finite, axis=(1, 2))
        permuted = np.where(finite[..., None], permuted, 0.0)

    count = len(weight)
    parts = np.empty((out.loss_totals.shape[2], *weight.shape))  # [C, G, R, n]
    parts[0] = weight
    losses = zip(receivers.losses, _losses(out.task, permuted, receivers.label), strict=True)
    for position, (before, after) in enumerate(losses):
        np.multiply(weight, before, out=parts[1 + 2 * position])
        np.multiply(weight, after, out=parts[2 + 2 * position])
    out.loss_totals[features] += np.moveaxis(parts.sum(axis=3), 0, -1)
    number = np.arange(count) * NUM_BUCKETS
    own = (number[:, None] + receivers.bucket).ravel()  # [G * n]
    donors = (number[:, None, None] + donor_bucket).ravel()  # [G * R * n]
    size = count * NUM_BUCKETS
    for c, (part, by_row) in enumerate(zip(parts, parts.sum(axis=2), strict=True)):
        summed = np.bincount(own, weights=by_row.ravel(), minlength=size)
        summed += np.bincount(donors, weights=part.ravel(), minlength=size)
        out.loss_buckets[:, features, c] += summed.reshape(count, NUM_BUCKETS).T
    flat = parts.reshape(len(parts), count, -1)
    for c in range(len(parts)):  # products are alike both ways round
        products = np.einsum("gx,dgx->gd", flat[c], flat[c:], optimize=False)
        out.loss_pairs[features, c, c:] += products
        out.loss_pairs[features, c + 1 :, c] += products[:, 1:]
    if receivers.places is not None:
        label = receivers.label.astype(np.int64)
        owners = receivers.bucket, donor_bucket
        sides = _Places.of(out.score_edges, permuted[..., 0]), receivers.places
        _add_scores(out, features, label, owners, weight, sides)


def _pairs_of(values: np.ndarray, features: slice) -> np.ndarray:
    """Values [n, F, R, ...] of some features as [G, R, n, ...], laid out anew."""
    return np.ascontiguousarray(np.moveaxis(values[:, features], 0, 2))


def _add_scores(
    out: PermutationStatistics,
    features: slice,
    label: np.ndarray,
    owners: tuple[np.ndarray, np.ndarray],
    weight: np.ndarray,
    sides: tuple[_Places, _Places],
) -> None:
    """Adds the score histograms of some features: label [n], weight [G, R, n].

    Owners are the buckets of the receivers [n] and of the donors [G, R, n]; sides the places of the permuted scores
    [G, R, n] and of the base scores [n].
    """
    fine, size, count = len(out.score_edges), len(_coarse(len(out.score_edges))), len(weight)
    number = np.arange(count)[:, None, None]
    repeat = (number * out.repeats + np.arange(out.repeats)[:, None]) * 2 + label  # [G, R, n]
    receivers, donors = ((number * NUM_BUCKETS + owner) * 2 + label for owner in owners)  # [G, 1, n], [G, R, n]
    repeat *= fine
    receivers *= size
    donors *= size
    of_row = weight.sum(axis=1, keepdims=True)  # [G, 1, n]
    for side, places in enumerate(sides):
        totals = _deposit(repeat + places.fine, places.part, weight, 2 * count * out.repeats, fine)
        out.score_totals[features, :, :, side] += totals.reshape(count, out.repeats, 2, fine)
        summed = _deposit(donors + places.coarse, places.coarse_part, weight, 2 * count * NUM_BUCKETS, size)
        received = weight if side == 0 else of_row  # a row has one base score in all its pairs
        summed += _deposit(receivers + places.coarse, places.coarse_part, received, 2 * count * NUM_BUCKETS, size)
        summed = summed.reshape(count, NUM_BUCKETS, 2, size)
        out.score_buckets[:, features, :, side] += np.moveaxis(summed, 0, 1)
    _add_score_pairs(out, features, label, weight[:, 0], sides)


def _add_score_pairs(
    out: PermutationStatistics,
    features: slice,
    label: np.ndarray,
    weight: np.ndarray,
    sides: tuple[_Places, _Places],
) -> None:
    """Adds the products of the shares of the first repeat: label [n], weight [G, n].

    A pair takes part at two edges of each side, at 1 - p and p: the sums of all products are those of 1, p and p^2.
    """
    count, size = len(weight), len(_coarse(len(out.score_edges)))
    squared = weight**2
    (above, p), (across, q) = (
        tuple(v if v.ndim == 1 else v[:, 0] for v in (s.coarse, s.coarse_part)) for s in sides
    )  # places and shares, [G, n] of the permuted scores and [n] of the base scores
    owner = np.arange(count)[:, None] * 2 + label  # [G, n]

    def summed(index: np.ndarray, values: np.ndarray, *shape: int) -> np.ndarray:
        shape = count, 2, *shape
        return np.bincount(index.ravel(), weights=values.ravel(), minlength=int(np.prod(shape))).reshape(shape)

    with_p, with_q = squared * p, squared * q
    both = (owner * size + above) * size + across
    one, one_p, one_q, one_pq = (summed(both, v, size, size) for v in (squared, with_p, with_q, with_p * q))
    mixed = one - one_p - one_q + one_pq
    mixed[..., 1:, :] += (one_p - one_pq)[..., :-1, :]
    mixed[..., :, 1:] += (one_q - one_pq)[..., :, :-1]
    mixed[..., 1:, 1:] += one_pq[..., :-1, :-1]
    products = out.score_pairs[features]
    products[..., :size, size:] += mixed
    products[..., size:, :size] += np.swapaxes(mixed, -1, -2)

    for side, zeroth, linear, square in (
        (slice(None, size), one.sum(axis=-1), one_p.sum(axis=-1), summed(owner * size + above, with_p * p, size)),
        (slice(size, None), one.sum(axis=-2), one_q.sum(axis=-2), summed(owner * size + across, with_q * q, size)),
    ):
        block = products[..., side, side]
        same = zeroth - 2 * linear + square
        same[..., 1:] += square[..., :-1]
        _diagonal(block)[...] += same
        neighbours = (linear - square)[..., :-1]
        _diagonal(block[..., :-1, 1:])[...] += neighbours
        _diagonal(block[..., 1:, :-1])[...] += neighbours


def _diagonal(matrices: np.ndarray) -> np.ndarray:
    """The diagonals of matrices [..., k, k], to be written to: [..., k]."""
    return np.einsum("...ii->...i", matrices)


@functools.lru_cache(maxsize=64)
def _coarse(size: int) -> np.ndarray:
    """Which of the score edges intervals are made from: int64 [k]."""
    return np.unique(np.linspace(0, size - 1, min(max(size // 4, MIN_COARSE_EDGES), size)).round().astype(np.int64))


def _share(edges: np.ndarray, place: np.ndarray, score: np.ndarray) -> np.ndarray:
    """How much of the way from the edge before it to the next one each score is on: 0 or 1 beyond the outer edges."""
    out = score - edges.take(place)
    out /= np.diff(edges).take(place)
    return np.clip(out, 0.0, 1.0, out=out)


def _deposit(index: np.ndarray, share: np.ndarray, weight: np.ndarray, owners: int, edges: int) -> np.ndarray:
    """Weights [G, R, n] split between the edges `index` and `index + 1`: [owners, edges].

    Args:
      index: owner * edges + edge before the score, never an owner's last; broadcasts to the weights.
      share: part of the weight that goes to the edge after the score; broadcasts to the weights.
      weight: what is split.
      owners: number of histograms.
      edges: of each histogram.
    """
    flat = np.broadcast_to(index, weight.shape).ravel()
    after = np.bincount(flat, weights=(weight * share).ravel(), minlength=owners * edges)
    out = np.bincount(flat, weights=weight.ravel(), minlength=owners * edges) - after
    out[1:] += after[:-1]
    return out.reshape(owners, edges)


def _loss_importance(
    statistics: PermutationStatistics, draws: np.ndarray, position: int, metric: str
) -> tuple[np.ndarray, ...]:
    sign = -1.0 if metric in _HIGHER_IS_BETTER else 1.0
    before, after = 1 + 2 * position, 2 + 2 * position
    repeated = statistics.loss_totals  # [F, R, C]
    drops = sign * (repeated[:, :, after] - repeated[:, :, before]) / repeated[:, :, 0]
    total = repeated.sum(axis=1)  # [F, C]
    drop = sign * (total[:, after] - total[:, before]) / total[:, 0]
    ratio = total[:, after] / total[:, before]
    columns: list[np.ndarray] = []
    for value, parts in (
        (drop, {0: -drop / total[:, 0], before: -sign / total[:, 0], after: sign / total[:, 0]}),
        (ratio, {before: -ratio / total[:, before], after: 1 / total[:, before]}),
    ):
        gradient = np.zeros_like(total)
        for part, slope in parts.items():
            gradient[:, part] = slope
        pairs = np.einsum("fc,fcd,fd->f", gradient, statistics.loss_pairs, gradient, optimize=False)
        columns += _interval(statistics, draws, value, statistics.loss_buckets, gradient, pairs)
    return (*columns, drops.std(axis=1))


def _score_importance(statistics: PermutationStatistics, draws: np.ndarray) -> tuple[np.ndarray, ...]:
    repeated = _area(statistics.score_totals)[0]  # [F, R, side]
    area, slope = _area(statistics.score_totals.sum(axis=1))  # [F, side], [F, label, side, K]
    slope = slope[..., _coarse(len(statistics.score_edges))]
    permuted, base = area[:, 0], area[:, 1]
    ratio = permuted / base
    columns: list[np.ndarray] = []
    for value, sides in (
        (base - permuted, np.stack([-np.ones_like(base), np.ones_like(base)], axis=1)),
        (ratio, np.stack([1 / base, -ratio / base], axis=1)),
    ):
        gradient = slope * sides[:, None, :, None]
        flat = gradient.reshape(*gradient.shape[:2], -1)  # [F, label, 2k]
        pairs = np.einsum("fyc,fycd,fyd->f", flat, statistics.score_pairs, flat, optimize=False)
        columns += _interval(statistics, draws, value, statistics.score_buckets, gradient, statistics.repeats * pairs)
    return (*columns, (repeated[:, :, 1] - repeated[:, :, 0]).std(axis=1))


def _area(histogram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Area under the ROC curve [..., side] and its gradient [..., label, side, K] of histograms [..., label, side, K].

    References:
      DeLong, DeLong and Clarke-Pearson 1988 (the gradient: how each row stands among those of the other label).
    """
    negative, positive = histogram[..., 0, :, :], histogram[..., 1, :, :]
    negatives, positives = (h.sum(axis=-1, keepdims=True) for h in (negative, positive))
    below = (np.cumsum(negative, axis=-1) - 0.5 * negative) / negatives
    above = 1.0 - (np.cumsum(positive, axis=-1) - 0.5 * positive) / positives
    area = (positive * below).sum(axis=-1, keepdims=True) / positives
    return area[..., 0], np.stack([(above - area) / negatives, (below - area) / positives], axis=-3)


def _interval(
    statistics: PermutationStatistics,
    draws: np.ndarray,
    value: np.ndarray,
    buckets: np.ndarray,
    gradient: np.ndarray,
    pairs: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(value, low, high), each [F], of a statistic with this gradient [F, ...] over bucket sums [buckets, F, ...].

    Args:
      statistics: whose value it is.
      draws: [D, buckets].
      value: [F].
      buckets: [buckets, F, ...] by receiver plus by donor.
      gradient: [F, ...].
      pairs: [F] sum over pairs of psi^2.
    """
    count = len(value)
    flat = gradient.reshape(count, -1)
    influence = np.einsum("bfc,fc->bf", buckets.reshape(NUM_BUCKETS, count, -1), flat, optimize=False)
    influence = influence - influence.mean(axis=0)
    spread = (influence**2).sum(axis=0)
    part = np.divide(pairs, spread, out=np.zeros(count), where=spread > 0)
    left = np.clip(1.0 - np.nan_to_num(part), _LEAST_VARIANCE, 1.0)
    table = value + np.sqrt(left) * drawn(draws, influence)
    table[0] = value
    # What is taken away is known well, the spread of the buckets is not: of f degrees of freedom f left^2 remain.
    filled = statistics.filled_buckets
    freedom = max(filled - 1, 0) * left**2
    enough = np.maximum(np.round(1 + freedom), 2) if filled >= 2 else np.zeros(count)
    return measure_columns(table, enough.astype(np.int64))
