import json
from pathlib import Path

import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.proto import config_pb2

from tfx_explain.explainer_gen.eval_config import FIELDS, EvaluationSettings, read_eval_config, table_markdown
from tfx_explain.explainer_gen.slicing import Slicing

pytestmark = pytest.mark.tf

PAGE = Path(__file__).resolve().parents[2] / "docs" / "eval_config.md"


def fields_of(descriptor, seen):
    """`Message.field` of all that a message holds; entries of maps and Google's wrappers are no messages of TFMA's."""
    if descriptor.full_name in seen or not descriptor.full_name.startswith("tensorflow_model_analysis."):
        return
    seen.add(descriptor.full_name)
    for field in descriptor.fields:
        if not descriptor.GetOptions().map_entry:
            yield f"{descriptor.name}.{field.name}"
        if field.message_type is not None:
            yield from fields_of(field.message_type, seen)


def config_of(**fields):
    return json_format.ParseDict(fields, config_pb2.EvalConfig())


def test_every_field_of_tfma_has_an_entry():
    walked = set(fields_of(config_pb2.EvalConfig.DESCRIPTOR, set()))
    assert {"EvalConfig.model_specs", "GenericChangeThreshold.direction", "Options.min_slice_size"} <= walked
    assert walked == set(FIELDS)
    assert {status for status, _ in FIELDS.values()} == {"supported", "not ours", "refused"}


REFUSED = {
    "ModelSpec.padding_options": {"padding_options": {}},
    "PaddingOptions.label_int_padding": {"padding_options": {"label_int_padding": 0}},
    "PaddingOptions.label_float_padding": {"padding_options": {"label_float_padding": 1.5}},
    "PaddingOptions.prediction_int_padding": {"padding_options": {"prediction_int_padding": -1}},
    "PaddingOptions.prediction_float_padding": {"padding_options": {"prediction_float_padding": 0.0}},
}


def test_every_refused_field_is_tried():
    assert set(REFUSED) == {name for name, (status, _) in FIELDS.items() if status == "refused"}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_fields_are_refused_by_name(name):
    (sentence,) = EvaluationSettings.of(config_of(model_specs=[REFUSED[name]])).unsupported
    field = name.removeprefix("PaddingOptions.").removeprefix("ModelSpec.")
    path = "padding_options" if field == "padding_options" else f"padding_options.{field}"
    assert sentence.startswith(f"model_specs.{path} must not be set")


@pytest.mark.parametrize(
    ("fields", "start"),
    [
        ({"model_specs": [{"model_type": "tf_lite"}]}, "model_specs.model_type must"),
        (
            {"model_specs": [{"preprocessing_function_names": ["_identity@a"]}]},
            "model_specs.preprocessing_function_names must",
        ),
        ({"model_specs": [{"name": "a"}, {"name": "b"}]}, "model_specs must have one model"),
        ({"model_specs": [{"is_baseline": True}]}, "model_specs must have a model"),
        ({"model_specs": [{"label_keys": {"o": "l", "p": "m"}}]}, "model_specs.label_keys must name one output"),
        ({"model_specs": [{"label_key": "l", "label_keys": {"o": "l"}}]}, "model_specs must set label_key or"),
        (
            {"cross_slicing_specs": [{"baseline_spec": {"slice_keys_sql": "SELECT 1"}}]},
            "cross_slicing_specs.baseline_spec.slice_keys_sql must",
        ),
        (
            {"cross_slicing_specs": [{"slicing_specs": [{"slice_keys_sql": "SELECT 1"}]}]},
            "cross_slicing_specs.slicing_specs.slice_keys_sql must",
        ),
    ],
)
def test_settings_that_are_refused_in_part_are_named(fields, start):
    (sentence,) = EvaluationSettings.of(config_of(**fields)).unsupported
    assert sentence.startswith(start)
    assert "Received" in sentence or "is taken" in sentence


