"""Evaluator's files, written by TFMA's own code, as we read them."""

import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.api.types import ValueWithTDistribution
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2
from tensorflow_model_analysis.writers.metrics_plots_and_validations_writer import convert_slice_metrics_to_proto

from tfx_explain.engine.aggregates.intervals import Measured
from tfx_explain.explainer_gen.evaluator_metrics import EvaluatorResultError, join_slices, read_evaluator_metrics

pytestmark = pytest.mark.tf

Key = tfma.metrics.MetricKey
CITY = (("city", "a"),)


def write(folder: Path, slices, models=None):
    records = [convert_slice_metrics_to_proto(item, None) for item in slices]
    with tf.io.TFRecordWriter(str(folder / "metrics-00000-of-00001.tfrecord")) as writer:
        for record in records:
            writer.write(record.SerializeToString())
    if models is not None:
        specs = [config_pb2.ModelSpec(name=name, is_baseline=baseline) for name, baseline in models.items()]
        run = config_pb2.EvalRun(eval_config=config_pb2.EvalConfig(model_specs=specs), version="1")
        (folder / "eval_config.json").write_text(json_format.MessageToJson(run))
    return str(folder)


def without_interval(measured):
    return measured.value if math.isnan(measured.low) and math.isnan(measured.high) else None


def test_numbers_and_intervals(tmp_path):
    bounded = metrics_for_slice_pb2.BoundedValue()
    bounded.value.value, bounded.lower_bound.value, bounded.upper_bound.value = 0.5, 0.25, 0.75
    sampled = ValueWithTDistribution(2.0, 1.0, 19, 2.5)
    uri = write(
        tmp_path,
        [((), {Key("auc"): 0.75, Key("loss"): bounded, Key("mean"): sampled}), (CITY, {Key("auc"): np.float32(0.5)})],
    )
    got = read_evaluator_metrics(uri)
    assert got.slices.keys() == {(), CITY}
    overall = got.slices[()]
    assert without_interval(overall["auc"]) == 0.75
    assert overall["loss"] == Measured(0.5, 0.25, 0.75)
    # TFMA: the mean of the samples +- t(0.975, 19) standard errors, about the unsampled value
    assert overall["mean"].value == 2.5
    assert overall["mean"].high - overall["mean"].low == pytest.approx(2 * 2.093024, abs=1e-5)
    assert without_interval(got.slices[CITY]["auc"]) == 0.5
    assert got.skipped == {}


def test_values_of_older_shapes_are_read(tmp_path):
    record = metrics_for_slice_pb2.MetricsForSlice()
    for name in ("bounded", "sampled"):
        record.metric_keys_and_values.add().key.name = name
    bounded = record.metric_keys_and_values[0].value.bounded_value
    bounded.value.value, bounded.lower_bound.value, bounded.upper_bound.value = 0.5, 0.25, 0.75
    record.metric_keys_and_values[1].value.t_distribution_value.unsampled_value.value = 3.0
    with tf.io.TFRecordWriter(str(tmp_path / "metrics")) as writer:
        writer.write(record.SerializeToString())
    overall = read_evaluator_metrics(str(tmp_path)).slices[()]
    assert overall["bounded"] == Measured(0.5, 0.25, 0.75)
    assert without_interval(overall["sampled"]) == 3.0


def test_only_the_candidate_is_read(tmp_path):
    metrics = {
        Key("auc", model_name="candidate"): 0.75,
        Key("auc", model_name="baseline"): 0.5,
        Key("auc", model_name="candidate", is_diff=True): 0.25,
        Key("example_count"): 10.0,
    }
    uri = write(tmp_path, [((), metrics)], {"candidate": False, "baseline": True})
    got = read_evaluator_metrics(uri)
    assert {k: v.value for k, v in got.slices[()].items()} == {"auc": 0.75, "example_count": 10.0}
    assert got.skipped == {"another model or the difference to it": 2}


def test_what_is_no_number_of_the_whole_output_is_counted(tmp_path):
    metrics = {
        Key("auc", output_name="one"): 0.75,
        Key("auc", output_name="two"): 0.5,
        Key("precision", sub_key=tfma.metrics.SubKey(class_id=0)): 0.5,
        Key("recall", aggregation_type=metric_types.AggregationType(micro_average=True)): 0.5,
        Key("text"): "words",
        Key("array"): np.zeros(3),
    }
    slices = [((), metrics), ((CITY, ()), {Key("auc"): 0.1}), (CITY, {"__ERROR__": "Example count is lower"})]
    got = read_evaluator_metrics(write(tmp_path, slices), output_name="one")
    assert {k: {n: m.value for n, m in v.items()} for k, v in got.slices.items()} == {(): {"auc": 0.75}}
    assert got.skipped == {
        "cross-slice comparison": 1,
        "slice that TFMA refused (too few examples)": 1,
        "another output of the model": 1,
        "one class or an aggregate over classes": 2,
        "not a number": 2,
    }


@pytest.mark.parametrize("order", [1, -1])
def test_the_weighted_one_of_two_is_taken(tmp_path, order):
    metrics = [(Key("auc", example_weighted=True), 0.75), (Key("auc", example_weighted=False), 0.5)][::order]
    records = [convert_slice_metrics_to_proto(((), {key: value}), None) for key, value in metrics]
    records[0].MergeFrom(records[1])
    with tf.io.TFRecordWriter(str(tmp_path / "metrics.tfrecord")) as writer:
        writer.write(records[0].SerializeToString())
    got = read_evaluator_metrics(str(tmp_path))
    assert got.slices[()]["auc"].value == 0.75
    assert got.skipped == {"the same metric without example weights": 1}


def test_two_candidates_or_no_metrics_are_refused(tmp_path):
    with pytest.raises(EvaluatorResultError, match="an evaluation must hold metrics. Received: none at"):
        read_evaluator_metrics(str(tmp_path))
    uri = write(tmp_path, [((), {Key("auc", model_name="a"): 1.0, Key("auc", model_name="b"): 0.5})])
    with pytest.raises(EvaluatorResultError, match=r"one model besides the baseline. Received: \['a', 'b'\]"):
        read_evaluator_metrics(uri)


def test_slices_are_joined_by_type_and_value():
    ours = [(), (("hour", 1),), (("x", 0.1),), (("hour", "2"),)]
    theirs = [(("hour", 2),), (("x", float(np.float32(0.1))),), (("hour", 1.0),), ()]
    joined = join_slices(ours, theirs)
    assert joined.matched == (((), ()), ((("x", 0.1),), (("x", float(np.float32(0.1))),)))
    assert [[(c, type(v)) for c, v in key] for key in joined.only_ours] == [[("hour", int)], [("hour", str)]]
    assert [[(c, type(v)) for c, v in key] for key in joined.only_evaluators] == [[("hour", float)], [("hour", int)]]
