import numpy as np
import pytest
import tensorflow as tf
from tests.fixtures.exported_models.examples import serialise

from tfx_explain.engine.feature_graph.raw_segments import put_together, take_apart

pytestmark = pytest.mark.tf

LONG = "x" * 300
ROW = {"a": [1.5], "b": ["word", "x" * 20_000], LONG: [3, 4, -1], "d": [2.0] * 100}


def parsed(serialised):
    """Wire bytes of the values by feature."""
    features = tf.train.Example.FromString(serialised).features.feature
    return {name: features[name].SerializeToString() for name in sorted(features)}


def key_last(serialised):
    """The same example, each entry's name behind its value."""
    entries = b""
    for name, value in parsed(serialised).items():
        entry = b"\x12" + varint(len(value)) + value + b"\x0a" + varint(len(name)) + name.encode()
        entries += b"\x0a" + varint(len(entry)) + entry
    return b"\x0a" + varint(len(entries)) + entries


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number % 128 + 128]), number // 128
    return out + bytes([number])


WRITTEN = {
    "canonical": serialise(ROW),
    "in two pieces": serialise({"a": [1.5], "d": [2.0] * 100}) + serialise({k: ROW[k] for k in ("b", LONG)}),
    "key last": key_last(serialise(ROW)),
    "written twice": serialise({"a": [9.0]}) + serialise(ROW),
    "unknown field": serialise(ROW) + b"\x7a\x01x",
}


@pytest.mark.parametrize("written", WRITTEN)
def test_any_way_of_writing_is_taken_apart_alike(written):
    examples = np.array([WRITTEN[written], serialise({"a": [2.0]}), b"", serialise({"b": ["y"]})], dtype=object)
    assert parsed(examples[0]) == parsed(WRITTEN["canonical"])
    rest, segments = take_apart(examples, ["b", LONG])
    assert {name: [bool(s) for s in values] for name, values in segments.items()} == {
        "b": [True, False, False, True],
        LONG: [True, False, False, False],
    }
    assert segments["b"][0] == serialise({"b": ROW["b"]})
    assert segments[LONG][0] == serialise({LONG: ROW[LONG]})
    assert [list(parsed(row)) for row in rest] == [["a", "d"], ["a"], [], []]
    for whole, example in zip(put_together(rest, list(segments.values())), examples, strict=True):
        assert parsed(whole) == parsed(example)


def test_tensorflow_parses_rows_that_are_put_together():
    spec = {name: tf.io.VarLenFeature(dtype) for name, dtype in (("a", tf.float32), ("b", tf.string), (LONG, tf.int64))}
    examples = np.array([WRITTEN["canonical"], serialise({"b": ["y"]}), b""], dtype=object)
    rest, segments = take_apart(examples, ["a", "b", LONG])
    moved = put_together(rest, [segments["a"], np.roll(segments["b"], 1), segments[LONG]])
    got = {name: tf.sparse.to_dense(v).numpy().tolist() for name, v in tf.io.parse_example(moved, spec).items()}
    assert got == {
        "a": [[1.5], [0.0], [0.0]],
        "b": [[b"", b""], [b"word", b"x" * 20_000], [b"y", b""]],
        LONG: [[3, 4, -1], [0, 0, 0], [0, 0, 0]],
    }
