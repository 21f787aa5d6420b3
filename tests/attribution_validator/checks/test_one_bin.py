"""Features whose values all lie in one pinned bin: no profile shows that they turned their sign."""

import datetime

import pytest
from tests.fixtures.synthetic import HONEST, Additive, Part

from tfx_explain.attribution_validator.checks.base import ModelEvidence, SliceOfModel
from tfx_explain.attribution_validator.verdict import judge_model
from tfx_explain.config import ValidationConfig
from tfx_explain.names import slice_name

TODAY = datetime.date(2030, 1, 1)
NIGHT = (("hour", 3),)
FAR = 8.0
"""Where `year` lies: all of its values, and none of another feature's, are in the outermost bin."""


def of(seed, year, night=None, rows=4000):
    weights = HONEST | {"year": year}
    parts = {} if night is None else {NIGHT: Part(500, {"year": night})}
    model = Additive(weights, rows=rows, seed=seed, shift={"year": FAR}, slices=parts)
    return ModelEvidence(
        "the last model that passed",
        f"model {seed}",
        model.statistics(),
        num_steps=50,
        method="integrated_gradients",
        rows_read=model.rows,
        slices={slice_name(key): SliceOfModel(model.statistics(key), None, 500) for key in parts},
    )


def judged(candidate, reference, **checks):
    return judge_model(candidate, reference, {}, ValidationConfig.make({"checks": checks}), TODAY)


def warnings(verdict):
    return [r for r in verdict.results if r.verdict != "PASS"]


def test_a_feature_in_one_bin_that_turned_its_sign_is_warned_of_by_name():
    """Its share stays, and a profile of one bin, being centred, is 0 in both models."""
    verdict = judged(of(2, -0.06), of(1, 0.06))
    (found,) = warnings(verdict)
    assert (found.check, found.feature, found.verdict, found.severity) == ("direction_flip", "year", "FAIL", "warn")
    assert found.value == pytest.approx(0.06 * FAR / (0.06 * FAR + 0.798 * sum(map(abs, HONEST.values()))), abs=0.01)
    assert "'year' pushes predictions the other way than in the last model that passed" in found.sentence
    assert "allowed is 0.055" in found.sentence and "one value bin" in found.sentence
    assert verdict.blessed


def test_a_feature_in_one_bin_that_turned_inside_a_slice():
    (found,) = warnings(judged(of(2, 0.06, night=-0.06, rows=12_000), of(1, 0.06, night=0.06, rows=12_000)))
    assert (found.check, found.feature, found.slice) == ("direction_flip", "year", slice_name(NIGHT))
    assert found.sentence.startswith("In slice hour=3: 'year' pushes")


@pytest.mark.parametrize(("before", "now"), [(0.06, 0.05), (-0.06, -0.07), (0.015, -0.015), (0.0, 0.01)])
def test_one_that_kept_its_sign_or_hardly_matters_is_not(before, now):
    verdict = judged(of(2, now), of(1, before))
    assert verdict.blessed and not warnings(verdict)


def test_a_hundred_honest_retrains_with_a_feature_in_one_bin_are_not_warned_of():
    reference = of(1, 0.06)
    assert [warnings(judged(of(100 + seed, 0.06), reference)) for seed in range(100)] == [[]] * 100


def test_a_check_that_is_off_warns_of_nothing():
    assert not warnings(judged(of(2, -0.06), of(1, 0.06), direction_flip={"threshold": 0.055, "severity": "off"}))


def test_features_with_values_in_many_bins_are_left_to_their_profiles():
    turned = HONEST | {"a": -1.0}
    model = Additive(turned, seed=2)
    candidate = ModelEvidence("this", "this", model.statistics(), (), {}, "", 50, "integrated_gradients", model.rows)
    before = Additive(HONEST, seed=1)
    reference = ModelEvidence("last", "last", before.statistics(), (), {}, "", 50, "integrated_gradients", 4000)
    found = [r for r in judged(candidate, reference).results if r.check == "direction_flip" and r.verdict != "PASS"]
    assert [(r.feature, r.severity) for r in found] == [("a", "block")]
