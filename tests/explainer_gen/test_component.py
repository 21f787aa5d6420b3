import json

import pytest
from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.orchestration import data_types
from tfx.types import standard_artifacts

from tfx_explain import ConfigError, ExplainConfig, ExplainerGen
from tfx_explain.artifacts.properties import engine_version
from tfx_explain.artifacts.types import AttributionReference, ModelAttributions

pytestmark = pytest.mark.tf


def channel(artifact_type):
    return types.Channel(type=artifact_type)


def make(**kwargs):
    return ExplainerGen(
        **{"model": channel(standard_artifacts.Model), "examples": channel(standard_artifacts.Examples), **kwargs}
    )


def test_inputs_and_outputs():
    component = make()
    assert set(component.inputs) == {"model", "examples"}
    assert {key: c.type for key, c in component.outputs.items()} == {"attributions": ModelAttributions}
    optional = {
        "schema": standard_artifacts.Schema,
        "statistics": standard_artifacts.ExampleStatistics,
        "evaluation": standard_artifacts.ModelEvaluation,
        "model_blessing": standard_artifacts.ModelBlessing,
        "reference": AttributionReference,
    }
    component = make(**{key: channel(t) for key, t in optional.items()})
    assert {key: c.type for key, c in component.inputs.items() if key in optional} == optional


@pytest.mark.parametrize("given", ["nothing", "dict", "object", "yaml", "json"])
def test_the_config_is_inlined_as_canonical_json(given, tmp_path):
    settings = {} if given == "nothing" else {"splits": ["test"], "seed": 3}
    path = tmp_path / "explain.cfg"
    path.write_text(json.dumps(settings) if given == "json" else "splits: [test]\nseed: 3\n")
    config = {
        "nothing": None,
        "dict": settings,
        "object": ExplainConfig(**settings),
        "yaml": path,
        "json": str(path),
    }[given]
    properties = make(explain_config=config).exec_properties
    path.unlink()
    assert properties == {
        "explain_config": ExplainConfig(**settings).to_json(),
        "engine_version": engine_version(),
    }


def test_overrides_may_be_ints_or_runtime_parameters():
    limit = data_types.RuntimeParameter(name="rows", ptype=int, default=100)
    properties = make(max_examples=limit, seed=0).exec_properties
    assert properties["max_examples"] is limit
    assert properties["seed"] == 0
    assert make(seed=data_types.RuntimeParameter(name="seed", ptype=int)).exec_properties["seed"].default is None


@pytest.mark.parametrize(
    ("kwargs", "error", "sentence"),
    [
        ({"max_examples": 0}, ValueError, "max_examples must be >= 1. Received: max_examples=0"),
        ({"seed": -1}, ValueError, "seed must be >= 0. Received: seed=-1"),
        ({"seed": 1.5}, TypeError, "seed must be an int or a RuntimeParameter. Received: seed=1.5"),
        ({"max_examples": True}, TypeError, "max_examples must be an int"),
        (
            {"max_examples": data_types.RuntimeParameter(name="rows", ptype=str, default="9")},
            TypeError,
            "max_examples must be a RuntimeParameter with ptype=int. Received: ptype=str",
        ),
        (
            {"max_examples": data_types.RuntimeParameter(name="rows", ptype=int, default=0)},
            ValueError,
            "max_examples must be >= 1. Received: max_examples=0",
        ),
        ({"explain_config": {"num_steps": 5}}, ConfigError, "num_steps: 'num_steps' is no setting"),
        ({"explain_config": "/nowhere/explain.yaml"}, ConfigError, "cannot read '/nowhere/explain.yaml'"),
        (
            {"model": channel(standard_artifacts.Examples)},
            TypeError,
            "Argument model should be a Channel of type .*Model",
        ),
        ({"model": "path/of/a/model"}, TypeError, "Argument model should be a Channel of type .*Model"),
        (
            {"schema": channel(standard_artifacts.Model)},
            TypeError,
            "Argument schema should be a Channel of type .*Schema",
        ),
    ],
)
def test_wrong_arguments_are_refused_by_name(kwargs, error, sentence):
    with pytest.raises(error, match=sentence):
        make(**kwargs)


def test_id_and_beam_arguments():
    component = make().with_id("ExplainerGen.eu").with_beam_pipeline_args(["--direct_num_workers=2"])
    assert component.id == "ExplainerGen.eu"
    assert isinstance(component.executor_spec, executor_spec.BeamExecutorSpec)
    assert component.executor_spec.beam_pipeline_args == ["--direct_num_workers=2"]
    assert make().executor_spec.beam_pipeline_args == []
    assert component.outputs["attributions"].producer_component_id == "ExplainerGen.eu"
