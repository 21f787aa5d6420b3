"""Permutation importance of the features of one slice, with intervals.

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

import numpy as np

from tfx_explain.engine.aggregates.intervals import Measured, drawn, measure_columns
from tfx_explain.engine.aggregates.permuted_rows import LOSSES
from tfx_explain.engine.aggregates.permuted_scores import coarse_edges
from tfx_explain.engine.aggregates.permuted_sums import PermutationStatistics
from tfx_explain.names import NUM_BUCKETS

_HIGHER_IS_BETTER = ("accuracy", "auc", "binary_accuracy", "sparse_categorical_accuracy")
_LEAST_VARIANCE = 0.25  # part of the drawn variance that the repeated pairs cannot take away


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
        columns += _interval(statistics, draws, value, statistics.loss_buckets, gradient, statistics.repeats * pairs)
    return (*columns, drops.std(axis=1))


def _score_importance(statistics: PermutationStatistics, draws: np.ndarray) -> tuple[np.ndarray, ...]:
    repeated = _area(statistics.score_totals)[0]  # [F, R, side]
    area, slope = _area(statistics.score_totals.sum(axis=1))  # [F, side], [F, label, side, K]
    slope = slope[..., coarse_edges(len(statistics.score_edges))]
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
