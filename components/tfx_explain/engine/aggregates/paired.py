"""Two models on the same rows: what differs between them, from weighted sums per hash bucket."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfx_explain.engine.aggregates.buckets import BucketStatistics
from tfx_explain.engine.aggregates.intervals import Measured, drawn, measure, measure_columns
from tfx_explain.names import NUM_BUCKETS

# One value a bucket.
SCALARS = (
    "rows",  # distinct rows that are paired
    "weight",
    "weight_squared",
    "sum_difference",  # of predictions, candidate less reference
    "sum_absolute_difference",
    "other_target_rows",  # explained by both models, but for another target
    "other_target_weight",
    "candidate_only_rows",
    "candidate_only_weight",
    "reference_only_rows",
    "reference_only_weight",
    "candidate_weight",  # of all rows that the model explained, paired or not
    "reference_weight",
)
# Per model and feature: [buckets, features]. `own_absolute` takes all rows that the model explained, the others the
# paired ones.
MODEL_SUMS = ("own_absolute", "sum_absolute", "sum", "sum_squared")
# Per feature of both models: [buckets, features].
PAIR_SUMS = ("sum_product", "sum_absolute_difference")

# A variance below this part of the mean square is the rounding of a constant.
_VARIANCE_ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True)
class ModelRows:
    """One model's side of n rows.

    Attributes:
      attributions: float32 [n, F] of the model's own F features; 0 where it could not explain a row.
      prediction: float64 [n], in the explained unit; 0 where it could not explain a row.
      target: int [n], the output column that is explained.
      explained: bool [n].
    """

    attributions: np.ndarray
    prediction: np.ndarray
    target: np.ndarray
    explained: np.ndarray

    def take(self, chosen: np.ndarray) -> ModelRows:
        """Some of the rows."""
        return ModelRows(*(getattr(self, f.name)[chosen] for f in dataclasses.fields(self)))


@dataclasses.dataclass(frozen=True)
class PairedRows:
    """Rows that at least one of two models explained.

    Attributes:
      bucket: int [n].
      weight: float64 [n].
      candidate, reference: the models' sides.
    """

    bucket: np.ndarray
    weight: np.ndarray
    candidate: ModelRows
    reference: ModelRows

    def take(self, chosen: np.ndarray) -> PairedRows:
        """Some of the rows."""
        return PairedRows(
            self.bucket[chosen], self.weight[chosen], self.candidate.take(chosen), self.reference.take(chosen)
        )

    @classmethod
    def concatenate(cls, parts: Sequence[PairedRows]) -> PairedRows:
        """Rows of several blocks, in order; at least one is needed."""

        def side(sides: Sequence[ModelRows]) -> ModelRows:
            return ModelRows(
                *(np.concatenate([getattr(s, f.name) for s in sides]) for f in dataclasses.fields(ModelRows))
            )

        return cls(
            np.concatenate([p.bucket for p in parts]),
            np.concatenate([p.weight for p in parts]),
            side([p.candidate for p in parts]),
            side([p.reference for p in parts]),
        )


@dataclasses.dataclass(frozen=True)
class PairedStatistics:
    """Sums of one slice over 64 hash buckets for two models; two sets of rows are merged by adding.

    Attributes:
      candidate_features, reference_features: what each model attributes to.
      scalars: [buckets] by name of SCALARS.
      candidate, reference: [buckets, U] by name of MODEL_SUMS, U = len(features); 0 for a feature that a model lacks.
      pairs: [buckets, U] by name of PAIR_SUMS.
    """

    candidate_features: tuple[str, ...]
    reference_features: tuple[str, ...]
    scalars: dict[str, np.ndarray]
    candidate: dict[str, np.ndarray]
    reference: dict[str, np.ndarray]
    pairs: dict[str, np.ndarray]

    @property
    def features(self) -> tuple[str, ...]:
        """Features of either model: the candidate's in order, then what only the reference has."""
        return union(self.candidate_features, self.reference_features)

    @classmethod
    def empty(cls, candidate_features: tuple[str, ...], reference_features: tuple[str, ...]) -> PairedStatistics:
        """All sums zero."""
        shape = NUM_BUCKETS, len(union(candidate_features, reference_features))
        return cls(
            candidate_features,
            reference_features,
            {name: np.zeros(NUM_BUCKETS) for name in SCALARS},
            {name: np.zeros(shape) for name in MODEL_SUMS},
            {name: np.zeros(shape) for name in MODEL_SUMS},
            {name: np.zeros(shape) for name in PAIR_SUMS},
        )

    @classmethod
    def of(
        cls, candidate_features: tuple[str, ...], reference_features: tuple[str, ...], rows: PairedRows
    ) -> PairedStatistics:
        """Sums one block. Only numpy's sequential sums are used, so the bits do not depend on threads.

        A row is paired when both models explained it for the same target; other rows are counted, and enter
        `own_absolute` of the model that explained them.

        Raises:
          ValueError: a model's attributions do not have one column a feature.
        """
        for side, names in ((rows.candidate, candidate_features), (rows.reference, reference_features)):
            if side.attributions.shape[1] != len(names):
                raise ValueError(
                    f"attributions must have one column a feature, {len(names)}. Received: {side.attributions.shape}"
                )
        out = cls.empty(candidate_features, reference_features)
        bucket, weight = rows.bucket, rows.weight
        ours, theirs = rows.candidate, rows.reference
        both = ours.explained & theirs.explained
        paired = both & (ours.target == theirs.target)
        difference = np.where(paired, ours.prediction - theirs.prediction, 0.0)
        for name, values in {
            "rows": paired,
            "weight": weight * paired,
            "weight_squared": weight**2 * paired,
            "sum_difference": weight * difference,
            "sum_absolute_difference": weight * np.abs(difference),
            "other_target_rows": both & ~paired,
            "other_target_weight": weight * (both & ~paired),
            "candidate_only_rows": ours.explained & ~theirs.explained,
            "candidate_only_weight": weight * (ours.explained & ~theirs.explained),
            "reference_only_rows": theirs.explained & ~ours.explained,
            "reference_only_weight": weight * (theirs.explained & ~ours.explained),
            "candidate_weight": weight * ours.explained,
            "reference_weight": weight * theirs.explained,
        }.items():
            out.scalars[name][:] = _by_bucket(bucket, values)
        column_a = {f: j for j, f in enumerate(candidate_features)}
        column_b = {f: j for j, f in enumerate(reference_features)}
        own_a, own_b, shared = weight * ours.explained, weight * theirs.explained, weight * paired
        for j, feature in enumerate(out.features):
            a, b = _column(ours, column_a.get(feature)), _column(theirs, column_b.get(feature))
            for sums, own, x in ((out.candidate, own_a, a), (out.reference, own_b, b)):
                sums["own_absolute"][:, j] = _by_bucket(bucket, own * np.abs(x))
                sums["sum_absolute"][:, j] = _by_bucket(bucket, shared * np.abs(x))
                sums["sum"][:, j] = _by_bucket(bucket, shared * x)
                sums["sum_squared"][:, j] = _by_bucket(bucket, shared * x**2)
            out.pairs["sum_product"][:, j] = _by_bucket(bucket, shared * a * b)
            out.pairs["sum_absolute_difference"][:, j] = _by_bucket(bucket, shared * np.abs(a - b))
        return out

    def __add__(self, other: PairedStatistics) -> PairedStatistics:
        mine = self.candidate_features, self.reference_features
        if mine != (other.candidate_features, other.reference_features):
            raise ValueError(
                f"statistics of other features cannot be added. Received: {self.features} and {other.features}"
            )
        groups = ("scalars", "candidate", "reference", "pairs")
        return PairedStatistics(
            *mine, *({k: v + getattr(other, g)[k] for k, v in getattr(self, g).items()} for g in groups)
        )

    @property
    def filled_buckets(self) -> int:
        """Number of buckets with paired weight: the independent units that intervals are drawn from."""
        return int(np.count_nonzero(self.scalars["weight"]))

    def total(self, scalar: str) -> float:
        """A scalar over all buckets."""
        return float(self.scalars[scalar].sum())


