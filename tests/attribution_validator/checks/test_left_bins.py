"""Many small features that have left their value bins: each alone is no finding, and all together leave no profile."""

import datetime

import pytest
from tests.attribution_validator.checks.passed_models import evidence_of
from tests.fixtures.synthetic import Additive, Part

from tfx_explain.attribution_validator.verdict import judge_model
from tfx_explain.config import ValidationConfig
from tfx_explain.names import slice_name

TODAY = datetime.date(2030, 1, 1)
WIDE = {f"f{i:02d}": 0.3 for i in range(40)}
NIGHT = (("hour", 3),)
FAR = 12.0
AS_MUCH = 0.3 * 0.798 / FAR
"""Weight by which a value far out carries what one about 0 did."""


def moved(count, weight=AS_MUCH, seed=2):
    names = list(WIDE)[:count]
    return evidence_of(Additive(WIDE | dict.fromkeys(names, weight), seed=seed, shift=dict.fromkeys(names, FAR)))


def judged(candidate, reference, **checks):
    return judge_model(candidate, reference, {}, ValidationConfig.make({"checks": checks}), TODAY)


REFERENCE = evidence_of(Additive(WIDE, seed=1))


@pytest.mark.parametrize("weight", [AS_MUCH, -AS_MUCH])
def test_a_model_whose_features_all_lie_elsewhere_cannot_be_compared(weight):
    """As after a change of units: shares and scale stay, and no profile has a bin that both models filled."""
    verdict = judged(moved(40, weight), REFERENCE)
    (found,) = verdict.blocking
    assert (found.check, found.feature, found.verdict) == ("profile_change", None, "INCONCLUSIVE")
    assert found.value == pytest.approx(1.0) and found.threshold == 0.5 and found.unit == "share"
    assert "40 features ('f" in found.sentence and "cannot be compared; 50.0 % are allowed" in found.sentence
    assert "start a new gate" in found.sentence and "The inputs moved too" in found.sentence


@pytest.mark.parametrize(("count", "passes"), [(0, True), (5, True), (15, True), (25, False)])
def test_some_features_may_leave_their_bins(count, passes):
    assert judged(moved(count), REFERENCE).blessed == passes


def test_a_larger_threshold_allows_more():
    assert judged(moved(30), REFERENCE, profile_change={"threshold": 0.9}).blessed


def test_a_slice_whose_features_lie_elsewhere():
    """The whole hardly shows it: of 12,000 rows these are 500."""

    def at_night(seed, far):
        model = Additive(WIDE, rows=12_000, seed=seed, slices={NIGHT: Part(500)})
        if far:
            night = Additive(dict.fromkeys(WIDE, AS_MUCH), rows=500, seed=seed, shift=dict.fromkeys(WIDE, FAR))
            whole, part = model.explained(), night.explained()
            whole.attributions[:500], whole.bin_index[:500] = part.attributions, part.bin_index
        return evidence_of(model, NIGHT)

    assert judged(at_night(2, False), at_night(1, False)).blessed
    (found,) = judged(at_night(2, True), at_night(1, False)).blocking
    assert (found.check, found.slice, found.feature) == ("profile_change", slice_name(NIGHT), None)


def test_fifty_honest_retrains_of_many_features_pass():
    assert [judged(evidence_of(Additive(WIDE, rows=1500, seed=100 + i)), REFERENCE).blessed for i in range(50)] == [
        True
    ] * 50
