import numpy as np
import pytest
from tests.explainer_gen.examples_data import serialise

from tfx_explain.engine.methods.input_baseline import central_value, mode, weighted_median
from tfx_explain.explainer_gen.profiles import profiles_of
from tfx_explain.explainer_gen.sampling import identify, make_block

pytestmark = pytest.mark.tf


def profiles(rows, categorical_ints=frozenset()):
    return {found.name: found for found in profiles_of([make_block(0, [identify(rows, 0, 0)])], categorical_ints)}


def test_numbers_give_medians_and_categories_modes():
    rows = [
        serialise(
            [("x", "f", [float(i)]), ("n", "i", [i % 5]), ("c", "b", [b"red" if i % 3 else b"blue"]), ("u", "i", [i])]
        )
        for i in range(101)
    ]
    got = profiles(rows)
    assert got["x"].central == (50.0,)
    assert got["n"].central == (2,)
    assert got["c"].central == (b"red",)
    assert got["n"].bins.edges is not None
    assert profiles(rows, frozenset({"n"}))["n"].bins.categories is not None


def test_vectors_give_a_median_of_each_position():
    rows = [serialise([("v", "f", [float(i), float(-i)])]) for i in range(9)]
    assert profiles(rows)["v"].central == (4.0, -4.0)


def test_lists_of_varying_length_give_the_commonest_list():
    rows = [
        serialise([("k", "i", [i]), ("tags", "b", tags)])
        for i, tags in enumerate([[b"a"], [b"a", b"b"], [b"a", b"b"], [b"b", b"a"], []])
    ]
    assert profiles(rows)["tags"].central == (b"a", b"b")


def test_the_kind_with_more_rows_wins():
    rows = [serialise([("x", "f", [float(i)])]) for i in range(3)] + [serialise([("x", "i", [9])])]
    assert profiles(rows)["x"].kind == "f"


def test_nan_never_is_a_median():
    values = np.array([[np.nan], [1.0], [3.0], [np.nan]], np.float32)
    assert weighted_median(values, np.ones(4)).tolist() == [1.0]


def test_weights_move_the_median():
    assert weighted_median(np.array([[1.0], [2.0], [3.0]]), np.array([1, 1, 5])).tolist() == [3.0]


def test_ties_of_the_mode_go_to_the_smallest():
    got = mode(np.array([b"b", b"a"], object), np.array([1, 1]), np.array([2, 2]))
    assert got.tolist() == [b"a"]


def test_no_value_has_no_mode():
    with pytest.raises(ValueError, match="at least one"):
        central_value(np.array([], object), np.array([], int), np.array([]), True)


def test_more_repetitions_than_a_byte_holds_are_counted():
    rows = [serialise([("x", "f", [1.0])])] * 300 + [serialise([("x", "f", [float(i)])]) for i in range(2, 252)]
    got = profiles(rows)["x"]
    assert got.central == (1.0,)  # 300 of 550 rows
    assert got.bins.edges is not None and got.bins.edges[0] == 1.0