@dataclasses.dataclass(frozen=True)
class FeaturePair:
    """One feature in both models, over the paired rows; NaN where a number could not be measured.

    Attributes:
      feature: its name.
      absent_from: `candidate` or `reference` where that model has no path from the feature, else empty; its
        attribution is 0 there.
      candidate_share, reference_share: of the summed |attribution|.
      share_difference: the candidate's less the reference's, from draws of both together.
      candidate_rank, reference_rank: by share, from 1; None where absent.
      candidate_mean, reference_mean: attribution, in the explained unit.
      correlation: weighted Pearson, over rows, of both models' attributions.
      mean_absolute_difference: of a row's attributions, in the explained unit.
    """

    feature: str
    absent_from: str
    candidate_share: Measured
    reference_share: Measured
    share_difference: Measured
    candidate_rank: int | None
    reference_rank: int | None
    candidate_mean: Measured
    reference_mean: Measured
    correlation: Measured
    mean_absolute_difference: Measured

    @property
    def rank_change(self) -> int | None:
        """How many places the feature rose; None where a model lacks it."""
        if self.candidate_rank is None or self.reference_rank is None:
            return None
        return self.reference_rank - self.candidate_rank

    @property
    def sign_changed(self) -> bool:
        """Whether the mean attribution has another sign, and neither interval holds 0."""
        a, b = self.candidate_mean, self.reference_mean
        return (a.low > 0 and b.high < 0) or (a.high < 0 and b.low > 0)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two models on the same rows of one slice.

    Attributes:
      features: of either model, by the size of `share_difference`.
      rows, weight, effective_rows: of the paired rows.
      other_target_rows: explained by both models, for different targets.
      candidate_only_rows, reference_only_rows: that the other model could not explain.
      prediction_difference, absolute_prediction_difference: means, in the explained unit.
      candidate_total, reference_total: total mean |attribution|.
    """

    features: tuple[FeaturePair, ...]
    rows: int
    weight: float
    effective_rows: float
    other_target_rows: int
    candidate_only_rows: int
    reference_only_rows: int
    prediction_difference: Measured
    absolute_prediction_difference: Measured
    candidate_total: Measured
    reference_total: Measured

    def of(self, feature: str) -> FeaturePair:
        """One feature.

        Raises:
          KeyError: neither model has it.
        """
        for pair in self.features:
            if pair.feature == feature:
                return pair
        raise KeyError(f"feature must be among {[p.feature for p in self.features]}. Received: {feature!r}")


@dataclasses.dataclass(frozen=True)
class ShareDrift:
    """One model's share of one feature on other rows.

    Attributes:
      then: on the rows of its time.
      now: on today's rows, all that the model explained.
      difference: now less then.
    """

    then: Measured
    now: Measured
    difference: Measured


def compare(statistics: PairedStatistics, draws: np.ndarray) -> Comparison:
    """Both models over the paired rows, with intervals from draws of whole buckets of both sums together.

    Args:
      statistics: sums of both models.
      draws: [1 + D, buckets] of `bucket_draws`.

    References:
      Weighted correlation: Cov_w(a, b) / sqrt(Var_w(a) Var_w(b)), from sums of w, wa, wb, wa^2, wb^2 and wab.
    """
    filled = statistics.filled_buckets
    weight = drawn(draws, statistics.scalars["weight"])
    a = {k: drawn(draws, v) for k, v in statistics.candidate.items()}
    b = {k: drawn(draws, v) for k, v in statistics.reference.items()}
    shares_a, shares_b = _shares(a["sum_absolute"]), _shares(b["sum_absolute"])
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_a, mean_b = a["sum"] / weight[:, None], b["sum"] / weight[:, None]
        apart = drawn(draws, statistics.pairs["sum_absolute_difference"]) / weight[:, None]
        product = drawn(draws, statistics.pairs["sum_product"]) / weight[:, None]
        correlation = (product - mean_a * mean_b) / np.sqrt(
            _variance(a["sum_squared"] / weight[:, None], mean_a)
            * _variance(b["sum_squared"] / weight[:, None], mean_b)
        )
        moved = drawn(draws, statistics.scalars["sum_difference"]) / weight
        moved_absolutely = drawn(draws, statistics.scalars["sum_absolute_difference"]) / weight
        totals = [x["sum_absolute"].sum(axis=1) / weight for x in (a, b)]
    columns = {
        "candidate_share": _measured(shares_a, filled, 0.0, 1.0),
        "reference_share": _measured(shares_b, filled, 0.0, 1.0),
        "share_difference": _measured(shares_a - shares_b, filled, -1.0, 1.0),
        "candidate_mean": _measured(mean_a, filled),
        "reference_mean": _measured(mean_b, filled),
        "correlation": _measured(np.clip(correlation, -1.0, 1.0), filled, -1.0, 1.0),
        "mean_absolute_difference": _measured(apart, filled, 0.0),
    }
    ranks_a = _ranks(statistics.features, shares_a[0], statistics.candidate_features)
    ranks_b = _ranks(statistics.features, shares_b[0], statistics.reference_features)
    pairs = [
        FeaturePair(
            feature=feature,
            absent_from="candidate" if feature not in ranks_a else "reference" if feature not in ranks_b else "",
            candidate_rank=ranks_a.get(feature),
            reference_rank=ranks_b.get(feature),
            **{name: values[j] for name, values in columns.items()},
        )
        for j, feature in enumerate(statistics.features)
    ]
    squared = statistics.total("weight_squared")
    return Comparison(
        features=tuple(sorted(pairs, key=lambda p: (-np.nan_to_num(abs(p.share_difference.value)), p.feature))),
        rows=int(statistics.total("rows")),
        weight=statistics.total("weight"),
        effective_rows=statistics.total("weight") ** 2 / squared if squared else 0.0,
        other_target_rows=int(statistics.total("other_target_rows")),
        candidate_only_rows=int(statistics.total("candidate_only_rows")),
        reference_only_rows=int(statistics.total("reference_only_rows")),
        prediction_difference=measure(moved, filled),
        absolute_prediction_difference=measure(moved_absolutely, filled),
        candidate_total=measure(totals[0], filled),
        reference_total=measure(totals[1], filled),
    )


def share_drifts(
    now: PairedStatistics, now_draws: np.ndarray, then: BucketStatistics, then_draws: np.ndarray
) -> dict[str, ShareDrift]:
    """The reference model's shares on today's rows less those of its time, by feature: what the rows changed.

    Args:
      now: sums of today's rows; all that the reference model explained count.
      now_draws: [1 + D, buckets].
      then: the reference model's stored sums.
      then_draws: [1 + D, buckets]: another seed's where the rows are others, `now_draws` where they are the same.
    """
    names = union(now.reference_features, then.features)
    today, before = (
        _shares(_spread(drawn(draws, sums), own, names))
        for draws, sums, own in (
            (now_draws, now.reference["own_absolute"], now.features),
            (then_draws, then.sums["sum_absolute"], then.features),
        )
    )
    filled_now = int(np.count_nonzero(now.scalars["reference_weight"]))
    filled = min(filled_now, then.filled_buckets)
    measured = (
        _measured(before, then.filled_buckets, 0.0, 1.0),
        _measured(today, filled_now, 0.0, 1.0),
        _measured(today - before, filled, -1.0, 1.0),
    )
    return {name: ShareDrift(*(side[j] for side in measured)) for j, name in enumerate(names)}


def union(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """Names of either, each once: the first in order, then what only the second has."""
    return tuple(dict.fromkeys((*first, *second)))


def _by_bucket(bucket: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.bincount(bucket, weights=values, minlength=NUM_BUCKETS)


def _column(side: ModelRows, index: int | None) -> np.ndarray:
    """Attributions [n] of one feature, 0 where the model lacks it."""
    if index is None:
        return np.zeros(len(side.explained))
    return np.where(side.explained, side.attributions[:, index].astype(np.float64), 0.0)


def _shares(sums: np.ndarray) -> np.ndarray:
    """[D, F] sums of |attribution| as parts of their row's total; NaN where nothing is attributed."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums / sums.sum(axis=1, keepdims=True)


