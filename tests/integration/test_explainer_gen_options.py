"""ExplainerGen alone in a pipeline, with an id, Beam options and a number of rows of its own."""

import pytest
from tests.integration import small_pipeline as small
from tfx.orchestration import data_types

from tfx_explain import ExplainerGen
from tfx_explain.artifacts import properties

pytestmark = [pytest.mark.tf, pytest.mark.pipeline]

NODE_ID = "Explain.eval"
ROWS = 200


@pytest.fixture(scope="module")
def run(task, tmp_path_factory):
    trainer, example_gen = small.importers(task, "honest_1")
    explainer_gen = ExplainerGen(
        model=trainer.outputs["result"],
        examples=example_gen.outputs["result"],
        max_examples=data_types.RuntimeParameter(name="max_examples", ptype=int, default=ROWS),
    )
    explainer_gen = explainer_gen.with_id(NODE_ID).with_beam_pipeline_args([small.RUNNER])
    store = small.Store(tmp_path_factory.mktemp("store"))
    # The pipeline's own runner does not exist: only with the component's does the job run.
    return store.run([trainer, example_gen, explainer_gen], beam_pipeline_args=["--runner=no.such.Runner"])


def test_its_own_id_and_beam_options_hold(run):
    assert run.state(NODE_ID) == "COMPLETE"
    assert set(run.executions) == {"Trainer", "ExampleGen", NODE_ID}


def test_the_runtime_parameters_default_limits_the_rows(run):
    (attributions,) = run.wrote(NODE_ID, "attributions")
    assert attributions.custom_properties[properties.STATUS].string_value == properties.STATUS_EXPLAINED
    assert attributions.custom_properties[properties.ROWS].int_value == ROWS
