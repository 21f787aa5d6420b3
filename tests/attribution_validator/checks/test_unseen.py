"""What was never measured: features that every explained row has at the input baseline's value, and rows left out."""

import dataclasses
import datetime

import pytest
from tests.attribution_validator.checks.passed_models import evidence_of
from tests.fixtures.synthetic import HONEST, Additive

from tfx_explain.attribution_validator.verdict import judge_model
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.intervals import Measured

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


@pytest.mark.parametrize(
    ("seen", "blessed"),
    [((0.62, 0.6, 0.64), False), ((1.5, 1.3, 1.7), False), ((0.85, 0.82, 0.88), True), ((0.7, 0.5, 0.9), True)],
)
def test_rows_that_the_sample_does_not_stand_for(seen, blessed):
    """A user, or a row that is repeated, with more rows than the sample can take: a leak there is seen by nobody."""
    candidate = dataclasses.replace(of(2), stands_for=Measured(*seen))
    verdict = judge_model(candidate, of(1), {}, ValidationConfig(), TODAY)
    assert verdict.blessed == blessed
    if not blessed:
        (found,) = verdict.blocking
        assert "of the 4000 that were read" in found.sentence and "max_examples" in found.sentence
    loose = ValidationConfig.make({"evidence": {"max_unseen": 1.0}})
    assert judge_model(candidate, of(1), {}, loose, TODAY).blessed
