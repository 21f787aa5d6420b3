import datetime

import pytest
from tfx import types
from tfx.types import standard_artifacts

from tfx_explain import GATE_NODE_ID, AttributionValidator, ConfigError, ValidationConfig
from tfx_explain.artifacts.properties import engine_version
from tfx_explain.artifacts.types import AttributionAnomalies, AttributionReference, ModelAttributions
from tfx_explain.attribution_validator import executor

pytestmark = pytest.mark.tf


def channel(artifact_type, **kwargs):
    return types.Channel(type=artifact_type, **kwargs)


def make(**kwargs):
    return AttributionValidator(
        **{
            "attributions": channel(ModelAttributions),
            "model": channel(standard_artifacts.Model),
            "model_blessing": channel(standard_artifacts.ModelBlessing),
            **kwargs,
        }
    )


def test_inputs_outputs_and_id():
    component = make()
    assert component.id == GATE_NODE_ID
    assert set(component.inputs) == {"attributions", "model", "model_blessing"}
    assert {key: c.type for key, c in component.outputs.items()} == {
        "blessing": standard_artifacts.ModelBlessing,
        "anomalies": AttributionAnomalies,
        "new_reference": AttributionReference,
    }
    assert make().with_id("Other").outputs["blessing"].producer_component_id == "Other"


def test_the_config_is_inlined_as_canonical_json(tmp_path):
    path = tmp_path / "validate.yaml"
    path.write_text("gate_id: eu\nchecks: {vanished: {threshold: 0.1}}\n")
    policy = {"gate_id": "eu", "checks": {"vanished": {"threshold": 0.1}}}
    expected = {
        "validation_config": ValidationConfig.load(policy).to_json(),
        "engine_version": engine_version(),
        "ended": "",
    }
    for config in (path, str(path), policy, ValidationConfig.load(policy)):
        assert make(validation_config=config).exec_properties == expected
    assert make().exec_properties["validation_config"] == ValidationConfig().to_json()


def test_a_pass_is_asked_again_once_what_allowed_it_has_ended(monkeypatch):
    """TFX caches by the properties of a node."""
    policy = {
        "without_reference": {"absolute_checks_decide": {"until": "2026-03-31"}},
        "approved_features": [
            {"name": n, "reason": "new", "until": d} for n, d in (("a", "2026-05-01"), ("b", "2026-05-31"))
        ],
    }

    def properties(date):
        monkeypatch.setattr(executor, "today", lambda: datetime.date.fromisoformat(date))
        return make(validation_config=policy).exec_properties

    assert properties("2026-03-01") == properties("2026-03-31")
    assert properties("2026-03-31")["ended"] == ""
    assert properties("2026-04-01")["ended"] == properties("2026-05-01")["ended"] == "2026-03-31"
    assert properties("2026-05-02")["ended"] == "2026-03-31, 2026-05-01"
    assert properties("2026-06-01")["ended"] == "2026-03-31, 2026-05-01, 2026-05-31"


@pytest.mark.parametrize(
    ("kwargs", "error", "sentence"),
    [
        ({"validation_config": {"gate": "eu"}}, ConfigError, "gate: 'gate' is no setting, did you mean 'gate_id'"),
        ({"validation_config": "/nowhere.yaml"}, ConfigError, "cannot read '/nowhere.yaml'"),
        ({"model_blessing": None}, TypeError, "Argument model_blessing should be a Channel"),
        (
            {"attributions": channel(AttributionAnomalies)},
            TypeError,
            "attributions should be a Channel.*ModelAttributions",
        ),
        ({"reference": channel(ModelAttributions)}, TypeError, "reference should be a Channel .*AttributionReference"),
    ],
)
def test_wrong_arguments_are_refused_by_name(kwargs, error, sentence):
    with pytest.raises(error, match=sentence):
        make(**kwargs)


def test_the_reference_must_be_the_gates_own():
    ours = channel(AttributionReference, producer_component_id=GATE_NODE_ID)
    theirs = channel(AttributionReference, producer_component_id="AttributionValidatr")
    assert make(reference=ours).inputs["reference"] is ours
    assert make(reference=channel(AttributionReference)).inputs["reference"].producer_component_id is None
    with pytest.raises(
        ValueError, match="asks for node 'AttributionValidatr', the gate's id is 'AttributionValidator'"
    ):
        _ = make(reference=theirs).inputs
    with pytest.raises(ValueError, match="asks for node 'AttributionValidator', the gate's id is 'Other'"):
        _ = make(reference=ours).with_id("Other").inputs
