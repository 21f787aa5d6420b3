"""Loops, branches and arrays of tensors: attributions of sums over features, in closed form."""

import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import columns, numbers, random_matrix, save

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients

pytestmark = pytest.mark.tf

X = random_matrix(24)
BASELINE = np.full((1, 3), 0.25, np.float32)


class Module(tf.Module):
    def __init__(self):
        super().__init__()
        self.choice = tf.Variable(2, trainable=False)


def branch(h, module):
    return tf.cond(module.choice > 1, lambda: h**3, lambda: h)


def switch(h, module):
    return tf.switch_case(tf.identity(module.choice), [lambda: h, lambda: -h, lambda: tf.exp(h)])


def loop(h, _):
    return tf.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, tf.tanh(v) + v), [0, h])[1]


def mapped(h, _):
    return tf.map_fn(lambda row: tf.math.softplus(row) * 2.0, h)


def array(h, _):
    written = tf.TensorArray(tf.float32, 3, element_shape=[None])
    written = tf.while_loop(lambda i, _: i < 3, lambda i, a: (i + 1, a.write(i, h[:, i] ** 2)), [0, written])[1]
    return tf.transpose(written.stack())


def nested(h, module):
    def step(i, v):
        return i + 1, tf.cond(i < module.choice, lambda: tf.tanh(v) + v, lambda: loop(0.5 * v, None))

    return tf.map_fn(lambda row: tf.while_loop(lambda i, _: i < 3, step, [0, row])[1], h)


def twice(v):
    return np.tanh(v) + v


CLOSED = {
    branch: lambda v: v**3,
    switch: np.exp,
    loop: lambda v: twice(twice(twice(v))),
    mapped: lambda v: 2 * np.log1p(np.exp(v)),
    array: lambda v: v**2,
    nested: lambda v: twice(twice(twice(0.5 * twice(twice(v))))),
}


@pytest.mark.parametrize("make", CLOSED)
def test_a_sum_over_features_is_attributed_term_by_term(make, tmp_path):
    module = Module()
    path = save(
        tmp_path / "m",
        lambda parsed, _: {"score": tf.reduce_sum(make(columns(parsed), module) * [1.0, -2.0, 3.0], 1, keepdims=True)},
        module=module,
    )
    model = FeatureModel.load(path, sample=numbers(X[:16]), input_baseline=numbers(BASELINE)[0])
    assert (model.features, model.blocked) == (("a", "b", "c"), {})
    result = integrated_gradients(model, model.encode(numbers(X)), model.encode(numbers(BASELINE)), 0)
    closed = CLOSED[make]
    expected = (closed(X.astype(np.float64)) - closed(BASELINE.astype(np.float64))) * [1, -2, 3]
    np.testing.assert_allclose(result.attributions, expected, rtol=2e-5, atol=2e-5)
