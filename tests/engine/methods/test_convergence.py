import numpy as np
import pytest

from tfx_explain.engine.methods.convergence import converged, rounding_error


def test_five_percent_of_the_gap():
    assert converged(np.array([0.0499, -0.0499, 0.0501]), np.array([1.0, -1.0, 1.0]), np.ones(3)).tolist() == [
        True,
        True,
        False,
    ]


def test_cancelling_attributions_are_judged_by_their_sum():
    delta, gap = np.array([0.049, 0.051]), np.zeros(2)
    assert converged(delta, gap, np.array([10.0, 10.0])).tolist() == [True, False]


def test_tolerance_scales_the_bound():
    assert not converged(np.array([0.02]), np.array([1.0]), np.array([1.0]), tolerance=0.01)[0]


def test_rows_that_are_not_finite_have_not_converged():
    nan, inf, one = np.array([np.nan]), np.array([np.inf]), np.array([1.0])
    assert not converged(nan, one, one)[0]
    assert not converged(one, nan, one)[0]
    assert not converged(nan, inf, one)[0]


def test_a_row_at_the_baseline_converges_within_rounding():
    value = np.array([3.0], np.float32)
    other = np.nextafter(value, np.float32(4))
    delta = (other - value).astype(np.float64)
    assert not converged(delta, delta / 2, np.zeros(1))[0]
    assert converged(delta, delta / 2, np.zeros(1), rounding=rounding_error(value, other))[0]
    assert rounding_error(value, other)[0] < 1e-4


def test_refuses_a_tolerance_of_zero():
    with pytest.raises(ValueError, match="tolerance must be > 0"):
        converged(np.zeros(1), np.zeros(1), np.zeros(1), tolerance=0)
