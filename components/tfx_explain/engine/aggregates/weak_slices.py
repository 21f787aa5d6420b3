"""Weak slices: where a model does badly, and what it leans on there and not elsewhere."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from tfx_explain.engine.aggregates.intervals import Measured
from tfx_explain.names import FeatureName, SliceKey, slice_name

HIGHER_IS_BETTER = {
    "accuracy": True,
    "auc": True,
    "auc_precision_recall": True,
    "binary_accuracy": True,
    "categorical_accuracy": True,
    "f1_score": True,
    "precision": True,
    "recall": True,
    "sparse_categorical_accuracy": True,
    "average_loss": False,
    "binary_crossentropy": False,
    "categorical_crossentropy": False,
    "loss": False,
    "mean_absolute_error": False,
    "mean_squared_error": False,
    "root_mean_squared_error": False,
    "sparse_categorical_crossentropy": False,
}
"""Which way metrics of these names get better, as TFMA and Keras name them."""


@dataclasses.dataclass(frozen=True)
class WeakSlice:
    """One slice and feature of a ranking.

    Attributes:
      slice: the slice's key.
      feature: attributed feature.
      metric: name of the metric.
      gap: how much worse the metric is in the slice than overall, in the metric's unit; negative where it is better.
      shift: the feature's share in the slice minus its share overall.
      score: |gap| |shift|, what the ranking goes by among equals.
    """

    slice: SliceKey
    feature: FeatureName
    metric: str
    gap: Measured
    shift: Measured
    score: float

    @property
    def clear(self) -> bool:
        """Whether the gap's interval leaves out 0. Of many slices without a gap, some do so by chance."""
        return self.gap.low > 0 or self.gap.high < 0


def rank(
    metric: str,
    metrics: Mapping[SliceKey, Measured],
    shares: Mapping[SliceKey, Mapping[FeatureName, Measured]],
    higher_is_better: bool | None = None,
) -> list[WeakSlice]:
    """Slices in which the metric is worse than overall, by |gap| |shift|; clear gaps stand first.

    Args:
      metric: the metric's name.
      metrics: its value by slice; the overall slice `()` must be among them.
      shares: by slice and feature; the overall slice must be among them. Slices that `metrics` lacks, and features
        that the overall slice lacks, are left out, and so is what could not be measured (NaN).
      higher_is_better: None takes it from HIGHER_IS_BETTER.

    Returns:
      Every slice and feature with a gap > 0, a shift of either sign included. Ties stand by slice and feature.

    Raises:
      ValueError: the overall slice is missing, or nothing is known of which way the metric gets better.
    """
    rows = _compare(metric, metrics, shares, higher_is_better)
    return _ranked([row for row in rows if row.gap.value > 0])


def difference(first: Measured, second: Measured) -> Measured:
    """The difference first - second, its interval from those of both (MOVER) as if they were independent.

    Of a slice and the whole that holds it the interval is too wide rather than too narrow: the two vary together.

    References:
      Zou and Donner 2008, Construction of confidence limits about effect measures: a general approach.
    """
    value = first.value - second.value
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    return Measured(value, low, high)


def _compare(
    metric: str,
    metrics: Mapping[SliceKey, Measured],
    shares: Mapping[SliceKey, Mapping[FeatureName, Measured]],
    higher_is_better: bool | None,
) -> list[WeakSlice]:
    if higher_is_better is None:
        if metric not in HIGHER_IS_BETTER:
            raise ValueError(
                f"higher_is_better must be given for a metric that is not one of {sorted(HIGHER_IS_BETTER)}. "
                f"Received: metric={metric!r}"
            )
        higher_is_better = HIGHER_IS_BETTER[metric]
    for name, table in (("metrics", metrics), ("shares", shares)):
        if () not in table:
            raise ValueError(f"{name} must hold the overall slice (). Received: {len(table)} other slices")
    rows = []
    for key in metrics.keys() & shares.keys() - {()}:
        pair = (metrics[()], metrics[key]) if higher_is_better else (metrics[key], metrics[()])
        gap = difference(*pair)
        for feature in shares[key].keys() & shares[()].keys():
            shift = difference(shares[key][feature], shares[()][feature])
            if math.isfinite(gap.value) and math.isfinite(shift.value):
                rows.append(WeakSlice(key, feature, metric, gap, shift, abs(gap.value) * abs(shift.value)))
    return rows


def _ranked(rows: list[WeakSlice]) -> list[WeakSlice]:
    return sorted(rows, key=lambda row: (not row.clear, -row.score, slice_name(row.slice), row.feature))
