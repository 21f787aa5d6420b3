"""ExplainerGen's executor: what it reads from its inputs, and what it refuses by name."""

import json
import logging
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tests.fixtures.artifacts import write_model
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts

from tfx_explain.artifacts.manifest import read_manifest
from tfx_explain.artifacts.types import AttributionReference, ModelAttributions
from tfx_explain.config import ConfigError, ExplainConfig
from tfx_explain.explainer_gen import executor as module
from tfx_explain.explainer_gen.executor import Executor, effective_config, example_patterns

pytestmark = pytest.mark.tf


def examples(folder: Path, splits=("train", "eval"), payload=example_gen_pb2.FORMAT_TF_EXAMPLE, files=("eval",)):
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = json.dumps(list(splits))
    examples_utils.set_payload_format(artifact, payload)
    for split in splits:
        (folder / f"Split-{split}").mkdir(parents=True)
        if split in files:
            (folder / f"Split-{split}" / "data-00000-of-00001.gz").write_bytes(b"")
    return artifact


@pytest.fixture
def inputs(tmp_path):
    model = standard_artifacts.Model()
    model.uri = write_model(tmp_path / "model", "x")
    return {"model": [model], "examples": [examples(tmp_path / "examples")]}


def do(inputs, tmp_path, **config):
    output = ModelAttributions()
    output.uri = str(tmp_path / "attributions")
    properties = {"explain_config": ExplainConfig.make(config).to_json(), "engine_version": "test"}
    Executor().Do(inputs, {"attributions": [output]}, properties)
    return output, read_manifest(output.uri, "ModelAttributions").read_json("summary.json")


def test_overrides_win_over_the_config():
    properties = {"explain_config": ExplainConfig(max_examples=5, seed=1).to_json(), "max_examples": 9, "seed": None}
    assert effective_config(properties) == ExplainConfig(max_examples=9, seed=1)
    with pytest.raises(ConfigError, match="max_examples"):
        effective_config(properties | {"max_examples": 0})


def test_several_artifacts_and_splits_each_give_their_files(tmp_path):
    one = examples(tmp_path / "1", files=("train", "eval"))
    two = examples(tmp_path / "2", files=("eval",))
    got = example_patterns([one, two], ("eval", "train"))
    assert [(i, Path(p).parent.parent.name, Path(p).parent.name) for i, p in got] == [
        (0, "1", "Split-eval"),
        (1, "1", "Split-train"),
        (0, "2", "Split-eval"),
    ]


def test_a_split_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"splits must be among \['train', 'eval'\].*'test'"):
        example_patterns([examples(tmp_path / "e")], ("test",))


def test_of_several_splits_none_may_be_without_files(tmp_path):
    without = [examples(tmp_path / name, files=("eval",)) for name in ("1", "2")]
    with pytest.raises(ConfigError, match="must have files, or be left out. Received: none of 'train' at .*/1.*, .*/2"):
        example_patterns(without, ("eval", "train"))
    assert example_patterns([examples(tmp_path / "3", files=())], ("eval",)) == []  # explains no row, and says so


def test_another_payload_is_refused_by_name(tmp_path):
    artifact = examples(tmp_path / "e", payload=example_gen_pb2.FORMAT_PARQUET)
    with pytest.raises(ConfigError, match="FORMAT_PARQUET"):
        example_patterns([artifact], ("eval",))


def test_a_model_that_evaluator_refused_is_not_explained(inputs, tmp_path, caplog):
    blessing = standard_artifacts.ModelBlessing()
    blessing.set_int_custom_property("blessed", 0)
    output, summary = do(inputs | {"model_blessing": [blessing]}, tmp_path)
    assert summary["status"] == output.get_string_custom_property("status") == "not_explained"
    assert "Evaluator did not bless" in summary["reason"]
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING and r.name == "absl"]
    assert warning == f"ExplainerGen: the model was not explained: {summary['reason']}"


@pytest.mark.parametrize("kind", ["int", "float"])
def test_a_verdict_that_came_back_as_a_double_blesses_as_an_int_does(inputs, tmp_path, kind):
    blessing = standard_artifacts.ModelBlessing()
    getattr(blessing, f"set_{kind}_custom_property")("blessed", 1)
    inputs["model"][0].uri = str(tmp_path / "absent")  # looked for only where Evaluator blessed it
    assert "there is no model" in do(inputs | {"model_blessing": [blessing]}, tmp_path)[1]["reason"]


def test_a_damaged_reference_is_told_and_nothing_is_explained(inputs, tmp_path):
    reference = AttributionReference()
    reference.uri = str(tmp_path / "reference")
    _, summary = do(inputs | {"reference": [reference]}, tmp_path)
    assert summary["status"] == "not_explained"
    assert "never finished" in summary["reason"]


def test_a_missing_model_is_told(inputs, tmp_path):
    inputs["model"][0].uri = str(tmp_path / "absent")
    assert "there is no model" in do(inputs, tmp_path)[1]["reason"]


STATISTICS = """
datasets {
  features { path { step: "fare" } type: FLOAT num_stats { common_stats { max_num_values: 1 } median: 7.5 } }
  features { path { step: "hour" } type: INT num_stats { common_stats { max_num_values: 1 } median: 13.5 } }
  features { path { step: "zone" } type: INT string_stats {
    common_stats { max_num_values: 1 } top_values { value: "17" frequency: 9 } } }
  features { path { step: "company" } type: STRING string_stats {
    common_stats { max_num_values: 1 } top_values { value: "Blue" frequency: 9 } } }
  features { path { step: "tags" } type: STRING string_stats {
    common_stats { max_num_values: 3 } top_values { value: "a" frequency: 9 } } }
  features { path { step: "empty" } type: STRING string_stats { common_stats { max_num_values: 1 } } }
}
"""


def test_statistics_give_medians_and_modes(tmp_path):
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri, artifact.split_names = str(tmp_path), '["train"]'
    (tmp_path / "Split-train").mkdir()
    data = text_format.Parse(STATISTICS, statistics_pb2.DatasetFeatureStatisticsList())
    (tmp_path / "Split-train" / "FeatureStats.pb").write_bytes(data.SerializeToString())
    assert module._statistics_baseline({"statistics": [artifact]}) == {
        "fare": ("f", (7.5,)),
        "hour": ("i", (14,)),
        "zone": ("i", (17,)),
        "company": ("b", (b"Blue",)),
    }
    assert module._statistics_baseline({"statistics": []}) == module._statistics_baseline({}) == {}


def test_ints_are_categories_only_where_the_schema_says_so(tmp_path):
    schema = text_format.Parse(
        """
        feature { name: "zone" type: INT int_domain { is_categorical: true } }
        feature { name: "hour" type: INT int_domain { min: 0 max: 23 } }
        feature { name: "plain" type: INT }
        feature { name: "word" type: BYTES domain: "words" }
        string_domain { name: "words" value: "a" }
        """,
        schema_pb2.Schema(),
    )
    (tmp_path / "schema.pbtxt").write_text(text_format.MessageToString(schema))
    artifact = standard_artifacts.Schema()
    artifact.uri = str(tmp_path)
    assert module._categorical_ints({"schema": [artifact]}) == {"zone"}
