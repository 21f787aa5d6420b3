"""Features without a gradient, and whole models: never a pass, and a sentence that names the operation."""

import datetime

import pytest
from tests.fixtures.synthetic import HONEST, Additive

from tfx_explain.attribution_validator.checks.base import ModelEvidence
from tfx_explain.attribution_validator.verdict import judge_model
from tfx_explain.config import ValidationConfig

TODAY = datetime.date(2030, 1, 1)
CONFIG = ValidationConfig.make({"without_reference": {"absolute_checks_decide": {"until": "2999-12-31"}}})
STEP = "Greater ('forest/cond_3')"


def of(seed=1, unconverged=0.0, **facts):
    model = Additive(HONEST, seed=seed, unconverged=unconverged)
    made = {"method": "integrated_gradients", "num_steps": 50, "rows_read": model.rows}
    return ModelEvidence("a model", f"model {seed}", model.statistics(), **made, **facts)


def judged(candidate, reference=None):
    return judge_model(candidate, reference, {}, CONFIG, TODAY)


@pytest.mark.parametrize("reference", [None, of(seed=2)])
def test_a_model_of_which_nothing_is_attributed_has_one_result(reference):
    verdict = judged(of(no_gradient="a gradient must lead: explain a logit."), reference)
    (result,) = verdict.results
    assert (result.check, result.verdict, result.severity) == ("evidence_floor", "INCONCLUSIVE", "block")
    assert "a gradient must lead: explain a logit. It is in ExplainerGen's report." in result.sentence
    assert (f"cover {len(HONEST)} features" in result.sentence) == (reference is not None)
    assert not verdict.blessed


def test_an_uncovered_feature_is_told_with_its_operation():
    verdict = judged(of(uncovered_features=("age", "old"), blocked={"age": STEP}))
    short = [r for r in verdict.blocking if r.check == "evidence_floor"]
    assert [r.feature for r in short] == ["age", "old"]
    assert f"'age' reaches the output only through {STEP}, which has no gradient" in short[0].sentence
    assert "'old' reaches the output only through steps without a gradient" in short[1].sentence


def test_a_feature_covered_in_part_is_no_shortfall_and_is_told_where_rows_do_not_converge():
    assert judged(of(blocked={"a": STEP})).blessed
    (result,) = (r for r in judged(of(unconverged=0.05, blocked={"a": STEP})).blocking if r.check == "completeness")
    assert f"Feature 'a' reaches the output also through {STEP}, which has no gradient" in result.sentence