def test_settings_of_a_common_configuration():
    config = config_of(
        model_specs=[
            {
                "model_type": "tf_keras",
                "signature_name": "serving_default",
                "label_key": "tips",
                "example_weight_key": "weight",
                "prediction_key": "probabilities",
                "preprocessing_function_names": ["transform_features"],
            }
        ],
        slicing_specs=[{}, {"feature_keys": ["trip_start_hour"]}, {"slice_keys_sql": "SELECT STRUCT(1 AS a)"}],
        metrics_specs=[{"metrics": [{"class_name": "AUC", "threshold": {"value_threshold": {"lower_bound": 0.5}}}]}],
        options={"min_slice_size": 20, "compute_confidence_intervals": True},
    )
    assert EvaluationSettings.of(config) == EvaluationSettings(
        slicing=Slicing(
            specs=((("trip_start_hour",), ()),),
            sql=("SELECT STRUCT(1 AS a)",),
            preprocessing_functions=("transform_features",),
        ),
        label_key="tips",
        example_weight_key="weight",
        prediction_key="probabilities",
        preprocessing_functions=("transform_features",),
        model_name="",
        signature_name="serving_default",
        output_name=None,
        min_slice_size=20,
        unsupported=(),
    )


def test_an_empty_configuration_is_the_overall_slice():
    assert EvaluationSettings.of(config_pb2.EvalConfig()) == EvaluationSettings()


def test_the_candidate_is_the_model_that_is_no_baseline():
    config = config_of(
        model_specs=[
            {"name": "baseline", "is_baseline": True, "label_key": "old", "preprocessing_function_names": ["f"]},
            {"name": "candidate", "label_key": "new", "preprocessing_function_names": ["g"]},
        ]
    )
    settings = EvaluationSettings.of(config)
    assert (settings.model_name, settings.label_key, settings.unsupported) == ("candidate", "new", ())
    assert settings.slicing.preprocessing_functions == settings.preprocessing_functions == ("g",)


def test_one_of_several_candidates():
    config = config_of(model_specs=[{"name": "a", "label_key": "l"}, {"name": "b", "label_key": "m"}])
    assert EvaluationSettings.of(config).label_key == "l"
    chosen = EvaluationSettings.of(config, model_name="b")
    assert (chosen.label_key, chosen.model_name, chosen.unsupported) == ("m", "b", ())
    with pytest.raises(ValueError, match=r"\['a', 'b'\]. Received: 'c'"):
        EvaluationSettings.of(config, model_name="c")


def test_keys_of_several_outputs():
    spec = {"label_keys": {"o": "l", "p": "m"}, "example_weight_keys": {"o": "w"}}
    config = config_of(model_specs=[spec])
    unnamed = EvaluationSettings.of(config)
    assert (unnamed.label_key, unnamed.example_weight_key, unnamed.output_name) == (None, None, None)
    named = EvaluationSettings.of(config, output_name="o")
    assert (named.label_key, named.example_weight_key, named.output_name, named.unsupported) == ("l", "w", "o", ())
    other = EvaluationSettings.of(config, output_name="p")
    assert (other.label_key, other.example_weight_key) == ("m", None)
    only = EvaluationSettings.of(config_of(model_specs=[{"label_keys": {"o": "l"}, "prediction_keys": {"o": "s"}}]))
    assert (only.label_key, only.prediction_key, only.output_name, only.unsupported) == ("l", "s", "o", ())


def store(path, config):
    run = config_pb2.EvalRun(eval_config=config, version=tfma.__version__, model_locations={"": "m"})
    (path / "eval_config.json").write_text(json_format.MessageToJson(run))


def test_the_configuration_that_evaluator_stored_is_read(tmp_path):
    assert read_eval_config(str(tmp_path)) is None
    change = {"change_threshold": {"absolute": 0.1}}
    config = config_of(
        model_specs=[{"name": "alone", "label_key": "l"}],
        slicing_specs=[{"feature_keys": ["a"]}],
        metrics_specs=[{"metrics": [{"class_name": "AUC", "threshold": change}]}],
    )
    store(tmp_path, config)
    read = read_eval_config(str(tmp_path))
    assert [m.name for m in read.model_specs] == [""]
    assert EvaluationSettings.of(read).label_key == "l"
    assert read.slicing_specs == config.slicing_specs


def test_the_candidate_keeps_the_name_that_it_has_in_the_result(tmp_path):
    written = tfma.utils.update_eval_config_with_defaults(
        config_of(model_specs=[{"label_key": "l"}]), has_baseline=True, rubber_stamp=True
    )
    store(tmp_path, written)
    assert EvaluationSettings.of(read_eval_config(str(tmp_path))).model_name == tfma.CANDIDATE_KEY


def test_the_page_is_the_table():
    assert PAGE.read_text(encoding="utf-8") == table_markdown()
    for name, (status, sentence) in FIELDS.items():
        assert f"| `{name.split('.')[1]}` | {status} | {sentence} |" in table_markdown()
    assert "|" not in json.dumps([sentence for _, sentence in FIELDS.values()])
