"""Features whose values lie in one pinned bin, or in two: no direction shows that they turned their sign."""

import datetime

import numpy as np
import pytest
from tests.attribution_validator.checks.passed_models import evidence_of
from tests.fixtures.synthetic import HONEST, Additive, Part

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
    return evidence_of(model, *parts)


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
    assert "allowed is 0.055" in found.sentence and "too few value bins" in found.sentence
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
    candidate, reference = evidence_of(Additive(turned, seed=2)), evidence_of(Additive(HONEST, seed=1))
    found = [r for r in judged(candidate, reference).results if r.check == "direction_flip" and r.verdict != "PASS"]
    assert [(r.feature, r.severity) for r in found] == [("a", "block")]


def with_flag(seed, weight, rows=4000):
    """One more feature, 0 or 1, whose input baseline is 0: two bins."""
    model = Additive(HONEST | {"flag": 1.0}, rows=rows, seed=seed)
    flag, whole = model.values()[:, -1] > 0, model.explained()
    whole.attributions[:, -1], whole.bin_index[:, -1] = weight * flag, flag
    return evidence_of(model)


def test_a_flag_that_turned_its_sign_is_warned_of_by_name():
    """8 % of the attribution: two bins have no direction, and their profile differs by less than is allowed."""
    verdict = judged(with_flag(2, -0.55), with_flag(1, 0.55))
    (found,) = warnings(verdict)
    assert (found.check, found.feature, found.severity) == ("direction_flip", "flag", "warn") and verdict.blessed
    assert found.value == pytest.approx(0.079, abs=0.005)


def test_a_hundred_honest_retrains_with_a_flag_are_not_warned_of():
    rng, reference = np.random.default_rng(0), with_flag(1, 0.55)
    for seed in range(100):
        assert not warnings(judged(with_flag(100 + seed, 0.55 * rng.uniform(0.6, 1.4), 1500), reference))


def test_a_feature_of_three_values_that_push_both_ways_is_no_sign_that_turns():
    """As the airport of a flight: its values change places from retrain to retrain."""

    def with_origin(seed, levels):
        model = Additive(HONEST | {"origin": 1.0}, rows=3000, seed=seed)
        place, whole = np.random.default_rng(seed).integers(0, 3, 3000), model.explained()
        whole.attributions[:, -1], whole.bin_index[:, -1] = np.array(levels)[place], place
        return evidence_of(model)

    verdict = judged(
        with_origin(2, (0.0, -0.4, 0.6)), with_origin(1, (0.0, 0.6, -0.4)), profile_change={"threshold": 1}
    )
    assert verdict.blessed and not warnings(verdict)
