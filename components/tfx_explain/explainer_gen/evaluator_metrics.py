"""Evaluator's own result: the candidate's metrics by slice, and which of its slices are ours."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import metrics_for_slice_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.writers import eval_config_writer

from tfx_explain.engine.aggregates.intervals import Measured
from tfx_explain.explainer_gen.slice_keys import typed_key
from tfx_explain.names import SliceKey

CROSS_SLICE = "cross-slice comparison"
FAILED_SLICE = "slice that TFMA refused (too few examples)"
OTHER_MODEL = "another model or the difference to it"
OTHER_OUTPUT = "another output of the model"
PER_CLASS = "one class or an aggregate over classes"
NOT_NUMERIC = "not a number"
OTHER_WEIGHTING = "the same metric without example weights"

_NAN = float("nan")


class EvaluatorResultError(ValueError):
    """Evaluator's result cannot be used; the message says why."""


@dataclasses.dataclass(frozen=True)
class EvaluatorMetrics:
    """What Evaluator measured of the candidate.

    Attributes:
      slices: metrics by slice and name. `low` and `high` are TFMA's own interval (two-sided, 95 %), NaN where it made
        none.
      skipped: why values (of CROSS_SLICE and FAILED_SLICE: records) were left out -> how many.
    """

    slices: Mapping[SliceKey, Mapping[str, Measured]]
    skipped: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Join:
    """Slices of two results, each sorted.

    Attributes:
      matched: (our key, Evaluator's key): the same slice; they may differ in how a float is rounded.
      only_ours, only_evaluators: the others.
    """

    matched: tuple[tuple[SliceKey, SliceKey], ...]
    only_ours: tuple[SliceKey, ...]
    only_evaluators: tuple[SliceKey, ...]


def read_evaluator_metrics(evaluation_uri: str, output_name: str = "") -> EvaluatorMetrics:
    """Reads the numbers of a ModelEvaluation artifact.

    Taken are numbers, bounded values and t-distribution values of the candidate model for the whole output. Where a
    metric stands with and without example weights, the weighted one is taken.

    Args:
      evaluation_uri: the artifact's folder.
      output_name: of a model with several outputs; empty for a model with one.

    Raises:
      EvaluatorResultError: the folder holds no metrics, or two candidates and no configuration to tell them apart.
    """
    records = list(tfma.load_metrics(evaluation_uri))
    if not records:
        raise EvaluatorResultError(
            f"an evaluation must hold metrics. Received: none at {evaluation_uri}; did Evaluator run with "
            "`disabled_outputs`, or in another output format than tfrecord?"
        )
    skipped: Counter[str] = Counter()
    plain = []
    for record in records:
        if record.HasField("cross_slice_key"):
            skipped[CROSS_SLICE] += 1
        elif not record.metric_keys_and_values and record.metrics:
            skipped[FAILED_SLICE] += 1
        else:
            plain.append(record)
    wanted = {"", _candidate(evaluation_uri, plain)}
    slices: dict[SliceKey, Mapping[str, Measured]] = {}
    for record in plain:
        slices[slicer_lib.deserialize_slice_key(record.slice_key)] = _metrics(record, wanted, output_name, skipped)
    return EvaluatorMetrics(slices, dict(skipped))


def join_slices(ours: Iterable[SliceKey], evaluators: Iterable[SliceKey]) -> Join:
    """Matches slices whose columns, types and values are equal; an int never equals a float or a text of its digits."""
    mine, theirs = ({typed_key(key): key for key in keys} for keys in (ours, evaluators))
    common = sorted(mine.keys() & theirs.keys())
    return Join(
        matched=tuple((mine[key], theirs[key]) for key in common),
        only_ours=tuple(mine[key] for key in sorted(mine.keys() - theirs.keys())),
        only_evaluators=tuple(theirs[key] for key in sorted(theirs.keys() - mine.keys())),
    )


def _candidate(uri: str, records: Iterable[metrics_for_slice_pb2.MetricsForSlice]) -> str:
    """Name of the model that is not the baseline; empty when the result is of one model without a name."""
    names = {kv.key.model_name for record in records for kv in record.metric_keys_and_values} - {""}
    config = eval_config_writer.load_eval_run(uri)[0]
    baselines = {spec.name for spec in config.model_specs if spec.is_baseline} if config is not None else set()
    candidates = names - baselines
    if len(candidates) > 1:
        raise EvaluatorResultError(
            f"an evaluation must be of one model besides the baseline. Received: {sorted(candidates)} at {uri}"
        )
    return next(iter(candidates), "")


def _metrics(
    record: metrics_for_slice_pb2.MetricsForSlice, models: set[str], output_name: str, skipped: Counter[str]
) -> dict[str, Measured]:
    out: dict[str, Measured] = {}
    weighted: dict[str, bool] = {}
    for kv in record.metric_keys_and_values:
        key = kv.key
        if key.is_diff or key.model_name not in models:
            skipped[OTHER_MODEL] += 1
            continue
        if key.output_name not in ("", output_name):
            skipped[OTHER_OUTPUT] += 1
            continue
        if key.HasField("sub_key") or key.HasField("aggregation_type"):
            skipped[PER_CLASS] += 1
            continue
        measured = _measured(kv.value, kv.confidence_interval)
        if measured is None:
            skipped[NOT_NUMERIC] += 1
            continue
        if key.name in out:
            skipped[OTHER_WEIGHTING] += 1
            if weighted[key.name]:
                continue
        out[key.name], weighted[key.name] = measured, key.example_weighted.value
    return out


def _measured(
    value: metrics_for_slice_pb2.MetricValue, interval: metrics_for_slice_pb2.ConfidenceInterval
) -> Measured | None:
    """The number and its interval; None for everything that is no number."""
    kind = value.WhichOneof("type")
    if kind == "bounded_value":
        bounded = value.bounded_value
        return Measured(bounded.value.value, bounded.lower_bound.value, bounded.upper_bound.value)
    if kind == "double_value":
        number = value.double_value.value
    elif kind == "t_distribution_value":
        number = value.t_distribution_value.unsampled_value.value
    else:
        return None
    if interval.HasField("lower_bound") and interval.HasField("upper_bound"):
        return Measured(number, interval.lower_bound.double_value.value, interval.upper_bound.double_value.value)
    return Measured(number, _NAN, _NAN)
