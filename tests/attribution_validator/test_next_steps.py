"""What a person can do after a refusal, and that what is pasted lets the model pass."""

import datetime
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.artifacts import write_attributions, write_model
from tests.fixtures.synthetic import HONEST, Additive

from tfx_explain.attribution_reference.store import write_reference
from tfx_explain.attribution_validator.anomalies import write_anomalies
from tfx_explain.attribution_validator.checks import registry
from tfx_explain.attribution_validator.checks.advice import approve
from tfx_explain.attribution_validator.checks.base import Result
from tfx_explain.attribution_validator.evidence import changed_reference, judge_artifacts
from tfx_explain.attribution_validator.next_steps import next_steps
from tfx_explain.config import ValidationConfig

pytestmark = pytest.mark.tf

TODAY = datetime.date(2026, 1, 1)
FIRST_RUN = {"without_reference": {"absolute_checks_decide": {"until": "2999-12-31"}}}


def found(check, verdict="FAIL", severity="block", **more):
    return Result(check, verdict, severity, "", **more)


def pasted(steps):
    policy = {}
    for step in steps:
        policy |= yaml.safe_load((step["policy"] or "{}").replace("YYYY-MM-DD", "2027-03-31"))
    return policy


def test_what_is_pasted_lets_the_model_pass(tmp_path):
    def judged(name, model, policy):
        uri = write_model(tmp_path / name / "model", json.dumps(model.weights))
        written = write_attributions(tmp_path / name / "attributions", model, uri)
        references = [str(tmp_path / "reference")] if name != "first" else []
        return judge_artifacts(written, references, ValidationConfig.make(policy), TODAY)

    first = judged("first", Additive(HONEST, seed=1), FIRST_RUN)
    reference = changed_reference(first, ValidationConfig(), "/models/1", "1", first.candidate.fingerprint)
    write_reference(str(tmp_path / "reference"), reference)
    policy = {"checks": {"max_share": {"with_reference": "block"}}}
    weights = {"leak": 9.0, **HONEST}
    del weights["f"]
    refused = judged("second", Additive(weights, seed=3), policy)
    assert {r.check for r in refused.verdict.blocking} == {
        "max_share", "new_features", "removed_features", "total_scale",
    }  # fmt: skip
    steps = next_steps(refused.verdict.results)
    assert [s["policy"] is None for s in steps] == [True, True, False, False, True]
    assert "should not lean on 'leak'" in steps[0]["what"] and "train again" in steps[0]["what"]
    assert "should still use 'f'" in steps[1]["what"]
    assert "only AttributionValidator judges anew" in steps[4]["what"]
    changed = pasted(steps)
    assert [a["name"] for a in changed["approved_features"]] == ["leak", "f"]
    changed["checks"] |= policy["checks"]
    again = judge_artifacts(
        str(tmp_path / "second" / "attributions"), [str(tmp_path / "reference")], ValidationConfig.make(changed), TODAY
    )
    assert again.verdict.blessed
    data = write_anomalies(str(tmp_path / "anomalies"), refused, ValidationConfig.make(policy), "7")
    assert (data["next_steps"], data["model_id"]) == (steps, "7")


def test_an_approved_feature_above_the_cap_needs_one_of_its_own():
    new = found("new_features", "NEEDS_APPROVAL", feature="leak", value=0.7, high=0.72)
    warned = found("max_share", severity="warn", feature="leak", value=0.7, high=0.72)
    other = found("max_share", severity="warn", feature="fare", value=0.5, high=0.52)
    assert pasted(next_steps([new, warned, other]))["dominant_features"] == {
        "leak": {"max_share": 0.75, "reason": "WHY"}
    }
    assert "dominant_features" not in pasted(next_steps([new]))
    straddling = found("max_share", "INCONCLUSIVE", feature="leak", value=0.39, high=0.42)
    assert pasted(next_steps([new, straddling]))["dominant_features"]["leak"]["max_share"] == 0.45


