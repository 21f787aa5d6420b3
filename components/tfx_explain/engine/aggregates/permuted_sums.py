"""PermutationStatistics: the sums over pairs of rows that permutation importance is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfx_explain.engine.aggregates.permuted_rows import LOSSES, PermutedRows, row_losses
from tfx_explain.engine.aggregates.permuted_scores import Places, coarse_edges, deposit, on_coarse_edges
from tfx_explain.names import NUM_BUCKETS

_CHUNK = 8192  # rows that are summed at a time
_PAIRS_AT_ONCE, _FEATURES_AT_ONCE = 81_920, 8
_PAIRS_OF_A_RUN = 16  # donors in one bucket, one after the other, that are worth finding


@dataclasses.dataclass(frozen=True, eq=False)
class PermutationStatistics:
    """Sums of one slice over pairs of rows; all float64. Two sets of rows are merged by adding, in a fixed order.

    Sums over pairs, C of them, are the weight and then, of each metric of LOSSES, the weighted base value and the
    weighted permuted value. Score histograms have the axes label (0, 1), side (permuted, base) and edge.

    Products of a pair's own parts are summed over the first repeat alone: they stand for as many times their sum.

    Attributes:
      task: `binary`, `multiclass`, `agreement` or `regression`.
      features: names of the permuted features and groups, F of them.
      score_edges: float64 [K]; empty unless the task is binary.
      rows: [buckets] labelled rows.
      weight: [buckets] of labelled rows.
      failed_pairs: [F] pairs without a finite score, which are left out.
      loss_totals: [F, R, C].
      loss_buckets: [buckets, F, C], by the receiver's bucket plus by the donor's.
      loss_pairs: [F, C, C], of the first repeat: sums over pairs of the products of their parts.
      score_totals: [F, R, 2, 2, K].
      score_buckets: [buckets, F, 2, 2, k], by the receiver's bucket plus by the donor's.
      score_pairs: [F, 2, 2k, 2k], of the first repeat: products of a pair's shares by side and edge.
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
        coarse = len(coarse_edges(len(edges)))
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
    if len(rows.permuted) != len(features):
        raise ValueError(
            f"rows must have one column a feature. Received: {len(rows.permuted)} for {len(features)} features"
        )
    out = PermutationStatistics.empty(rows.task, features, rows.permuted.shape[1], score_edges)
    for start in range(0, len(rows), _CHUNK):
        chunk = rows.take(slice(start, start + _CHUNK))
        labelled = np.isfinite(chunk.label)
        if not labelled.all():
            chunk = chunk.take(labelled)
        if not len(chunk):
            continue
        out.rows[:] += np.bincount(chunk.bucket, minlength=NUM_BUCKETS)
        out.weight[:] += np.bincount(chunk.bucket, weights=chunk.weight, minlength=NUM_BUCKETS)
        receivers = _Receivers.of(chunk, out.score_edges)
        for first in range(0, len(features), _FEATURES_AT_ONCE):
            _add_features(out, slice(first, min(first + _FEATURES_AT_ONCE, len(features))), chunk, receivers)
    return out


@dataclasses.dataclass(frozen=True, eq=False)
class _Receivers:
    """What the n rows of a chunk have in all their pairs.

    Attributes:
      label: float64 [n], none of them NaN.
      bucket: int64 [n].
      finite: bool [n], whether the base score is.
      losses: of each metric of LOSSES, float64 [n].
      label_place: int64 [n], where the histograms of the row's label begin.
      place: int64 [n], where the base score lies in them.
      places: of the base scores [n]; for a binary task.
    """

    label: np.ndarray
    bucket: np.ndarray
    finite: np.ndarray
    losses: list[np.ndarray]
    label_place: np.ndarray
    place: np.ndarray
    places: Places | None

    @classmethod
    def of(cls, rows: PermutedRows, edges: np.ndarray) -> _Receivers:
        finite = np.isfinite(rows.base).all(axis=1)
        base = np.where(finite[:, None], rows.base.astype(np.float64), 0.0)
        losses = row_losses(rows.task, base, rows.label)
        bucket, label_place = rows.bucket.astype(np.int64), (rows.label * len(edges)).astype(np.int64)
        places = Places.of(edges, base[:, 0]) if rows.task == "binary" else None
        place = label_place if places is None else label_place + places.fine
        return cls(rows.label, bucket, finite, losses, label_place, place, places)


