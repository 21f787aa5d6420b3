import numpy as np
import pytest

from tfx_explain.attribution_validator.checks.base import Result, uncertain
from tfx_explain.attribution_validator.checks.registry import ABSOLUTE, WITH_REFERENCE
from tfx_explain.attribution_validator.checks.units import INVERSE, RATIO, SHARE, UNITS, allowed, bounds, ratio_unit
from tfx_explain.engine.aggregates.intervals import Measured


def test_units_belong_to_checks():
    assert {*UNITS} <= {*ABSOLUTE, *WITH_REFERENCE}


def test_a_result_says_its_unit():
    assert Result("max_share", "PASS", "block", "").to_dict()["unit"] == SHARE
    assert Result("direction_flip", "PASS", "block", "").to_dict()["unit"] is None
    assert Result("total_scale", "PASS", "block", "", unit=INVERSE).to_dict()["unit"] == INVERSE


@pytest.mark.parametrize(
    ("unit", "sentence"),
    [
        (None, "The interval 0.3 to 0.7 straddles the threshold 0.5:"),
        (SHARE, "The interval 30 % to 70 % straddles the threshold 50 %:"),
        (RATIO, "The interval 1.35 to 2.01 times straddles the threshold 0.61 to 1.65 times:"),
        (INVERSE, "The interval 0.50 to 0.74 times straddles the threshold 0.61 to 1.65 times:"),
    ],
)
def test_an_interval_is_told_in_the_unit_of_its_value(unit, sentence):
    assert sentence in uncertain("INCONCLUSIVE", Measured(0.5, 0.3, 0.7), 0.5, unit=unit)


def test_a_ratio_goes_one_way():
    assert [ratio_unit(log) for log in (-0.1, 0.0, 0.1, float("nan"))] == [INVERSE, RATIO, RATIO, RATIO]
    assert allowed(np.log(2), RATIO) == allowed(np.log(2), INVERSE) == "0.50 to 2.00 times"
    assert bounds(0.0, 1e9, RATIO)[0] == "1.00"
