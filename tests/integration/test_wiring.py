"""The gate put into a plain list of nodes, and the options of ExplainerGen, at their real work."""

import datetime

import pytest
from tests.integration import small_pipeline as small
from tfx.orchestration import data_types

from tfx_explain import GATE_NODE_ID, ExplainerGen, add_attribution_gate
from tfx_explain.artifacts import properties

pytestmark = [pytest.mark.tf, pytest.mark.pipeline]

POLICY = {
    "without_reference": {"absolute_checks_decide": {"until": datetime.date.today() + datetime.timedelta(days=30)}}
}
REFUSED_BY = {"new_features", "total_scale"}


def _by_hand(task, model, store, blesses=True):
    return small.gated(task, model, store.serving, POLICY, blesses=blesses)


def _inserted(task, model, store, blesses=True):
    return add_attribution_gate(small.ungated(task, model, store.serving, blesses), validation_config=POLICY)


def _story(task, folder, make):
    """A pass, a refusal, and a run that shows what the next one finds."""
    store = small.Store(folder)
    models = (("honest_1", True), ("leaky", True), ("honest_2", False))
    return [store.run(make(task, model, store, blesses)) for model, blesses in models]


def test_an_inserted_gate_does_what_a_hand_wired_one_does(task, tmp_path_factory):
    by_hand, inserted = (_story(task, tmp_path_factory.mktemp("store"), make) for make in (_by_hand, _inserted))
    passed, refused, after = inserted
    assert passed.passed and passed.pushed
    assert passed.new_reference == ["honest_1"]
    assert refused.blocked_by == REFUSED_BY
    assert not refused.passed and not refused.pushed
    assert after.baseline == ["honest_1"]
    assert after.reference == ["honest_1"]

    for mine, theirs in zip(inserted, by_hand, strict=True):
        assert set(mine.executions) == set(theirs.executions)
        for fact in ("states", "passed", "pushed", "baseline", "reference", "new_reference"):
            assert getattr(mine, fact) == getattr(theirs, fact), fact
        assert mine.anomalies["results"] == theirs.anomalies["results"]


@pytest.fixture(scope="module")
def alone(task, tmp_path_factory):
    """ExplainerGen under another id, with Beam options of its own and a number that is given when the run starts."""
    trainer, example_gen = small.importers(task, "honest_1")
    explainer_gen = ExplainerGen(
        model=trainer.outputs["result"],
        examples=example_gen.outputs["result"],
        max_examples=data_types.RuntimeParameter(name="max_examples", ptype=int, default=200),
    )
    explainer_gen = explainer_gen.with_id("Explain.on_eval").with_beam_pipeline_args([small.RUNNER])
    # The pipeline's own runner does not exist: only with the component's does the job run.
    store = small.Store(tmp_path_factory.mktemp("store"))
    return store.run([trainer, example_gen, explainer_gen], beam_pipeline_args=["--runner=no.such.Runner"])


def test_beam_options_and_id_of_one_component_hold(alone):
    assert alone.state("Explain.on_eval") == "COMPLETE"
    assert GATE_NODE_ID not in alone.executions


def test_a_runtime_parameter_limits_the_rows(alone):
    (attributions,) = alone.wrote("Explain.on_eval", "attributions")
    assert attributions.custom_properties[properties.STATUS].string_value == properties.STATUS_EXPLAINED
    assert attributions.custom_properties[properties.ROWS].int_value == 200
