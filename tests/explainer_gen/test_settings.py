"""What a job measures by: ExplainConfig first, else Evaluator's configuration, else nothing."""

import json
from pathlib import Path

import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers.metrics_plots_and_validations_writer import convert_slice_metrics_to_proto
from tests.engine.feature_graph.small_models import columns, save

from tfx_explain.config import ExplainConfig, Label
from tfx_explain.explainer_gen.evaluator_differs import evaluator_differs
from tfx_explain.explainer_gen.evaluator_metrics import EvaluatorResultError
from tfx_explain.explainer_gen.labels import Source
from tfx_explain.explainer_gen.run import Request, run
from tfx_explain.explainer_gen.settings import SettingsError, resolve

pytestmark = pytest.mark.tf

TFMAS = ("transformed_features", "transformed_labels")


def evaluation(folder: Path, metrics=True, **spec) -> str:
    """Evaluator's result with one model spec and the slices of `city`."""
    folder.mkdir()
    eval_config = config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(**spec)],
        slicing_specs=[config_pb2.SlicingSpec(), config_pb2.SlicingSpec(feature_keys=["city"])],
    )
    eval_run = config_pb2.EvalRun(eval_config=eval_config, version="1")
    (folder / "eval_config.json").write_text(json_format.MessageToJson(eval_run))
    if metrics:
        record = convert_slice_metrics_to_proto(((), {tfma.metrics.MetricKey("auc"): 0.75}), None)
        with tf.io.TFRecordWriter(str(folder / "metrics-00000-of-00001.tfrecord")) as writer:
            writer.write(record.SerializeToString())
    return str(folder)


def test_without_an_evaluation_the_configuration_decides():
    nothing = resolve(ExplainConfig(), None)
    assert (nothing.label, nothing.example_weight, nothing.evaluation) == (None, None, None)
    assert nothing.slicing.specs == () and nothing.slicing.sql == ()
    config = ExplainConfig(
        label=Label(key="y"),
        example_weight_key="w",
        slices={
            "specs": [
                {"feature_keys": ["b", "a"], "feature_values": {"c": 3}},
                {"slice_keys_sql": "SELECT STRUCT(a) FROM example"},
            ]
        },
        required_slices=[{"feature_values": {"d": 1, "c": "x"}}],
    )
    settings = resolve(config, None)
    assert settings.label == Source("y") and settings.example_weight == Source("w")
    # Required slices are added.
    assert settings.slicing.specs == ((("a", "b"), (("c", "3"),)), ((), (("c", "x"), ("d", "1"))))
    assert settings.slicing.sql == ("SELECT STRUCT(a) FROM example",)


def test_a_preprocessing_function_gives_labels_weights_and_slices():
    config = ExplainConfig(
        label=Label(key="y_xf", preprocessing_function="transform_features"),
        example_weight_key="w_xf",
        slices={"specs": [{"feature_keys": ["bucket"]}]},
    )
    settings = resolve(config, None)
    assert settings.label == Source("y_xf", ("transform_features",), transformed=True)
    assert settings.example_weight == Source("w_xf", ("transform_features",))
    assert settings.slicing.preprocessing_functions == ("transform_features",)


def test_an_evaluation_gives_slices_label_and_weight(tmp_path):
    uri = evaluation(tmp_path / "e", label_key="y", example_weight_key="w")
    config = ExplainConfig(
        slices={"specs": [{"feature_keys": ["hour"]}]}, required_slices=[{"feature_values": {"city": "x"}}]
    )
    settings = resolve(config, uri)
    assert settings.slicing.specs == ((("city",), ()), ((), (("city", "x"),)))
    # Where the spec names no function, TFMA looks into those of its own names, where the model has them.
    assert settings.label == Source("y", TFMAS, optional=True)
    assert settings.example_weight == Source("w", TFMAS, optional=True)
    assert settings.evaluation.metrics.slices[()]["auc"].value == 0.75
    assert settings.evaluation.config.model_specs[0].label_key == "y"


