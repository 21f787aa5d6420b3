"""An eval result in TFMA's format: what its loaders and viewers read, without a Beam job."""

from __future__ import annotations

import dataclasses
import json
import os
import posixpath
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2
from tensorflow_model_analysis.slicer import slicer_lib

from tfx_explain.engine.aggregates.intervals import Measured
from tfx_explain.explainer_gen.slice_keys import plain_key, typed_key
from tfx_explain.names import FeatureName, SliceKey, slice_name

METRICS_FILE = "metrics-00000-of-00001.tfrecord"
ATTRIBUTIONS_FILE = "attributions-00000-of-00001.tfrecord"
CONFIG_FILE = "eval_config.json"

MEAN_ATTRIBUTIONS = "mean_attributions"
MEAN_ABSOLUTE_ATTRIBUTIONS = "mean_absolute_attributions"
TOTAL_ATTRIBUTIONS = "total_attributions"
TOTAL_ABSOLUTE_ATTRIBUTIONS = "total_absolute_attributions"
"""TFMA's names of attribution metrics; any other name is loaded and shown as well."""

EXAMPLE_COUNT = "example_count"
WEIGHTED_EXAMPLE_COUNT = "weighted_example_count"
"""The metric that TFMA's viewer sizes slices by; the weighted one when the EvalConfig names an example weight."""


@dataclasses.dataclass(frozen=True)
class SliceResult:
    """What one slice has to show.

    Attributes:
      key: the slice; `()` is overall.
      metrics: by metric's name. `example_count` should be among them, see EXAMPLE_COUNT.
      attributions: by attribution metric's name, then by feature.
    """

    key: SliceKey
    metrics: Mapping[str, Measured]
    attributions: Mapping[str, Mapping[FeatureName, Measured]] = dataclasses.field(default_factory=dict)


def write_eval_result(
    folder: str,
    eval_config: config_pb2.EvalConfig | None,
    model_location: str,
    slices: Iterable[SliceResult],
    write: Callable[[str, bytes], None],
    *,
    data_location: str = "",
) -> dict[str, int]:
    """Writes what `tfma.load_eval_result` reads: metrics, attributions and the configuration.

    Records are sorted by slice, features and metrics by name, so the bytes do not depend on the order of `slices`.
    Numbers that are not finite are left out; one without a finite interval is written without it. Slices with nothing
    left have no record: TFMA reads an empty one back as None, on which its views fail. All numbers belong to one model
    output (of several classes to one target): no keys of classes are written.

    Args:
      folder: path below the artifact. It should hold nothing else: TFMA finds its files by how their names begin.
      eval_config: the configuration that the slices come from, or None for a minimal one of the slices' columns.
      model_location: shown by viewers; it enters the bytes.
      slices: each key once.
      write: takes a path below the artifact and its bytes.
      data_location: shown by viewers; it enters the bytes.

    Returns:
      Records of each file by its path.

    Raises:
      ValueError: two slices have one key as TFMA writes keys.
    """
    by_key = {}
    for result in slices:
        typed = typed_key(result.key)
        if typed in by_key:
            raise ValueError(f"slices must have different keys. Received twice: {slice_name(result.key)}")
        by_key[typed] = result
    ordered = [by_key[key] for key in sorted(by_key, key=_order)]
    metrics = [m for m in map(_metrics_record, ordered) if m.metric_keys_and_values]
    attributions = [a for a in map(_attributions_record, ordered) if a.attributions_keys_and_values]
    config = eval_config if eval_config is not None else minimal_eval_config(r.key for r in ordered)
    paths = [posixpath.join(folder, name) for name in (METRICS_FILE, ATTRIBUTIONS_FILE, CONFIG_FILE)]
    write(paths[0], _tfrecords(metrics))
    write(paths[1], _tfrecords(attributions))
    write(paths[2], _config_json(config, model_location, data_location))
    return dict(zip(paths, (len(metrics), len(attributions), 1), strict=True))


def minimal_eval_config(keys: Iterable[SliceKey]) -> config_pb2.EvalConfig:
    """An EvalConfig with one model, its count of examples, and one slicing spec for each set of columns in `keys`."""
    columns = sorted({tuple(column for column, _ in key) for key in keys} | {()})
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec()],
        slicing_specs=[config_pb2.SlicingSpec(feature_keys=names) for names in columns],
        metrics_specs=[config_pb2.MetricsSpec(metrics=[config_pb2.MetricConfig(class_name="ExampleCount")])],
    )


def _order(key: tuple) -> tuple:
    """Overall first, then slices of the same columns together; numbers before text."""
    columns = tuple(column for column, _, _ in key)
    return len(key), columns, tuple((kind, value) for _, kind, value in key)


def _metrics_record(result: SliceResult) -> metrics_for_slice_pb2.MetricsForSlice:
    record = metrics_for_slice_pb2.MetricsForSlice(slice_key=slicer_lib.serialize_slice_key(plain_key(result.key)))
    for name in sorted(result.metrics):
        measured = result.metrics[name]
        if not np.isfinite(measured.value):
            continue
        added = record.metric_keys_and_values.add()
        added.key.CopyFrom(metric_types.MetricKey(name=name).to_proto())
        added.value.double_value.value = measured.value
        if _has_interval(measured):
            added.confidence_interval.lower_bound.double_value.value = measured.low
            added.confidence_interval.upper_bound.double_value.value = measured.high
    return record


def _attributions_record(result: SliceResult) -> metrics_for_slice_pb2.AttributionsForSlice:
    record = metrics_for_slice_pb2.AttributionsForSlice(slice_key=slicer_lib.serialize_slice_key(plain_key(result.key)))
    for name in sorted(result.attributions):
        known = {f: m for f, m in sorted(result.attributions[name].items()) if np.isfinite(m.value)}
        if not known:
            continue
        added = record.attributions_keys_and_values.add()
        added.key.CopyFrom(metric_types.AttributionsKey(name=name).to_proto())
        for feature, measured in known.items():
            # Attributions have no field for an interval beside the value, only this one.
            if _has_interval(measured):
                bounded = added.values[feature].bounded_value
                bounded.value.value = measured.value
                bounded.lower_bound.value, bounded.upper_bound.value = measured.low, measured.high
            else:
                added.values[feature].double_value.value = measured.value
    return record


def _has_interval(measured: Measured) -> bool:
    return bool(np.isfinite(measured.low) and np.isfinite(measured.high))


def _tfrecords(messages: Sequence) -> bytes:
    """TFRecords of the messages; only TensorFlow's own writer has the checksum in its public interface."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "records")
        with tf.io.TFRecordWriter(path) as writer:
            for message in messages:
                writer.write(message.SerializeToString(deterministic=True))
        with open(path, "rb") as file:
            return file.read()


def _config_json(config: config_pb2.EvalConfig, model_location: str, data_location: str) -> bytes:
    run = config_pb2.EvalRun(
        eval_config=config,
        version=tfma.__version__,
        data_location=data_location,
        file_format="tfrecord" if data_location else "",
        model_locations={"": model_location},
    )
    return json.dumps(json_format.MessageToDict(run), sort_keys=True, indent=1).encode()