@pytest.mark.parametrize(
    ("check", "high", "threshold"),
    [
        ("total_scale", 1.136, 1.2),
        ("total_scale", 12.0, 13.0),
        ("profile_change", 0.213, 0.22),
        ("direction_flip", 0.0561, 0.057),
        ("share_change", 1.0, 1.0),
    ],
)
def test_a_threshold_is_one_that_passes(check, high, threshold):
    steps = next_steps([found(check, value=0.9 * high, high=high)])
    policy = pasted(steps)
    assert policy == {"checks": {check: {"threshold": pytest.approx(threshold)}}}
    ValidationConfig.make(policy)
    assert f"If {check} is a false alarm" in steps[0]["what"]


@pytest.mark.parametrize("high", [5e-324, 1e-310, 2.4e-5])
def test_the_smallest_threshold_is_taken_too(high):
    policy = ValidationConfig.make(pasted(next_steps([found("share_change", value=high, high=high)])))
    assert high < policy.checks.share_change.threshold < 3e-5


def test_missing_evidence_has_no_way_round():
    results = [found("evidence_floor", "INCONCLUSIVE"), found("share_change", "INCONCLUSIVE", value=0.2, high=0.3)]
    assert next_steps(results) == next_steps([found("evaluator")]) == next_steps([]) == []
    assert next_steps([found("share_change", severity="warn", value=0.2, high=0.3)]) == []


def test_a_feature_that_died_is_looked_for():
    (step,) = next_steps([found("vanished", feature="f", value=0.0, high=0.0, threshold=0.01)])
    assert "should still use 'f'" in step["what"]
    assert step["policy"] is None


def test_a_logarithm_is_told_as_the_ratio_that_sentences_have():
    (step, _) = next_steps([found("total_scale", value=-0.8, high=0.93, unit="log_inverse_ratio")])
    assert step["policy"] == "checks:\n  total_scale: {threshold: 0.94}  # 0.39 to 2.56 times"
    (step, _) = next_steps([found("share_change", value=0.2, high=0.21)])
    assert "#" not in step["policy"]


@pytest.mark.parametrize("check", ["new_features", "removed_features"])
def test_features_that_are_judged_together_are_all_approved(check):
    names = [f"f{i}" for i in range(7)]
    (train, step, _) = next_steps([found(check, "NEEDS_APPROVAL", policy=approve(names).policy)])
    assert "'f0', 'f1', 'f2', 'f3', 'f4' and 2 more" in train["what"]
    assert [a["name"] for a in pasted([step])["approved_features"]] == names
    assert next_steps([found(check, "NEEDS_APPROVAL")]) == []


def test_many_features_are_not_all_told():
    steps = next_steps([found("new_features", "NEEDS_APPROVAL", feature=f"f{i}") for i in range(7)])
    assert "'f4' and 2 more" in steps[0]["what"]
    assert len(pasted(steps)["approved_features"]) == 7


NUMBERS = st.none() | st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 0.05, 1.0, 99.0, 1e300])
RESULTS = st.builds(
    Result,
    st.sampled_from([*registry.ABSOLUTE, *registry.WITH_REFERENCE, "evaluator", "model"]),
    st.sampled_from(["PASS", "FAIL", "NEEDS_APPROVAL", "INCONCLUSIVE", "NO_REFERENCE"]),
    st.sampled_from(["block", "warn", "off"]),
    st.text(max_size=5),
    feature=st.none() | st.text(max_size=5),
    value=NUMBERS,
    low=NUMBERS,
    high=NUMBERS,
    threshold=NUMBERS,
)


@given(st.lists(RESULTS, max_size=6))
def test_whatever_was_found_what_to_do_is_told_and_can_be_pasted(results):
    for step in next_steps(results):
        yaml.safe_load((step["policy"] or "{}").replace("YYYY-MM-DD", "2027-03-31"))
