"""Decoded columns: the fast way gives what the tolerant one gives, row for row."""

import numpy as np
import pytest
import tensorflow as tf
from tests.explainer_gen.examples_data import BROKEN

from tfx_explain.explainer_gen import columns
from tfx_explain.explainer_gen.columns import decode
from tfx_explain.explainer_gen.examples import write_example
from tfx_explain.explainer_gen.known_columns import parse_known

pytestmark = pytest.mark.tf

LAYOUT = (("b", "b"), ("f", "f"), ("i", "i"))


def rows(count, seed=0):
    """Rows with none, one or many values a feature, of all sizes that an encoding knows."""
    rng = np.random.default_rng(seed)
    out = []
    for n in range(count):
        size = rng.choice([0, 1, 1, 1, 3, 40], 3)
        ints = [int(v) for v in rng.choice([0, 1, 127, 128, 16383, 16384, 2**40, 2**63 - 1, -1], size[1])]
        text = [b"x" * int(k) for k in rng.choice([0, 1, 127, 128, 20_000], size[2] % 4)]
        out.append(write_example({"f": ("f", rng.normal(size=size[0]).tolist()), "i": ("i", ints), "b": ("b", text)}))
        out[-1] = out[-1] if n else write_example({"f": ("f", [1.0]), "i": ("i", [1]), "b": ("b", [b"x"])})
    return out


def slowly(raw, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(columns, "_WORTH_KNOWING", len(raw) + 1)
        return decode(raw)


def equal(got, want):
    assert list(got.columns) == sorted(want.columns)
    for key, column in want.columns.items():
        np.testing.assert_array_equal(got.columns[key].offsets, column.offsets)
        assert got.columns[key].values.dtype == column.values.dtype
        assert got.columns[key].values.tolist() == column.values.tolist()
    np.testing.assert_array_equal(got.readable, want.readable)
    np.testing.assert_array_equal(got.with_empty_list, want.with_empty_list)


def test_the_size_of_every_encoding_is_known():
    raw = rows(300)
    parsed = parse_known(raw, LAYOUT)
    assert parsed is not None
    assert parsed[1].all()


@pytest.mark.parametrize("kind", ["all known", "a new feature", "an empty list", "another kind", "broken"])
def test_both_ways_give_the_same(kind, monkeypatch):
    raw = rows(300, seed=1)
    strange = {
        "a new feature": write_example({"f": ("f", [1.0]), "new": ("i", [2])}),
        "an empty list": tf.train.Example(
            features=tf.train.Features(feature={"f": tf.train.Feature(float_list=tf.train.FloatList())})
        ).SerializeToString(),
        "another kind": write_example({"f": ("i", [1])}),
        "broken": BROKEN,
    }
    if kind in strange:
        raw[7] = raw[133] = strange[kind]
    got = decode(raw)
    equal(got, slowly(raw, monkeypatch))
    assert got.with_empty_list.tolist() == ([7, 133] if kind == "an empty list" else [])
    assert got.readable.sum() == (298 if kind == "broken" else 300)


def test_a_feature_that_is_given_twice_shows():
    once = write_example({"f": ("f", [1.0])})
    twice = tf.train.Example.FromString(once)
    raw = twice.SerializeToString()
    entry = raw[2:]  # the map's one entry
    doubled = raw[:1] + bytes([2 * len(entry)]) + 2 * entry
    parsed = parse_known([once, doubled], (("f", "f"),))
    assert parsed is not None
    assert parsed[1].tolist() == [True, False]
