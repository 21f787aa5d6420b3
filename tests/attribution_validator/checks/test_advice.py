"""What the gate tells a person to write is taken by the policy as it stands."""

import datetime
import re

import pytest
import yaml
from tests.fixtures.synthetic import HONEST, Additive, Part

from tfx_explain.attribution_validator.checks.advice import DATE, Advice, approve, ask_less, decide_alone, lead
from tfx_explain.attribution_validator.checks.base import ModelEvidence, SliceOfModel
from tfx_explain.attribution_validator.verdict import judge_model
from tfx_explain.config import ValidationConfig
from tfx_explain.names import slice_name

NAMES = ["fare", "a x b", "hour: [of] {day}", 'say "yes"', "größe", "123", "yes", "𝔣", "\x7f\x85\u2028\ufffe", "a\nb"]


def written(policy: str) -> dict:
    """YAML with a date in its place."""
    return yaml.safe_load(policy.replace(DATE, "2027-03-31"))


def policy(advice: Advice) -> ValidationConfig:
    return ValidationConfig.make(written(advice.policy))


@pytest.mark.parametrize("name", NAMES)
def test_an_approval_can_be_pasted(name):
    (approval,) = policy(approve([name])).approved_features
    assert (approval.name, approval.reason, approval.until) == (name, "WHY", datetime.date(2027, 3, 31))


def test_of_many_features_the_first_show_how():
    advice = approve([f"f{i}" for i in range(9)])
    assert [a.name for a in policy(advice).approved_features] == [f"f{i}" for i in range(9)]
    shown = re.fullmatch("write into the policy `(.*)`, and the others likewise", str(advice)).group(1)
    assert [a["name"] for a in written(shown)["approved_features"]] == ["f0", "f1", "f2", "f3", "f4"]
    assert str(approve(NAMES[:5])).endswith("`")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.0, 0.41, 0.5, 0.539, 0.96, 1.0, float("nan")])
def test_a_feature_that_leads_gets_room_for_its_share(name, share):
    allowed = policy(lead(name, share)).dominant_features[name].max_share
    assert allowed == 1 if not share < 0.95 else share < allowed <= share + 0.05 + 1e-9


@pytest.mark.parametrize(
    ("value", "text"), [(249.7, "249"), (0.999, "0.9"), (0.00037, "0.0003"), (1e-9, "0.000000001"), (0.0, "0")]
)
def test_less_evidence_is_what_there_is(value, text):
    name = "min_rows_per_slice" if value > 1 else "min_total_attribution"
    assert ask_less(name, value).policy == f"evidence: {{{name}: {text}}}"
    assert getattr(policy(ask_less(name, value)).evidence, name) == float(text) <= value


# Written into the policy as it stands, what a check advises ends what it found.

TODAY = datetime.date(2027, 1, 1)
NIGHT = (("hour", 3),)
FIRST_RUN = written(decide_alone().policy)


def evidence(model: Additive, night: bool = False) -> ModelEvidence:
    """Of a model with the clusters of its features, and with one slice."""
    groups = model.groups()

    def part(key):
        return model.statistics(key), model.group_sums(groups, key) if groups else None

    return ModelEvidence(
        "this model",
        f"model {model.seed}",
        part(())[0],
        num_steps=50,
        method="integrated_gradients",
        rows_read=model.rows,
        groups=part(())[1],
        slices={slice_name(NIGHT): SliceOfModel(*part(NIGHT), model.slices[NIGHT].rows)} if night else {},
    )


REFERENCE = evidence(Additive(HONEST, seed=1))
LEAK = evidence(Additive(HONEST | {"leak": 9.0}, seed=3))
LEAD = {"checks": {"max_share": {"with_reference": "block"}}}
LATE = {"without_reference": {"absolute_checks_decide": {"until": "2026-12-31"}}}
APPROVED = {"approved_features": [{"name": "leak", "reason": "x", "until": "2999-01-01"}]}
SMALL = {f"small_{i:02d}": 0.2 for i in range(4)}
NIGHTLY = {NIGHT: Part(120)}


@pytest.mark.parametrize(
    ("model", "reference", "given", "check"),
    [
        (LEAK, REFERENCE, {}, "new_features"),
        (LEAK, REFERENCE, APPROVED, "new_features"),
        (evidence(Additive(HONEST | {"new": 1.0}, seed=3)), REFERENCE, {}, "new_features"),
        (evidence(Additive(HONEST | SMALL, seed=3)), REFERENCE, {}, "new_features"),
        (REFERENCE, evidence(Additive(HONEST | {"gone": 2.0}, seed=4)), {}, "removed_features"),
        (REFERENCE, evidence(Additive(HONEST | SMALL, seed=4)), {}, "removed_features"),
        (LEAK, None, FIRST_RUN, "max_share"),
        (LEAK, REFERENCE, LEAD, "max_share"),
        (
            evidence(Additive(HONEST | {"c1": 4.0, "c2": 4.0}, seed=3, copies={"c2": "c1"})),
            None,
            FIRST_RUN,
            "max_share",
        ),
        (REFERENCE, None, {}, "reference"),
        (REFERENCE, None, LATE, "reference"),
        (evidence(Additive(HONEST, seed=1, slices={NIGHT: Part(400)}), True), REFERENCE, {}, "reference"),
        (evidence(Additive(HONEST, seed=1, slices=NIGHTLY), True), None, FIRST_RUN, "evidence_floor"),
        (
            evidence(Additive(HONEST, seed=1, slices={NIGHT: Part(400, dict.fromkeys(HONEST, 2e-4))}), True),
            None,
            FIRST_RUN,
            "evidence_floor",
        ),
    ],
)
def test_advice_that_is_followed_lets_the_model_pass_that_check(model, reference, given, check):
    def refused(config):
        found = judge_model(model, reference, {}, ValidationConfig.make(config), TODAY)
        return [r for r in found.results if r.check == check and r.blocks]

    results = refused(given)
    assert results
    config = dict(given)
    for result in results:
        assert f"write into the policy `{result.policy}`" in result.sentence
        config |= written(result.policy)
    assert not refused(config), refused(config)


def test_a_new_feature_above_the_default_cap_may_be_a_leak_whatever_the_policy_allows():
    given = ValidationConfig.make({"checks": {"max_share": {"threshold": 1.0}}})
    for model, hinted in ((LEAK, True), (evidence(Additive(HONEST | {"new": 1.0}, seed=3)), False)):
        found = judge_model(model, REFERENCE, {}, given, TODAY).results
        (result,) = [r for r in found if r.check == "new_features" and r.blocks]
        assert ("often a leak of the label" in result.sentence) is hinted


def test_what_passed_and_what_the_policy_cannot_help_have_no_advice():
    lenient = ValidationConfig.make(FIRST_RUN)
    results = [
        *judge_model(REFERENCE, None, {}, lenient, TODAY).results,
        *judge_model(LEAK, REFERENCE, {}, ValidationConfig.make(APPROVED), TODAY).results,
        *judge_model(evidence(Additive(HONEST, rows=100, seed=1)), None, {}, lenient, TODAY).results,
    ]
    assert {r.verdict for r in results} >= {"PASS", "FAIL", "INCONCLUSIVE"}
    assert all((r.policy is not None) == ("write into the policy" in r.sentence) for r in results)
    assert all(r.policy is None for r in results if r.verdict == "PASS")
    assert any(r.policy is not None for r in results)
    assert [r.policy for r in results if r.check == "evidence_floor"] == [None] * 3
