"""Crosses in equal parts: a row keeps its sum, a feature with a cut of its own gets both; and families of crosses."""

import numpy as np
import pytest

from tfx_explain.explainer_gen.crosses import families, split_of, with_crosses

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


def test_crosses_are_known_where_they_are_published():
    assert split_of(tuple(PARTS), PARTS, "pair").crosses == {"a x b": ("a", "b"), "b x c x d": ("b", "c", "d")}
    assert split_of(tuple(PARTS), PARTS, "equal").crosses == {}


def test_a_family_is_a_feature_and_all_its_crosses():
    crosses = {"a x b": ("a", "b"), "a x c": ("a", "c"), "b x c x d": ("b", "c", "d")}
    features = ("a", "a x b", "a x c", "b x c x d", "c", "e")
    assert list(families(crosses, features)) == [
        ("a and its crosses", ("a", "a x b", "a x c")),
        ("b and its crosses", ("a x b", "b x c x d")),  # b is read in crosses alone
        ("c and its crosses", ("a x c", "b x c x d", "c")),
    ]  # d stands in one cross: that is a feature with a cap of its own
    assert list(families({}, features)) == []


def test_a_group_holds_the_crosses_of_its_members_alone():
    crosses = {"a x b": ("a", "b"), "a x c": ("a", "c")}
    assert with_crosses(("b", "a"), crosses) == ("b", "a", "a x b")
    assert with_crosses(("a", "a x b", "b"), crosses) == ("a", "a x b", "b")
    assert with_crosses(("c",), crosses) == ("c",)