class _ByDonor:
    """Sums of pairs [G, R, n] by feature and the donor's bucket.

    Donors of rows that follow each other follow each other, so that runs of pairs have one bucket. Rows of clusters,
    and donors of a stratum, have none: their pairs are summed one by one.
    """

    def __init__(self, donor_bucket: np.ndarray):
        self.owner = np.arange(len(donor_bucket))[:, None, None] * NUM_BUCKETS + donor_bucket
        flat, rows = self.owner.ravel(), donor_bucket.shape[2]
        new = np.ones(len(flat), bool)
        np.not_equal(flat[1:], flat[:-1], out=new[1:])
        new[::rows] = True
        starts = np.flatnonzero(new)
        self._starts: np.ndarray | None = None
        self._owner = flat
        if len(starts) * _PAIRS_OF_A_RUN <= len(flat):
            self._starts, self._owner = starts, flat[starts]
            self._first = starts % rows
            self._last = self._first + np.diff(np.append(starts, len(flat)))

    def sums(self, part: np.ndarray) -> np.ndarray:
        """[G, buckets] of what broadcasts to [G, R, n]."""
        if self._starts is None:
            values = _flat(part, self.owner.shape)
        elif part.size == part.shape[-1]:
            before = np.concatenate([[0.0], np.cumsum(part)])
            values = before[self._last] - before[self._first]
        else:
            values = np.add.reduceat(_flat(part, self.owner.shape), self._starts)
        size = len(self.owner) * NUM_BUCKETS
        return np.bincount(self._owner, weights=values, minlength=size).reshape(-1, NUM_BUCKETS)


