"""Slices beside what else is known of them: Evaluator's metrics, and which are weak or profit from a feature."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tensorflow_model_analysis.proto import config_pb2

from tfx_explain.engine.aggregates.intervals import Measured, number
from tfx_explain.engine.aggregates.weak_slices import WeakSlice, rank
from tfx_explain.explainer_gen.eval_result import (
    MEAN_ABSOLUTE_ATTRIBUTIONS,
    MEAN_ATTRIBUTIONS,
    SliceResult,
)
from tfx_explain.explainer_gen.evaluator_metrics import EvaluatorMetrics, join_slices
from tfx_explain.explainer_gen.outcome import SliceOutcome
from tfx_explain.explainer_gen.summary import interval
from tfx_explain.explainer_gen.tables import Importances
from tfx_explain.names import SliceKey, slice_name

# AUC does not depend on a slice's base rate, as a loss does.
_METRIC_OF_TASK = {
    "agreement": "accuracy",
    "binary": "auc",
    "multiclass": "sparse_categorical_crossentropy",
    "regression": "mean_squared_error",
}
# A slice that a leak gives away whole has one label, and no AUC: what it gains from a feature is told in loss.
_LOSS_OF_TASK = {
    "agreement": "accuracy",
    "binary": "binary_crossentropy",
    "multiclass": "sparse_categorical_crossentropy",
    "regression": "mean_squared_error",
}
_PROFITABLE_FEATURES = 3
_SHOWN = 30


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Evaluator's result.

    Attributes:
      config: its configuration.
      metrics: the candidate's metrics by slice.
    """

    config: config_pb2.EvalConfig
    metrics: EvaluatorMetrics


def joined_metrics(
    keys: Sequence[SliceKey], evaluation: Evaluation | None
) -> tuple[dict[SliceKey, Mapping[str, Measured]], dict[str, Any]]:
    """(Evaluator's metrics by our key, how the join went)."""
    if evaluation is None:
        return {}, {}
    join = join_slices(keys, evaluation.metrics.slices)
    return {ours: evaluation.metrics.slices[theirs] for ours, theirs in join.matched}, {
        "joined": len(join.matched),
        "only_ours": [slice_name(k) for k in join.only_ours],
        "only_evaluators": [slice_name(k) for k in join.only_evaluators],
        "evaluator_skipped": dict(evaluation.metrics.skipped),
    }


def weak_slices(
    outcomes: Sequence[SliceOutcome], keys: Sequence[SliceKey | None], task: str | None
) -> list[dict[str, Any]]:
    """Where the model does badly, and what it leans on there more or less than elsewhere; the first of the ranking."""
    if task is None:
        return []
    metric = _METRIC_OF_TASK[task]
    known: dict[SliceKey, SliceOutcome] = {}
    for outcome in outcomes:
        key = keys[outcome.place]
        if key is not None and metric in outcome.metrics:
            known[key] = outcome
    if () not in known:
        return []
    metrics = {key: o.metrics[metric] for key, o in known.items()}
    shares = {key: {f: o.statistics.measured(f, "share") for f in o.statistics.features} for key, o in known.items()}
    return [_weak(w) for w in rank(metric, metrics, shares)[:_SHOWN]]


def profiting_slices(
    importances: Mapping[int, Importances], names: Sequence[str], task: str | None
) -> list[dict[str, Any]]:
    """Which slices profit from the features that matter most: how much loss a slice would have more without them.

    A feature that leaks the label where it is filled in looks like this; so does an honest one that is informative
    there. By the feature's overall importance, then by the slice's; NaN is left out.
    """
    if task is None or 0 not in importances:
        return []
    metric = _LOSS_OF_TASK[task]
    overall = {item: by_metric[metric] for item, by_metric in importances[0].items() if metric in by_metric}
    leading = sorted(overall, key=lambda item: (-np.nan_to_num(overall[item].drop.value, nan=-np.inf), item))
    out = []
    for item in leading[:_PROFITABLE_FEATURES]:
        drops = {names[place]: by_item[item][metric].drop for place, by_item in importances.items() if place}
        found = [(name, drop) for name, drop in drops.items() if np.isfinite(drop.value)]
        for name, drop in sorted(found, key=lambda pair: (-pair[1].value, pair[0]))[: _SHOWN // _PROFITABLE_FEATURES]:
            out.append(
                {
                    "slice": name,
                    "feature": item,
                    "metric": metric,
                    "drop": interval(drop),
                    "overall_drop": interval(overall[item].drop),
                }
            )
    return out


def slice_results(
    outcomes: Sequence[SliceOutcome], importances: Mapping[int, Importances], keys: Sequence[SliceKey | None]
) -> list[SliceResult]:
    """What TFMA's viewers show; remainders of small slices have no key of TFMA's, and stay out."""
    out = []
    for outcome in outcomes:
        key = keys[outcome.place]
        if key is None:
            continue
        statistics = outcome.statistics
        attributions: dict[str, dict[str, Measured]] = {
            name: {f: statistics.measured(f, statistic) for f in statistics.features}
            for name, statistic in (
                (MEAN_ATTRIBUTIONS, "mean"),
                (MEAN_ABSOLUTE_ATTRIBUTIONS, "mean_absolute"),
                ("attribution_share", "share"),
            )
        }
        for item, by_metric in importances.get(outcome.place, {}).items():
            for metric, importance in by_metric.items():
                attributions.setdefault(f"permutation_{metric}_drop", {})[item] = importance.drop
        exact = float("nan")
        counts = {
            "example_count": Measured(float(outcome.rows), exact, exact),
            "weighted_example_count": Measured(outcome.weight, exact, exact),
        }
        out.append(SliceResult(key, {**counts, **outcome.metrics}, attributions))
    return out


def metric_entries(metrics: Mapping[str, Measured]) -> dict[str, dict[str, float | None]]:
    """Metrics as JSON."""
    return {name: interval(measured) for name, measured in metrics.items()}


def _weak(weak: WeakSlice) -> dict[str, Any]:
    return {
        "slice": slice_name(weak.slice),
        "feature": weak.feature,
        "metric": weak.metric,
        "gap": interval(weak.gap),
        "shift": interval(weak.shift),
        "score": number(weak.score),
    }