def test_what_the_configuration_says_goes_first(tmp_path):
    uri = evaluation(
        tmp_path / "e", label_key="y", example_weight_key="w", preprocessing_function_names=["transform_features"]
    )
    theirs = resolve(ExplainConfig(), uri)
    assert theirs.label == Source("y", ("transform_features",))
    assert theirs.slicing.preprocessing_functions == ("transform_features",)
    ours = resolve(ExplainConfig(label=Label(key="own"), example_weight_key="mine"), uri)
    assert ours.label == Source("own")
    assert ours.example_weight == Source("mine", ("transform_features",))


def test_what_is_measured_by_can_be_told_apart(tmp_path):
    uri = evaluation(tmp_path / "e", label_key="y")
    base = resolve(ExplainConfig(label=Label(key="y")), None)
    assert base.measured_by == resolve(ExplainConfig(label=Label(key="y")), None).measured_by
    others = [
        resolve(ExplainConfig(label=Label(key="z")), None),
        resolve(ExplainConfig(label=Label(key="y"), example_weight_key="w"), None),
        resolve(ExplainConfig(label=Label(key="y"), slices={"specs": [{"feature_keys": ["a"]}]}), None),
        resolve(ExplainConfig(), uri),
    ]
    assert len({s.measured_by for s in [base, *others]}) == 5


def test_fields_that_are_not_supported_are_named(tmp_path):
    padding = config_pb2.PaddingOptions(label_int_padding=-1)
    uri = evaluation(tmp_path / "e", label_key="y", padding_options=padding)
    with pytest.raises(SettingsError, match="not supported: model_specs.padding_options.label_int_padding"):
        resolve(ExplainConfig(), uri)
    with pytest.raises(SettingsError, match="model_specs.model_type must be tf_generic or tf_keras. Received: 'tf_js'"):
        resolve(ExplainConfig(), evaluation(tmp_path / "f", model_type="tf_js"))
    with pytest.raises(EvaluatorResultError, match="must hold metrics"):
        resolve(ExplainConfig(), evaluation(tmp_path / "g", metrics=False))


def differing(folder, output="outputs", chosen=None, **spec):
    config = resolve(ExplainConfig(), evaluation(folder, label_key="y", **spec)).evaluation.config
    return list(evaluator_differs(config, chosen or ExplainConfig(), output))


def test_another_signature_or_output_than_evaluators_is_told_with_both_names(tmp_path):
    (sentence,) = differing(tmp_path / "a", signature_name="serving_raw")
    assert "another signature" in sentence and "'serving_raw'" in sentence and "'serving_default'" in sentence
    (sentence,) = differing(tmp_path / "b", chosen=ExplainConfig(signature="mine"))
    assert "none, so TFMA's default, 'predict' or 'serving_default'; explained is 'mine'" in sentence
    (sentence,) = differing(tmp_path / "c", prediction_key="scores")
    assert "another output" in sentence and "'scores'" in sentence and "'outputs'" in sentence
    assert differing(tmp_path / "d", signature_name="serving_default", prediction_key="outputs") == []
    assert differing(tmp_path / "f") == []
    assert differing(tmp_path / "g", signature_name="mine", chosen=ExplainConfig(signature="mine")) == []


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"model_type": "tf_lite"}, "model_specs.model_type must be tf_generic or tf_keras. Received: 'tf_lite'"),
        ({"preprocessing_function_names": ["f@x"]}, "model_specs.preprocessing_function_names must be signatures"),
    ],
)
def test_a_refused_evaluation_ends_before_the_job_with_its_name(tmp_path, spec, reason):
    model = save(tmp_path / "model", lambda parsed, _: {"outputs": tf.reduce_sum(columns(parsed), 1, keepdims=True)})

    def never():
        pytest.fail("a job was started")

    request = Request(
        output=str(tmp_path / "out"),
        model_uri="the model",
        serving_path=model,
        patterns=[],
        config=ExplainConfig(),
        evaluation=evaluation(tmp_path / "e", **spec),
    )
    summary = run(request, never)
    assert summary["status"] == "not_explained"
    assert reason in summary["reason"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["reason"] == summary["reason"]
