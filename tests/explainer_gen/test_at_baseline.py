import numpy as np

from tfx_explain.explainer_gen.at_baseline import at_input_baseline, weight_at_baseline
from tfx_explain.explainer_gen.columns import Column, Columns


def column(rows, dtype):
    values = np.empty(sum(map(len, rows)), dtype)
    values[:] = [v for row in rows for v in row]
    return Column(np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64), values)


COLUMNS = Columns(
    {
        ("age", "f"): column([[0.1], [0.2], [], [0.1, 0.1], [0.1]], np.float32),
        ("words", "b"): column([[b"x", b"y"], [b"x", b"y"], [b"y", b"x"], [b"x"], []], object),
        ("mixed", "i"): column([[3], [3], [], [3], [3]], np.int64),
        ("mixed", "f"): column([[], [3.0], [3.0], [], []], np.float32),
        ("empty", "f"): column([[], [1.0], [], [], []], np.float32),
    },
    np.array([True, True, True, True, False]),
)
BASELINE = {
    "age": ("f", (float(np.float32(0.1)),)),
    "words": ("b", (b"x", b"y")),
    "mixed": ("i", (3,)),
    "empty": ("f", ()),
    "nowhere": ("i", (1,)),
    "nothing": ("b", ()),
}


def at(feature):
    return at_input_baseline(COLUMNS, BASELINE, [feature])[:, 0].tolist()


def test_a_row_is_at_the_baseline_where_its_whole_list_is():
    assert at("age") == [True, False, False, False, False]
    assert at("words") == [True, True, False, False, False]


def test_another_kind_is_another_value():
    assert at("mixed") == [True, False, False, True, False]


def test_no_value_is_the_baseline_only_where_that_has_none():
    assert at("empty") == [True, False, True, True, False]
    assert at("nowhere") == [False] * 5
    assert at("nothing") == [True, True, True, True, False]


def test_a_cross_needs_all_its_parts_and_an_unknown_feature_has_no_baseline():
    assert at("age x words") == [True, False, False, False, False]
    assert at("mixed x words") == [True, False, False, False, False]
    assert at("age x unknown") == at("unknown") == [False] * 5


def test_weights_add_up_by_feature_and_in_all_at_once():
    rows = at_input_baseline(COLUMNS, BASELINE, ["age", "words"])
    weight = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    assert weight_at_baseline(rows, weight).tolist() == [1.0, 3.0, 1.0]
    assert weight_at_baseline(np.zeros((3, 0), bool), np.ones(3)).tolist() == [0.0]