def _spread(sums: np.ndarray, own: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """[D, len(names)]: the columns of `own` where `names` have them, else 0."""
    out = np.zeros((len(sums), len(names)))
    column = {name: j for j, name in enumerate(own)}
    for j, name in enumerate(names):
        if name in column:
            out[:, j] = sums[:, column[name]]
    return out


def _variance(mean_square: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """NaN where it is the rounding of a constant."""
    variance = mean_square - mean**2
    return np.where(variance > _VARIANCE_ROUNDING * mean_square, variance, np.nan)


def _measured(table: np.ndarray, filled: int, low: float = -np.inf, high: float = np.inf) -> list[Measured]:
    """Each column of [1 + D, F], its interval kept within what the number can be."""
    value, lower, upper = measure_columns(table, filled)
    lower, upper = np.maximum(lower, low), np.minimum(upper, high)
    return [Measured(float(v), float(a), float(b)) for v, a, b in zip(value, lower, upper, strict=True)]


def _ranks(names: Sequence[str], shares: np.ndarray, own: Sequence[str]) -> dict[str, int]:
    """Places by share, from 1, of the features that a model has; ties by name."""
    by_name = dict(zip(names, np.nan_to_num(shares), strict=True))
    return {name: place for place, name in enumerate(sorted(own, key=lambda n: (-by_name[n], n)), start=1)}
