"""Metrics of predictions and of convergence from bucket statistics, with intervals."""

from __future__ import annotations

import numpy as np

from tfx_explain.engine.aggregates.buckets import BucketStatistics
from tfx_explain.engine.aggregates.intervals import Measured, drawn, measure


def prediction_metrics(statistics: BucketStatistics, draws: np.ndarray, task: str) -> dict[str, Measured]:
    """Metrics that fit the task, over labelled rows.

    Args:
      statistics: sums of one slice.
      draws: [D, buckets] of `bucket_draws`.
      task: `binary` (auc, binary_crossentropy, binary_accuracy, label_mean), `multiclass`
        (sparse_categorical_crossentropy, sparse_categorical_accuracy), `agreement` (accuracy) or `regression`
        (mean_squared_error, label_mean); names as TFMA has them.
    """
    names = list(statistics.scalars)
    columns = drawn(draws, np.stack([statistics.scalars[n] for n in names], axis=1))
    scalars = {name: np.ascontiguousarray(columns[:, j]) for j, name in enumerate(names)}
    weight = scalars["labelled_weight"]
    if not weight[0]:
        return {}

    filled = statistics.filled_buckets

    def mean(name: str, most: float = np.inf) -> Measured:
        with np.errstate(invalid="ignore", divide="ignore"):
            return _within(measure(scalars[name] / weight, filled), most)

    if task == "binary":
        return {
            "auc": _within(
                measure(
                    _areas(draws, statistics.scores["scores_negative"], statistics.scores["scores_positive"]), filled
                ),
                1,
            ),
            "binary_accuracy": mean("sum_correct", 1),
            "binary_crossentropy": mean("sum_log_loss"),
            "label_mean": mean("sum_label", 1),
        }
    if task == "multiclass":
        return {
            "sparse_categorical_accuracy": mean("sum_correct", 1),
            "sparse_categorical_crossentropy": mean("sum_log_loss"),
        }
    if task == "agreement":
        return {"accuracy": mean("sum_correct", 1)}
    if task == "regression":
        with np.errstate(invalid="ignore", divide="ignore"):
            label_mean = measure(scalars["sum_label"] / weight, filled)  # a number of any sign
        return {"label_mean": label_mean, "mean_squared_error": mean("sum_squared_error")}
    raise ValueError(f"task must be binary, multiclass, agreement or regression. Received: task={task!r}")


def unconverged_fraction(statistics: BucketStatistics, draws: np.ndarray) -> Measured:
    """Weight of rows that did not converge, as a share of the explained weight."""
    with np.errstate(invalid="ignore", divide="ignore"):
        unconverged = drawn(draws, statistics.scalars["unconverged_weight"])
        return _within(measure(unconverged / drawn(draws, statistics.scalars["weight"]), statistics.filled_buckets), 1)


def _within(measured: Measured, most: float) -> Measured:
    """Losses are never below 0, and probabilities not above 1, however wide the interval; without a value, none."""
    if np.isnan(measured.value):
        return Measured(measured.value, np.nan, np.nan)
    low, high = (float(np.clip(bound, 0, most)) for bound in (measured.low, measured.high))
    return Measured(measured.value, low, high)


def _areas(draws: np.ndarray, negative: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """`area_under_curve` of each draw: [D], of score histograms by bucket [buckets, bins].

    How the positives of one bucket stand among the negatives of another is counted once, for all draws.
    """
    held = np.flatnonzero(negative.any(axis=0) | positive.any(axis=0))  # bins without rows add nothing
    negative, positive = negative[:, held], positive[:, held]
    below = np.cumsum(negative, axis=1) - 0.5 * negative
    # einsum without BLAS: its order is fixed.
    pairs = np.einsum("bk,ck->bc", positive, below, optimize=False)  # [of positives, of negatives]
    above = np.sum(drawn(draws, pairs) * draws, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return above / (drawn(draws, negative.sum(axis=1)) * drawn(draws, positive.sum(axis=1)))


def area_under_curve(negative: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Area under the ROC curve from score histograms [D, bins], ties within a bin counted half: [D]."""
    below = np.cumsum(negative, axis=1) - negative
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sum(positive * (below + 0.5 * negative), axis=1) / (negative.sum(axis=1) * positive.sum(axis=1))
