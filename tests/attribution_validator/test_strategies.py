import datetime

import pytest
import toy_pipeline as toy
from tfx import types
from tfx.dsl.components.common import resolver
from tfx.types import standard_artifacts

from tfx_explain import GATE_NODE_ID, LatestGatedModel, LatestReference, add_attribution_gate
from tfx_explain.artifacts.types import AttributionReference
from tfx_explain.attribution_validator import executor

pytestmark = [pytest.mark.tf, pytest.mark.pipeline]

LOOSE = {"checks": {"max_share": {"threshold": 0.9}}}
STRICT = {"checks": {"max_share": {"threshold": 0.5}}}


@pytest.fixture
def store(tmp_path):
    return toy.Store(tmp_path)


def gated(share, policy=STRICT, blesses=True, **kwargs):
    return add_attribution_gate(toy.ungated(share, blesses), validation_config=policy, **kwargs)


def baseline(store):
    return store.shares(store.read("Evaluator", "baseline_model"))


def test_a_first_run_finds_nothing_and_no_execution_fails(store):
    states = store.run(gated(0.3))
    assert "FAILED" not in states.values()
    assert baseline(store) == []
    assert store.read("ExplainerGen", "reference") == []
    assert store.newest_reference() == [0.3]


def test_a_refused_model_is_neither_baseline_nor_reference(store):
    for share in (0.3, 0.8, 0.8):
        store.run(gated(share))
    assert store.wrote("Pusher", "pushed_model")[0].custom_properties["pushed"].int_value == 0
    store.run(gated(0.4))
    assert baseline(store) == [0.3]
    assert store.newest_reference() == [0.3, 0.4]
    assert store.wrote("Pusher", "pushed_model")[0].custom_properties["pushed"].int_value == 1


def test_a_refused_model_pushed_by_hand_is_no_baseline(store):
    store.run(gated(0.3))
    store.run(gated(0.8))
    states = store.run(toy.ungated(0.8))
    assert states["Pusher"] == "COMPLETE"
    assert store.wrote("Pusher", "pushed_model")[0].custom_properties["pushed"].int_value == 1
    store.run(gated(0.4))
    assert baseline(store) == [0.3]
    assert store.newest_reference() == [0.3, 0.4]


def test_a_model_that_only_evaluator_saw_after_the_gate_came_is_no_baseline(store):
    store.run(gated(0.8))
    store.run(toy.ungated(0.35))
    store.run(gated(0.4))
    assert baseline(store) == []


def test_a_model_refused_later_is_neither_baseline_nor_reference(store):
    store.run(gated(0.3, LOOSE))
    store.run(gated(0.7, LOOSE))
    assert store.newest_reference() == [0.3, 0.7]
    store.run(gated(0.7, STRICT))
    assert store.newest_reference() == [0.3]
    store.run(gated(0.4, STRICT))
    assert baseline(store) == [0.3]
    assert store.newest_reference() == [0.3, 0.4]


def test_the_newest_verdict_counts_when_a_policy_is_taken_back(store):
    def without_reference(share, policy):
        components = gated(share, policy)
        for node in components:
            if node.id in ("ExplainerGen", GATE_NODE_ID):
                del node.spec.inputs["reference"]
        return store.run(components)

    without_reference(0.7, LOOSE)
    without_reference(0.7, STRICT)
    # No reference that changed stands in the way of the cache: the newest verdict is the oldest artifact.
    assert without_reference(0.7, LOOSE)[GATE_NODE_ID] == "CACHED"
    without_reference(0.4, LOOSE)
    assert baseline(store) == [0.7]


def test_a_cached_pass_is_judged_again_once_an_approval_has_ended(store, monkeypatch):
    approved = [{"name": "a", "reason": "new", "until": "2026-03-31"}]

    def run_on(date):
        monkeypatch.setattr(executor, "today", lambda: datetime.date.fromisoformat(date))
        return store.run(gated(0.3, {**STRICT, "approved_features": approved}))[GATE_NODE_ID]

    assert [run_on("2026-03-30") for _ in range(3)] == ["COMPLETE", "COMPLETE", "CACHED"]  # first a reference is new
    assert run_on("2026-03-31") == "CACHED"
    assert run_on("2026-04-01") == "COMPLETE"