def _flat(part: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """All numbers of what broadcasts to a shape."""
    if part.shape == shape:
        return part.ravel()
    out = np.empty(shape)
    out[...] = part
    return out.ravel()


class _Held:
    """What is known of some features of a chunk, H of them, once all their pairs were seen: to be added together.

    Attributes:
      received: float64 [C, H, n], a row's parts summed over the repeats.
      given: float64 [C, H, buckets], parts by the donor's bucket.
      first: float64 [C, H, n], parts of the first repeat.
      places: of the permuted scores of the first repeat [H, n].
      histograms: float64 [H, buckets, side, label and edge], all but the receivers' base scores.
    """

    def __init__(self, parts: int, features: int, rows: int, edges: int):
        self.received, self.first = np.empty((2, parts, features, rows))
        self.given = np.empty((parts, features, NUM_BUCKETS))
        scored = features if edges else 0
        self.places = Places(np.empty((scored, rows), np.int64), np.empty((scored, rows)))
        self.histograms = np.empty((scored, NUM_BUCKETS, 2, 2 * edges))


def _add_features(out: PermutationStatistics, features: slice, rows: PermutedRows, receivers: _Receivers) -> None:
    """Adds the pairs of some features of a chunk; all rows are labelled."""
    count, n = features.stop - features.start, len(rows)
    held = _Held(out.loss_totals.shape[2], count, n, len(out.score_edges))
    together = max(1, _PAIRS_AT_ONCE // (n * out.repeats))
    for first in range(0, count, together):
        _add_pairs(out, features, slice(first, min(first + together, count)), rows, receivers, held)
    own = np.arange(count)[:, None] * NUM_BUCKETS + receivers.bucket  # [H, n]
    for c, received in enumerate(held.received):
        summed = np.bincount(own.ravel(), weights=received.ravel(), minlength=count * NUM_BUCKETS)
        out.loss_buckets[:, features, c] += (summed.reshape(count, NUM_BUCKETS) + held.given[c]).T
    for c, mine in enumerate(held.first):  # products are alike both ways round
        for d, other in enumerate(held.first[c:], c):
            products = np.einsum("hn,hn->h", mine, other, optimize=False)
            out.loss_pairs[features, c, d] += products
            if d > c:
                out.loss_pairs[features, d, c] += products
    if receivers.places is not None:
        size, weight = 2 * len(out.score_edges), held.received[0]
        place, after = own * size + receivers.place, (weight * receivers.places.part).ravel()
        received = deposit(place, weight.ravel(), after, count * NUM_BUCKETS * size)
        held.histograms[:, :, 1] += received.reshape(count, NUM_BUCKETS, size)
        coarse = on_coarse_edges(out.score_edges, held.histograms.reshape(count, NUM_BUCKETS, 2, 2, -1))
        out.score_buckets[:, features] += np.moveaxis(coarse, 0, 1).swapaxes(2, 3)
        _add_score_pairs(out, features, receivers, held.first[0], held.places, receivers.places)


def _add_pairs(
    out: PermutationStatistics,
    features: slice,
    some: slice,
    rows: PermutedRows,
    receivers: _Receivers,
    held: _Held,
) -> None:
    """Looks at the pairs of some of the features, G of them, laid out as [G, R, n].

    Weights that are the same in all pairs of a row stay [1, 1, n]: what they alone decide is computed once a row.
    """
    own = slice(features.start + some.start, features.start + some.stop)
    permuted = rows.permuted[own].astype(np.float64)  # [G, R, n, V]
    # Equal weights are the donors' weights too.
    weight = (rows.weight**2)[None, None]
    if rows.donor_weight is not None:
        weight = rows.weight * rows.donor_weight[own]
    if not (receivers.finite.all() and np.isfinite(permuted.sum())):
        finite = np.isfinite(permuted).all(axis=3) & receivers.finite
        weight = weight * finite
        out.failed_pairs[own] += finite[0].size - np.count_nonzero(finite, axis=(1, 2))
        permuted = np.where(finite[..., None], permuted, 0.0)

    donors = _ByDonor(rows.donor_bucket[own])
    parts = [weight]
    for before, after in zip(receivers.losses, row_losses(out.task, permuted, receivers.label), strict=True):
        parts += [weight * before, weight * after]
    for c, part in enumerate(parts):
        out.loss_totals[own, :, c] += part.sum(axis=2)
        held.received[c, some] = part.sum(axis=1) if part.shape[1] == out.repeats else out.repeats * part[:, 0]
        held.given[c, some] = donors.sums(part)
        held.first[c, some] = part[:, 0]
    if receivers.places is None:
        return
    count, edges = len(permuted), len(out.score_edges)
    scores = Places.of(out.score_edges, permuted[..., 0])
    held.places.fine[some], held.places.part[some] = scores.fine[:, 0], scores.part[:, 0]
    size, weights = 2 * edges, _flat(weight, scores.fine.shape)

    # Of permuted scores: by repeat, and by the receiver's and the donor's bucket.
    place, after = scores.fine + receivers.label_place, (weight * scores.part).ravel()
    number = np.arange(count * out.repeats).reshape(count, out.repeats, 1)
    totals = deposit(number * size + place, weights, after, count * out.repeats * size)
    out.score_totals[own, :, :, 0] += totals.reshape(count, out.repeats, 2, edges)
    bucket = np.arange(count)[:, None, None] * NUM_BUCKETS + receivers.bucket  # [G, 1, n]
    of_donor = donors.owner * size
    summed = deposit(bucket * size + place, weights, after, count * NUM_BUCKETS * size)
    summed += deposit(of_donor + place, weights, after, count * NUM_BUCKETS * size)
    held.histograms[some, :, 0] = summed.reshape(count, NUM_BUCKETS, size)

    # Of base scores, of which a row has one in all its pairs: by repeat, and by the donor's bucket.
    after = weight * receivers.places.part
    number = np.arange(weight[..., 0].size).reshape(*weight.shape[:2], 1)
    totals = deposit(number * size + receivers.place, weight.ravel(), after.ravel(), number.size * size)
    out.score_totals[own, :, :, 1] += totals.reshape(*weight.shape[:2], 2, edges)
    of_donor += receivers.place
    summed = deposit(of_donor, weights, _flat(after, of_donor.shape), count * NUM_BUCKETS * size)
    held.histograms[some, :, 1] = summed.reshape(count, NUM_BUCKETS, size)


def _add_score_pairs(
    out: PermutationStatistics,
    features: slice,
    receivers: _Receivers,
    weight: np.ndarray,
    permuted: Places,
    base: Places,
) -> None:
    """Adds the products of the shares of the first repeat: weight [H, n], places [H, n] and [n].

    A pair takes part at two edges of each side, at 1 - p and p: the sums of all products are those of 1, p and p^2.
    """
    count, size = len(weight), len(coarse_edges(len(out.score_edges)))
    squared = weight**2
    (above, p), (across, q) = (places.coarse(out.score_edges) for places in (permuted, base))
    owner = np.arange(count)[:, None] * 2 + receivers.label.astype(np.int64)  # [H, n]

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
