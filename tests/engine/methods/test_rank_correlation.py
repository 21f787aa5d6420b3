import numpy as np
import pytest
from scipy.stats import spearmanr

from tfx_explain.engine.methods import rank_correlation
from tfx_explain.engine.methods.rank_correlation import rank_correlations


def test_agrees_with_scipy_ties_included():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 4, (40, 7)).astype(float), rng.normal(size=(40, 7))
    want = [spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(rank_correlations(one, other), want, atol=1e-12)


def test_many_values_are_sorted_and_rank_alike(monkeypatch):
    rng = np.random.default_rng(2)
    one, other = rng.integers(0, 9, (5, 40)).astype(float), rng.normal(size=(5, 40))
    one[3], other[4, 7] = 1.0, np.nan
    whole = rank_correlations(one, other)
    monkeypatch.setattr(rank_correlation, "_MOST_COMPARED", 39)
    np.testing.assert_array_equal(rank_correlations(one, other), whole)
    assert np.isnan(whole[3:]).all() and np.isfinite(whole[:3]).all()


def test_the_same_order_is_one_and_the_reverse_minus_one():
    one = np.array([[1.0, 5.0, 2.0]])
    assert rank_correlations(one, one**3)[0] == 1.0
    assert rank_correlations(one, -one)[0] == -1.0


def test_a_constant_row_has_no_ranking():
    got = rank_correlations(np.array([[1.0, 1.0], [1.0, 2.0]]), np.array([[3.0, 4.0], [3.0, 4.0]]))
    assert np.isnan(got[0]) and got[1] == 1.0


def test_parts_of_rows_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(2, 30, 5))
    whole = rank_correlations(one, other)
    monkeypatch.setattr(rank_correlation, "_MOST_COMPARISONS", 60)
    np.testing.assert_array_equal(rank_correlations(one, other), whole)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"alike. Received: \(2, 3\) and \(2, 4\)"):
        rank_correlations(np.zeros((2, 3)), np.zeros((2, 4)))
