import numpy as np
import pytest
from tests.explainer_gen.examples_data import BROKEN, serialise

from tfx_explain.explainer_gen.columns import decode
from tfx_explain.explainer_gen.row_ids import buckets, hexadecimal, ids_of, order_keys, row_ids

pytestmark = pytest.mark.tf

FROZEN = "acf2ba883cd8a39c83c768e7bf9aef61"
ROW = [("x", "f", [1.5, -2.0]), ("n", "i", [-3]), ("s", "b", [b"red", b""])]


def ids(*rows):
    return hexadecimal(row_ids(decode(list(rows)), list(rows)))


def test_the_id_is_frozen():
    """Ids stand in stored artifacts: another release must give the same."""
    assert ids(serialise(ROW)) == [FROZEN]


@pytest.mark.parametrize(
    "disguise",
    [
        ROW[::-1],
        [*ROW, ("empty", "f", [])],
        [*ROW, ("unset", "-", [])],
        [("none", "b", []), *ROW],
    ],
)
def test_the_same_content_has_the_same_id(disguise):
    assert ids(serialise(disguise)) == ids(serialise(ROW))


@pytest.mark.parametrize(
    "other",
    [
        [("x", "f", [-2.0, 1.5]), *ROW[1:]],
        [("x", "f", [1.5]), *ROW[1:]],
        [("x", "f", [1.5, -2.0, 0.0]), *ROW[1:]],
        [("y", "f", [1.5, -2.0]), *ROW[1:]],
        [ROW[0], ("n", "f", [-3.0]), ROW[2]],
        [ROW[0], ("n", "i", [3]), ROW[2]],
        [*ROW[:2], ("s", "b", [b"red"])],
        [*ROW[:2], ("s", "b", [b"", b"red"])],
        [*ROW[:2], ("s", "b", [b"re", b"d"])],
        [],
    ],
)
def test_another_content_has_another_id(other):
    assert ids(serialise(other)) != ids(serialise(ROW))


def test_batching_does_not_matter():
    rng = np.random.default_rng(0)
    rows = [
        serialise([("x", "f", list(rng.normal(size=rng.integers(0, 4)))), ("c", "b", [rng.choice([b"a", b"b"])])])
        for _ in range(200)
    ]
    together = ids(*rows)
    assert together == [i for r in rows for i in ids(r)]
    assert together == [i for k in range(0, 200, 7) for i in ids(*rows[k : k + 7])]


def test_broken_rows_do_not_disturb_their_neighbours():
    rows = [serialise(ROW), BROKEN, serialise([("x", "f", [2.0])])]
    columns = decode(rows)
    assert columns.readable.tolist() == [True, False, True]
    got = ids(*rows)
    assert got[0] == ids(serialise(ROW))[0]
    assert got[1] == ids(BROKEN)[0]
    assert len(set(got)) == 3


def test_rows_that_disagree_on_a_kind_keep_their_ids():
    rows = [serialise([("x", "f", [1.0])]), serialise([("x", "i", [1])]), serialise([("x", "b", [b"1"])])]
    assert ids(*rows) == [ids(r)[0] for r in rows]


def test_ids_spread_over_buckets_and_never_collide():
    rows = [serialise([("n", "i", [i])]) for i in range(20_000)]
    got = row_ids(decode(rows), rows)
    assert len(np.unique(got)) == len(rows)
    counts = np.bincount(buckets(got), minlength=64)
    assert counts.min() > 220 and counts.max() < 410  # 312.5 each; 6 sigma is 105


def test_the_seed_orders_the_sample_and_leaves_ids_alone():
    rows = [serialise([("n", "i", [i])]) for i in range(500)]
    got = row_ids(decode(rows), rows)
    one, other = order_keys(got, 0), order_keys(got, 1)
    assert (ids_of(one) == got).all() and (ids_of(other) == got).all()
    assert (np.argsort(one) != np.argsort(other)).any()
