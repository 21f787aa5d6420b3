"""Networks that compute in bfloat16 or half, from float32 features on."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tests.engine.feature_graph.small_models import columns, numbers, random_matrix, save

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.feature_graph.affine import affine_frontier
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients
from tfx_explain.engine.methods.quadrature import gauss_legendre

pytestmark = pytest.mark.tf

MATRIX = random_matrix(64, 1)
EXAMPLES = numbers(MATRIX)
ZERO = numbers(np.zeros((1, 3)))
STEPS = 50


def mixed(library, policy, activation="tanh"):
    library.utils.set_random_seed(2)
    inputs = library.Input((3,))
    hidden = inputs
    for _ in range(2):
        hidden = library.layers.Dense(16, activation=activation, dtype=policy)(hidden)
    return library.Model(inputs, library.layers.Dense(1, dtype="float32")(hidden))


def by_tape(net, matrix):
    """Integrated gradients of the bare model from zeros, its nodes in one batch as the engine's."""
    nodes, weights = gauss_legendre(STEPS)
    points = tf.constant((nodes[:, None, None] * matrix).astype(np.float32).reshape(-1, 3))
    with tf.GradientTape() as tape:
        tape.watch(points)
        value = net(points)
    gradients = tape.gradient(value, points).numpy().reshape(STEPS, *matrix.shape)
    return matrix * np.tensordot(weights, gradients, 1)


def explain(path):
    model = FeatureModel.load(path, sample=EXAMPLES[:12])
    rows, baseline = model.encode(EXAMPLES), model.encode(ZERO)
    return integrated_gradients(model, rows, baseline, 0, num_steps=STEPS, repair_steps=())


# A cast to bfloat16 has steps: pulled back through it once, these were off by up to 3e-2 of a row's sum.
# Some processors add up in half itself, in steps of 1e-3, and so by the shape of a batch; others in float32.
@pytest.mark.parametrize("library", [keras, tf_keras])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_bfloat16", 1e-3), ("mixed_float16", 3e-4)])
def test_mixed_precision_agrees_with_the_tape(library, policy, activation, tolerance, tmp_path):
    net = mixed(library, policy, activation)
    result = explain(save(tmp_path / "m", lambda parsed, _: {"y": net(columns(parsed))}, module=net))
    expected = by_tape(net, MATRIX)
    off = np.abs(result.attributions - expected).max(axis=1) / np.abs(expected).sum(axis=1)
    assert off.max() <= tolerance
    assert np.median(off) <= 2e-4


# Weights of one hundredth at the output would leave such gradients nothing of half's five bits of exponent: these were
# off by 0.4.
def test_small_gradients_in_half_precision_keep_their_bits(tmp_path):
    net = mixed(keras, "mixed_float16")
    kernel, bias = net.layers[-1].get_weights()
    net.layers[-1].set_weights([kernel * 1e-5, bias * 1e-5])
    path = save(tmp_path / "m", lambda parsed, _: {"y": net(columns(parsed))}, module=net)
    expected = by_tape(net, MATRIX)
    off = np.abs(explain(path).attributions - expected).max(axis=1) / np.abs(expected).sum(axis=1)
    assert off.max() <= 2e-3
    assert np.median(off) <= 2e-4


@pytest.mark.parametrize(("through", "affine"), [(tf.float64, True), (tf.bfloat16, False), (tf.float16, False)])
def test_only_casts_that_round_no_more_than_float32_are_affine(through, affine):
    with tf.Graph().as_default():
        cut = tf.compat.v1.placeholder(tf.float32, [None, 3])
        cast = tf.cast(tf.cast(cut, through), tf.float32)
        target = tf.tanh(cast)
    assert affine_frontier([cut], [], target) == [cast if affine else cut]


def test_arithmetic_in_half_precision_is_not_affine():
    with tf.Graph().as_default():
        cut = tf.compat.v1.placeholder(tf.float16, [None, 3])
        target = tf.tanh(cut + cut)
    assert affine_frontier([cut], [], target) == [cut]