def test_adopting_the_gate_keeps_evaluators_baseline_until_a_model_passes(store):
    store.run(toy.ungated(0.2))
    store.run(toy.ungated(0.6))
    store.run(gated(0.8))
    assert baseline(store) == [0.6]
    store.run(gated(0.85))
    assert baseline(store) == [0.6]
    store.run(gated(0.6))  # Known to Evaluator from before, now judged, and refused.
    store.run(gated(0.4))
    assert baseline(store) == [0.2]
    store.run(gated(0.3))
    assert baseline(store) == [0.4]


def test_a_model_that_evaluator_refused_is_no_baseline(store):
    store.run(gated(0.3))
    store.run(gated(0.4, blesses=False))
    store.run(gated(0.45))
    assert baseline(store) == [0.3]


def test_interleaved_runs_leave_the_model_that_passed(store):
    store.run(gated(0.3))
    toy.DURING_EXPLANATION.append(lambda: store.run(gated(0.4)))
    store.run(gated(0.8))
    assert not toy.DURING_EXPLANATION
    assert store.shares(store.read(GATE_NODE_ID, "model")) == [0.8]
    assert store.newest_reference() == [0.3, 0.4]
    store.run(gated(0.45))
    assert baseline(store) == [0.4]
    assert store.newest_reference() == [0.3, 0.4, 0.45]


def test_references_of_another_pipeline_are_not_found(store):
    store.run(gated(0.3), name="other")
    store.run(gated(0.4))
    assert store.read("ExplainerGen", "reference") == []
    assert baseline(store) == []


@pytest.mark.parametrize(
    ("strategy", "channels"),
    [
        (LatestReference, {"reference": AttributionReference}),
        (LatestGatedModel, {"model": standard_artifacts.Model, "model_blessing": standard_artifacts.ModelBlessing}),
    ],
)
def test_a_misspelt_gate_fails_by_both_names(store, strategy, channels):
    store.run(gated(0.3))
    asking = resolver.Resolver(
        strategy_class=strategy,
        config={"gate_node_id": "AttributionValidatr"},
        **{key: types.Channel(type=artifact_type) for key, artifact_type in channels.items()},
    ).with_id("asking")
    assert store.run([asking])["asking"] == "FAILED"
    found = _input_dict(store, channels)
    with pytest.raises(ValueError, match=r"'AttributionValidatr'.*'AttributionValidator'"):
        strategy(gate_node_id="AttributionValidatr").resolve_artifacts(store.mlmd(), found)
    assert all(strategy(gate_node_id=GATE_NODE_ID).resolve_artifacts(store.mlmd(), found).values())


def _input_dict(store, channels):
    """All artifacts of each type, as TFX's query of a channel gives them."""
    result = {}
    for key, artifact_type in channels.items():
        result[key] = []
        for proto in store.mlmd().get_artifacts_by_type(artifact_type.TYPE_NAME):
            artifact = artifact_type()
            artifact.set_mlmd_artifact(proto)
            result[key].append(artifact)
    return result


@pytest.mark.parametrize("stored", [float, str])
def test_model_ids_that_come_back_as_doubles_or_text_are_understood(store, stored):
    store.run(gated(0.3))
    channels = {"model": standard_artifacts.Model, "model_blessing": standard_artifacts.ModelBlessing}
    found = _input_dict(store, channels)
    (model,) = found["model"]
    model.name = "projects/1/artifacts/7"
    for blessing in found["model_blessing"]:
        value = blessing.mlmd_artifact.custom_properties["current_model_id"]
        if stored is float:
            value.double_value = model.id
        else:
            value.string_value = model.name
    assert LatestGatedModel().resolve_artifacts(store.mlmd(), found)["model"] == [model]


def test_a_blessing_of_another_uri_blesses_nothing(store):
    store.run(gated(0.3))
    channels = {"model": standard_artifacts.Model, "model_blessing": standard_artifacts.ModelBlessing}
    found = _input_dict(store, channels)
    found["model"][0].uri += "/moved"
    assert LatestGatedModel().resolve_artifacts(store.mlmd(), found) == {"model": [], "model_blessing": []}
