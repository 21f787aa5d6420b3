import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import NAMES, SPEC, columns, random_matrix, save
from tests.fixtures.exported_models.examples import serialise

from tfx_explain.engine.feature_graph.flat_graph import FlatGraph
from tfx_explain.engine.feature_graph.row_tensors import row_bytes
from tfx_explain.engine.feature_graph.sources import find_sources

pytestmark = pytest.mark.tf

# One tag in every row of the sample.
SAMPLE = np.array(
    [
        serialise({**{name: [float(v)] for name, v in zip(NAMES, row, strict=True)}, "tags": [k], "words": ["x", "yy"]})
        for k, row in enumerate(random_matrix(12))
    ],
    dtype=object,
)


def tensors(parsed, examples):
    a, tags = parsed["a"], parsed["tags"]
    rows = tf.shape(examples)[0]
    return {
        "number": a * 2.0,
        "double": tf.cast(a, tf.float64),
        "flags": columns(parsed) > 0,
        "vector": a[:, 0],
        "strings": tf.strings.lower(parsed["words"]),
        "multi_hot": tf.sparse.to_indicator(tags, 20),
        "first_or_none": tf.sparse.to_dense(tf.SparseTensor(tags.indices, tags.values, [tags.dense_shape[0], 1])),
        "place": a * 0 + tf.cast(tf.range(rows), tf.float32)[:, None],
        "less_the_mean": a - tf.reduce_mean(a),
        "largest": tf.reduce_max(a),
        "across": tf.transpose(columns(parsed)),
        "tags_in_a_row": tags.values + 1,
        "padded": tf.sparse.to_dense(tags) + 1,
    }


def test_what_has_one_row_for_each_example(tmp_path):
    spec = {**SPEC, "tags": tf.io.VarLenFeature(tf.int64), "words": tf.io.FixedLenFeature([2], tf.string)}
    loaded = tf.saved_model.load(save(tmp_path / "m", tensors, spec))
    flat = FlatGraph.from_signature(loaded.signatures["serving_default"])
    uses = {"flags": "abc", "across": "abc", "strings": ["words"]}
    uses |= dict.fromkeys(("multi_hot", "first_or_none", "tags_in_a_row", "padded"), ["tags"])
    features = {tensor: uses.get(name, "a") for name, tensor in flat.output_names.items()}
    found = row_bytes(flat, features, find_sources(flat), SAMPLE)
    names = {tensor: name for name, tensor in flat.output_names.items()}
    assert {names[tensor]: width for tensor, width in found.items()} == {
        "number": 4,
        "double": 8,
        "flags": 3,
        "vector": 4,
        "strings": 2,
        "multi_hot": 20,
        "first_or_none": 8,
    }
