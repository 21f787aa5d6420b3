"""Features that every explained row has at the input baseline's value: a share of 0 that was never measured."""

import dataclasses
import datetime

import pytest
from tests.attribution_validator.checks.passed_models import evidence_of
from tests.fixtures.synthetic import HONEST, Additive

from tfx_explain.attribution_validator.verdict import judge_model
from tfx_explain.config import ValidationConfig

TODAY = datetime.date(2030, 1, 1)
FIRST_RUN = ValidationConfig.make({"without_reference": {"absolute_checks_decide": {"until": "2999-12-31"}}})


def of(seed, *unseen):
    """The model weighs what it was not shown, and no row tells."""
    model = Additive(HONEST | dict.fromkeys(unseen, 0.0), seed=seed)
    return evidence_of(model, at_baseline=unseen)


def told(candidate, reference, known=None):
    verdict = judge_model(candidate, reference, known or {}, FIRST_RUN, TODAY)
    assert verdict.blessed
    return [r for r in verdict.results if r.verdict != "PASS" and r.check != "reference"]


@pytest.mark.parametrize("reference", [None, of(1)])
def test_a_feature_that_no_row_shows_is_told_by_name(reference):
    (found,) = told(of(2, "leak"), reference)
    assert (found.check, found.feature, found.verdict, found.severity) == (
        "evidence_floor",
        "leak",
        "INCONCLUSIVE",
        "warn",
    )
    assert "Nothing is known of what the model makes of 'leak'" in found.sentence and "Give" in found.sentence


def test_several_are_told_in_one():
    (found,) = told(of(2, *(f"rare_{i}" for i in range(7))), of(1))
    assert found.feature is None and "'rare_4' and 2 more" in found.sentence


def test_what_other_models_were_measured_on_is_not_told_for_ever():
    assert not told(of(2, "rare"), of(1, "rare"))
    assert not told(of(2, "rare"), of(1), {"rare": 0.0})


def test_a_model_is_no_witness_of_what_it_was_not_shown():
    own = of(1, "leak")
    assert len(told(own, dataclasses.replace(own))) == 1
