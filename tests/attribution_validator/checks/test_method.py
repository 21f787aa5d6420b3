"""Evidence counts only where attributions must add up."""

import datetime

import pytest
from tests.fixtures.synthetic import HONEST, Additive

from tfx_explain.attribution_validator.checks.base import ModelEvidence
from tfx_explain.attribution_validator.verdict import judge_model
from tfx_explain.config import ConfigError, ValidationConfig

MODEL = Additive(HONEST)


def results(method, num_steps=50, **evidence):
    policy = ValidationConfig.make({"evidence": evidence})
    candidate = ModelEvidence("this model", "m", MODEL.statistics(), num_steps=num_steps, method=method, rows_read=4000)
    verdict = judge_model(candidate, None, {}, policy, datetime.date(2026, 1, 1))
    return {r.check: r for r in verdict.results}


@pytest.mark.parametrize("method", ["integrated_gradients", "expected_gradients"])
def test_complete_methods_are_evidence(method):
    found = results(method)
    assert (found["evidence_floor"].verdict, found["completeness"].verdict) == ("PASS", "PASS")


@pytest.mark.parametrize("method", ["gradient", "gradient_x_input", "smoothgrad", "saliency", ""])
def test_other_methods_are_none_even_if_every_row_is_called_converged(method):
    found = results(method)
    for check in ("evidence_floor", "completeness"):
        assert (found[check].verdict, found[check].blocks) == ("INCONCLUSIVE", True)
        assert (method or "an unknown method") in found[check].sentence


def test_a_policy_may_take_fewer_methods():
    found = results("expected_gradients", methods=["integrated_gradients"])
    assert found["evidence_floor"].verdict == "INCONCLUSIVE"
    assert "integrated_gradients" in found["evidence_floor"].sentence
    assert found["completeness"].verdict == "PASS"


@pytest.mark.parametrize("methods", [[], ["gradient"], ["integrated_gradients", "smoothgrad"]])
def test_a_policy_cannot_take_a_method_without_completeness(methods):
    with pytest.raises(ConfigError, match=r"evidence\.methods"):
        ValidationConfig.make({"evidence": {"methods": methods}})


def test_too_few_nodes_name_the_setting_of_their_method():
    found = results("expected_gradients", num_steps=48)["evidence_floor"]
    assert found.verdict == "INCONCLUSIVE"
    assert "48 nodes a row" in found.sentence and "raise expected_gradients.num_steps" in found.sentence
