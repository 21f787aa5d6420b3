"""The methods on exported models."""

import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import columns, network, numbers, random_matrix, save

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.methods.expected_gradients import expected_gradients
from tfx_explain.engine.methods.gradient import gradient, gradient_x_input
from tfx_explain.engine.methods.quadrature import gauss_legendre
from tfx_explain.engine.methods.smoothgrad import smoothgrad

pytestmark = pytest.mark.tf

X, B = random_matrix(40), random_matrix(6, seed=1)
SEEDS = np.random.default_rng(3).integers(0, 2**63, 40).astype(np.uint64)
SPREADS = {name: [np.ones(1)] for name in "abc"}
NETS = {
    "binary": (network(), tf.sigmoid),
    "classes": (network(targets=3), tf.nn.softmax),
}


@pytest.fixture(scope="module", params=NETS)
def model(request, tmp_path_factory):
    net, link = NETS[request.param]
    path = save(tmp_path_factory.mktemp("m") / "m", lambda parsed, _: {"score": link(net(columns(parsed)))}, module=net)
    return FeatureModel.load(path, sample=numbers(X[:8]))


def targets(model, rows):
    return (np.arange(rows) % model.num_targets).astype(np.int32)


def test_the_explained_value_is_that_of_the_path(model):
    rows, target = model.encode(numbers(X)), targets(model, 40)
    integral = model.path_gradients(rows, model.encode(numbers(B[:1])), target, *gauss_legendre(3))
    np.testing.assert_allclose(model.explained(rows, target), integral.prediction, atol=1e-6)


def test_expected_gradients_add_up_on_a_smooth_network(model):
    rows, target = model.encode(numbers(X)), targets(model, 40)
    background = [model.encode([raw]) for raw in numbers(B)]
    result = expected_gradients(model, rows, background, target, num_steps=16, repair_steps=())
    mean = np.mean([model.explained(model.encode([raw] * 40), target) for raw in numbers(B)], axis=0)
    np.testing.assert_allclose(result.baseline_prediction, mean, atol=1e-6)
    np.testing.assert_allclose(result.attributions.sum(axis=1), result.prediction - mean, atol=1e-4)


def test_gradient_x_input_is_the_gradient_times_the_distance(model):
    rows, target = model.encode(numbers(X)), targets(model, 40)
    one = gradient(model, rows, target, frozenset("abc"))
    other = gradient_x_input(model, rows, model.encode(numbers(B[:1])), target)
    np.testing.assert_allclose(other.attributions, one.attributions * (X - B[:1]), atol=1e-5)
    np.testing.assert_allclose(other.prediction, one.prediction, atol=1e-6)
    # By differences of the explained value.
    step = np.float32(1e-2) * np.eye(3, dtype=np.float32)[0]
    up, down = (model.explained(model.encode(numbers(X + s)), target) for s in (step, -step))
    np.testing.assert_allclose(one.attributions[:, 0], (up - down) / 2e-2, atol=5e-3)


def test_smoothgrad_of_a_row_has_the_same_bits_in_any_batch_of_one_shape(model):
    target = targets(model, 40)

    def run(order):
        rows = model.encode([numbers(X)[i] for i in order])
        return smoothgrad(model, rows, target[order], SEEDS[order], SPREADS, frozenset("abc"), samples=3).attributions

    whole = run(np.arange(40))
    order = np.random.default_rng(0).permutation(40)
    np.testing.assert_array_equal(run(order), whole[order])
    padded = np.where(np.arange(40) < 10, np.arange(20, 60) % 40, 0)  # ten rows, and padding
    np.testing.assert_array_equal(run(padded)[:10], whole[20:30])
    assert (whole != gradient(model, model.encode(numbers(X)), target, frozenset("abc")).attributions).any(axis=1).all()


def test_open_shapes_are_those_that_the_graph_does_not_tell(tmp_path):
    """A one-hot row as long as a variable says."""
    module = tf.Module()
    module.depth = tf.Variable(4)
    weights = tf.constant([1.0, -2.0, 3.0, 0.5])

    def score(parsed, _):
        chosen = tf.one_hot(tf.cast(parsed["b"][:, 0] > 0, tf.int32), module.depth)
        return {"score": parsed["a"][:, 0] * 2.0 + tf.tanh(tf.linalg.matvec(chosen, weights))}

    model = FeatureModel.load(save(tmp_path / "m", score, module=module), sample=numbers(X[:8]))
    assert model.open_shapes == {"b"}
    assert model.cut_shapes["a"] == ((1,),)
