"""Slices beside what else is known of them: Evaluator's metrics, and which are weak or profit from a feature."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tensorflow_model_analysis.proto import config_pb2

from tfx_explain.engine.aggregates.intervals import Measured
from tfx_explain.engine.aggregates.weak_slices import WeakSlice, rank, rank_profiting
from tfx_explain.explainer_gen.eval_result import (
    MEAN_ABSOLUTE_ATTRIBUTIONS,
    MEAN_ATTRIBUTIONS,
    SliceResult,
)
from tfx_explain.explainer_gen.evaluator_metrics import EvaluatorMetrics, join_slices
from tfx_explain.explainer_gen.outcome import SliceOutcome
from tfx_explain.explainer_gen.summary import interval, number
from tfx_explain.explainer_gen.tables import Importances
from tfx_explain.names import SliceKey, slice_name

# Where a model does badly is asked with AUC, which does not depend on a slice's base rate; where it does suspiciously
# well, with the loss: a slice that a leak gives away whole has one label, and no AUC.
_METRICS_OF_TASK = {
    "binary": ("auc", "binary_crossentropy"),
    "multiclass": ("sparse_categorical_crossentropy", "sparse_categorical_crossentropy"),
    "regression": ("mean_squared_error", "mean_squared_error"),
}
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


def ranked(
    outcomes: Sequence[SliceOutcome], keys: Sequence[SliceKey | None], task: str | None
) -> dict[str, list[dict[str, Any]]]:
    """`weak_slices` and `profiting_slices` by our own metrics of the task, the first of each."""
    out: dict[str, list[dict[str, Any]]] = {"weak_slices": [], "profiting_slices": []}
    if task is None:
        return out
    for name, metric, order in zip(out, _METRICS_OF_TASK[task], (rank, rank_profiting), strict=True):
        known: dict[SliceKey, SliceOutcome] = {}
        for outcome in outcomes:
            key = keys[outcome.place]
            if key is not None and metric in outcome.metrics:
                known[key] = outcome
        if () in known:
            metrics = {key: o.metrics[metric] for key, o in known.items()}
            shares = {
                key: {f: o.statistics.measured(f, "share") for f in o.statistics.features} for key, o in known.items()
            }
            out[name] = [_entry(w) for w in order(metric, metrics, shares)[:_SHOWN]]
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


def _entry(weak: WeakSlice) -> dict[str, Any]:
    return {
        "slice": slice_name(weak.slice),
        "feature": weak.feature,
        "metric": weak.metric,
        "gap": interval(weak.gap),
        "shift": interval(weak.shift),
        "score": number(weak.score),
    }
