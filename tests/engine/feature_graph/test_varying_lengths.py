import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import SPEC, columns, network, numbers, random_matrix, save
from tests.fixtures.exported_models.examples import serialise

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients

pytestmark = pytest.mark.tf

X = random_matrix(12)
TAGS = ("new", "hot", "old")
BUCKETS = 5


def rows(lengths):
    rng = np.random.default_rng(3)
    made = []
    for row, length in zip(X, lengths, strict=True):
        tags = [TAGS[index] for index in rng.integers(3, size=length)]
        made.append(serialise({**{name: [float(v)] for name, v in zip("abc", row, strict=True)}, "tags": tags}))
    return made


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Tags are one-hot, [rows, longest of the batch, buckets], before they are summed up."""
    net = network(width=3 + BUCKETS)

    def counted(parsed, _):
        dense = tf.sparse.to_dense(parsed["tags"], "")
        one_hot = tf.one_hot(tf.strings.to_hash_bucket_fast(dense, BUCKETS), BUCKETS)
        one_hot *= tf.cast(dense != "", tf.float32)[..., None]
        return {"score": net(tf.concat([columns(parsed), tf.reduce_sum(one_hot, 1)], 1))}

    spec = {**SPEC, "tags": tf.io.VarLenFeature(tf.string)}
    return save(tmp_path_factory.mktemp("varying") / "m", counted, spec, net)


@pytest.mark.parametrize("in_sample", [1, 2])
def test_a_sample_of_one_length_says_nothing_about_other_lengths(in_sample, path):
    """Rows, and an input baseline, may be shorter and longer than any row of the sample."""
    model = FeatureModel.load(path, sample=rows([in_sample] * 12))
    usual = FeatureModel.load(path, sample=rows([0, 3, 1, 2] * 3))
    examples, baseline = rows([0, 1, 2, 3, 4, 5] * 2), [*numbers(np.zeros((1, 3)))]
    results = [integrated_gradients(each, each.encode(examples), each.encode(baseline), 0) for each in (model, usual)]
    assert results[0].converged.all()
    np.testing.assert_allclose(results[0].attributions, results[1].attributions, atol=1e-6)


def test_varying_rows_that_another_feature_scales_are_computed_again(tmp_path):
    """The one-hot rows have no shape of their own to be kept in: with the parser's parts goes their dense shape."""
    net = network(width=3 + BUCKETS)

    def scaled(parsed, _):
        dense = tf.sparse.to_dense(parsed["tags"], "")
        one_hot = tf.one_hot(tf.strings.to_hash_bucket_fast(dense, BUCKETS), BUCKETS)
        one_hot *= tf.cast(dense != "", tf.float32)[..., None] * parsed["a"][:, :1, None]
        return {"score": net(tf.concat([columns(parsed), tf.reduce_sum(one_hot, 1)], 1))}

    path = save(tmp_path / "m", scaled, {**SPEC, "tags": tf.io.VarLenFeature(tf.string)}, net)
    model = FeatureModel.load(path, sample=rows([0, 3, 1, 2] * 3))
    assert model.uncovered_features == ("tags",)
    examples = rows([0, 1, 2, 3, 4, 5] * 2)
    at = model.encode(examples)
    result = integrated_gradients(model, at, model.encode(examples), 0)
    np.testing.assert_allclose(result.attributions, 0, atol=1e-6)
    # Tags stay as they are along the path: what a, b and c add up to is the change at the row's own tags.
    parts = [tf.train.Example.FromString(row) for row in examples]
    for part in parts:
        for name in "abc":
            part.features.feature[name].float_list.value[:] = [0.0]
    bare = model.predict(model.encode([part.SerializeToString() for part in parts]))
    found = integrated_gradients(model, at, model.encode(numbers(np.zeros((1, 3)))), 0)
    np.testing.assert_allclose(found.attributions.sum(axis=1), (model.predict(at) - bare)[:, 0], atol=2e-2)
