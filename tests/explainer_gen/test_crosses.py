"""Crosses in equal parts: a row keeps its sum, and a feature with a cut of its own gets both."""

import numpy as np
import pytest

from tfx_explain.explainer_gen.crosses import split_of

PARTS = {"a": ("a",), "a x b": ("a", "b"), "b x c x d": ("b", "c", "d")}


def test_a_pair_stays_a_pair():
    split = split_of(tuple(PARTS), PARTS, "pair")
    attributions = np.array([[1, 2, 3]], np.float32)
    assert split.features == tuple(PARTS)
    assert split.apply(attributions) is attributions


def test_equal_parts_are_summed_with_a_cut_of_its_own():
    split = split_of(tuple(PARTS), PARTS, "equal")
    attributions = np.array([[1, 4, 9], [0, -2, 0]], np.float32)
    assert split.features == ("a", "b", "c", "d")
    expected = np.array([[1 + 2, 2 + 3, 3, 3], [-1, -1, 0, 0]], np.float32)
    np.testing.assert_array_equal(split.apply(attributions), expected)


def test_a_row_keeps_its_sum():
    attributions = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    split = split_of(tuple(PARTS), PARTS, "equal").apply(attributions)
    assert split.dtype == np.float32
    np.testing.assert_allclose(split.sum(1), attributions.sum(1), atol=1e-5)


@pytest.mark.parametrize("rule", ["pair", "equal"])
def test_without_crosses_or_columns_nothing_changes(rule):
    attributions = np.ones((2, 1), np.float32)
    split = split_of(("a",), {"a": ("a",)}, rule)
    assert split.apply(attributions) is attributions and split.features == ("a",)
    empty = split_of((), {}, rule)
    assert empty.features == () and empty.apply(np.zeros((2, 0), np.float32)).shape == (2, 0)


def test_equal_is_the_shapley_value_of_a_pure_interaction():
    """v(S) is the worth 6 where all three have joined, else 0: the mean over all orders of joining."""
    import itertools

    players = PARTS["b x c x d"]
    gained = dict.fromkeys(players, 0.0)
    orders = list(itertools.permutations(players))
    for order in orders:
        gained[order[-1]] += 6 / len(orders)  # whoever joins last completes the cross
    split = split_of(("b x c x d",), PARTS, "equal").apply(np.array([[6]], np.float32))[0]
    np.testing.assert_allclose(split, [gained[p] for p in players], rtol=1e-7)
