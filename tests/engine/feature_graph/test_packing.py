import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import NAMES, SPEC, network, numbers, random_matrix, save

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.feature_graph.packing import Packing
from tfx_explain.engine.methods.quadrature import gauss_legendre

pytestmark = pytest.mark.tf


def test_tensors_of_one_shape_and_type_share_a_block_and_come_back_in_order():
    shapes = [(3, 1), (3, 2), (3, 1), (3,), (3, 2, 2), (3, 2)]
    tensors = [tf.fill(shape, float(index)) for index, shape in enumerate(shapes)] + [tf.ones((3, 1), tf.float64)]
    packing = Packing(tensors)
    blocks = packing.pack(tensors)
    assert [tuple(block.shape) for block in blocks] == [
        (2, 3, 1),
        (2, 3, 2),
        (1, 3),
        (1, 3, 2, 2),
        (1, 3, 1),
    ]
    for tensor, again in zip(tensors, packing.unpack(blocks), strict=True):
        assert again.dtype == tensor.dtype
        np.testing.assert_array_equal(again, tensor)


def test_tensors_whose_rows_have_an_open_shape_are_alone():
    @tf.function(input_signature=[tf.TensorSpec([None, None])] * 2)
    def blocks(one, other):
        return Packing([one, other]).pack([one, other])

    found = blocks(tf.ones((3, 2)), tf.ones((3, 5)))
    assert [tuple(block.shape) for block in found] == [(1, 3, 2), (1, 3, 5)]


def test_a_nonlinear_first_step_is_integrated_at_each_feature(tmp_path):
    """No affine prefix: the path is walked at the features, which the model reads in another order than their names."""
    net = network(activation="swish")
    order = NAMES[::-1]

    def score(parsed, _):
        return {"score": net(tf.concat([tf.math.log1p(parsed[name]) for name in order], 1))}

    x, b = np.abs(random_matrix(20)), np.abs(random_matrix(1, seed=1))
    model = FeatureModel.load(save(tmp_path / "m", score, SPEC, net), sample=numbers(x[:8]))
    nodes, weights = gauss_legendre(12)
    expected = np.zeros_like(x)
    for node, weight in zip(nodes, weights, strict=True):
        point = tf.constant((b + node * (x - b)).astype(np.float32))
        with tf.GradientTape() as tape:
            tape.watch(point)
            value = net(tf.math.log1p(point)[:, ::-1])
        expected += weight * tape.gradient(value, point).numpy() * (x - b)
    for rows in (20, 1):
        integral = model.path_gradients(model.encode(numbers(x[:rows])), model.encode(numbers(b)), 0, nodes, weights)
        np.testing.assert_allclose(integral.attributions, expected[:rows], atol=2e-6)
