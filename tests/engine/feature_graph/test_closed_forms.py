import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import columns, network, numbers, random_matrix, save

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients
from tfx_explain.engine.methods.quadrature import gauss_legendre

pytestmark = pytest.mark.tf

X = random_matrix(30)
B = random_matrix(1, seed=1)
WEIGHTS = np.array([0.5, -1.5, 2.0], np.float32)
MATRIX = random_matrix(3, seed=2)


def product_attributions():
    """The integral of the gradient of x0 x1 x2, a quadratic in the step, by Simpson's rule: exact at that degree."""
    attributions = np.zeros_like(X)
    for step, weight in ((0.0, 1 / 6), (0.5, 4 / 6), (1.0, 1 / 6)):
        point = B + step * (X - B)
        for feature in range(3):
            others = np.delete(point, feature, axis=1).prod(axis=1)
            attributions[:, feature] += weight * others
    return attributions * (X - B)


CASES = {
    "linear": (lambda z: tf.linalg.matvec(z, WEIGHTS) + 3.0, WEIGHTS * (X - B)),
    "quadratic": (
        lambda z: tf.reduce_sum(z * (z @ MATRIX), 1),
        (X - B) * (((X + B) / 2) @ (MATRIX + MATRIX.T)),
    ),
    "product": (lambda z: tf.reduce_prod(z, 1), product_attributions()),
}


@pytest.mark.parametrize("name", CASES)
def test_attributions_equal_the_formula(name, tmp_path):
    function, expected = CASES[name]
    path = save(tmp_path / name, lambda parsed, _: {"score": function(columns(parsed))})
    model = FeatureModel.load(path, sample=numbers(X[:8]), input_baseline=numbers(B)[0])
    assert model.features == ("a", "b", "c")
    assert (model.link, model.unit, model.num_targets) == ("raw", "output", 1)
    rows, baseline = model.encode(numbers(X)), model.encode(numbers(B))
    result = integrated_gradients(model, rows, baseline, 0, num_steps=4, repair_steps=())
    np.testing.assert_allclose(result.attributions, expected, atol=1e-5)
    np.testing.assert_allclose(result.prediction, function(tf.constant(X)), atol=1e-5)
    np.testing.assert_allclose(result.baseline_prediction, np.repeat(function(tf.constant(B)), 30), atol=1e-5)
    np.testing.assert_allclose(result.convergence_delta, 0, atol=1e-5)
    assert result.converged.all()


def test_a_row_at_the_input_baseline_has_no_attribution_though_the_gradient_there_is_none(tmp_path):
    path = save(tmp_path / "norm", lambda parsed, _: {"score": tf.norm(columns(parsed), axis=1)})
    zero = numbers(np.zeros((1, 3)))
    model = FeatureModel.load(path, sample=numbers(X[:8]), input_baseline=zero[0])
    rows = model.encode(numbers(np.concatenate([X[:2], np.zeros((1, 3))])))
    result = integrated_gradients(model, rows, model.encode(zero), 0, num_steps=4, repair_steps=())
    length = np.linalg.norm(X[:2], axis=1, keepdims=True)
    np.testing.assert_allclose(result.attributions, [*(X[:2] ** 2 / length), np.zeros(3)], atol=1e-5)
    assert result.converged.all()


def test_saliency_is_the_gradient(tmp_path):
    path = save(tmp_path / "m", lambda parsed, _: {"score": tf.reduce_prod(columns(parsed), 1)})
    model = FeatureModel.load(path, sample=numbers(X[:8]))
    gradients = model.gradients(model.encode(numbers(X)), 0)
    assert list(gradients) == ["a", "b", "c"]
    for index, name in enumerate(model.features):
        others = np.delete(X, index, axis=1).prod(axis=1, keepdims=True)
        np.testing.assert_allclose(gradients[name], others, atol=1e-5)


def test_steps_and_weights_are_the_callers(tmp_path):
    path = save(tmp_path / "m", lambda parsed, _: {"score": tf.reduce_sum(columns(parsed) ** 2, 1)})
    model = FeatureModel.load(path, sample=numbers(X[:8]))
    rows, baseline = model.encode(numbers(X)), model.encode(numbers(B))
    nodes, weights = np.array([0.0, 1.0, 0.25]), np.array([0.5, 0.25, 0.25])
    expected = (X - B) * sum(w * 2 * (B + n * (X - B)) for n, w in zip(nodes, weights, strict=True))
    integral = model.path_gradients(rows, baseline, 0, nodes, weights)
    np.testing.assert_allclose(integral.attributions, expected, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 400, 2500])
def test_any_number_of_rows_and_steps_is_fused_alike(rows, tmp_path):
    net = network()
    path = save(tmp_path / "m", lambda parsed, _: {"score": tf.sigmoid(net(columns(parsed)))}, module=net)
    x = random_matrix(rows, seed=3)
    model = FeatureModel.load(path, sample=numbers(X[:8]))
    encoded, baseline = model.encode(numbers(x)), model.encode(numbers(B))
    together = model.path_gradients(encoded, baseline, 0, *gauss_legendre(13)).attributions
    one_by_one = sum(
        weight * model.path_gradients(encoded, baseline, 0, np.array([node]), np.ones(1)).attributions
        for node, weight in zip(*gauss_legendre(13), strict=True)
    )
    np.testing.assert_allclose(together, one_by_one, atol=1e-5)


def softmax_model(tmp_path, targets):
    net = network(targets=targets)
    path = save(tmp_path / "m", lambda parsed, _: {"probabilities": tf.nn.softmax(net(columns(parsed)))}, module=net)
    return net, path


@pytest.mark.parametrize("targets", [2, 4])
def test_softmax_logits_are_explained_centred_and_predicted_raw(targets, tmp_path):
    net, path = softmax_model(tmp_path, targets)
    model = FeatureModel.load(path, sample=numbers(X[:8]))
    assert (model.link, model.unit, model.num_targets) == ("softmax", "logit", targets)
    rows, baseline = model.encode(numbers(X)), model.encode(numbers(B))
    logits = net(X).numpy()
    np.testing.assert_allclose(model.predict(rows), logits, atol=1e-5)
    target = np.arange(30) % targets
    others = logits.mean(axis=1) if targets > 2 else logits[np.arange(30), 1 - target]
    expected = logits[np.arange(30), target] - others
    result = integrated_gradients(model, rows, baseline, target)
    np.testing.assert_allclose(result.prediction, expected, atol=1e-5)
    assert result.converged.all()


def test_probabilities_are_explained_when_asked_for(tmp_path):
    net, path = softmax_model(tmp_path, 3)
    model = FeatureModel.load(path, sample=numbers(X[:8]), unit="probability")
    rows, baseline = model.encode(numbers(X)), model.encode(numbers(B))
    probabilities = tf.nn.softmax(net(X)).numpy()
    np.testing.assert_allclose(model.predict(rows), probabilities, atol=1e-6)
    result = integrated_gradients(model, rows, baseline, 2)
    gap = probabilities[:, 2] - tf.nn.softmax(net(B)).numpy()[0, 2]
    np.testing.assert_allclose(result.attributions.sum(axis=1), gap, atol=1e-5)


@pytest.mark.parametrize("target", [-1, 3, np.array([0] * 29 + [3])])
def test_refuses_a_target_that_the_output_lacks(target, tmp_path):
    _, path = softmax_model(tmp_path, 3)
    model = FeatureModel.load(path, sample=numbers(X[:8]))
    with pytest.raises(ValueError, match=r"target must be in \[0, 3\)"):
        model.gradients(model.encode(numbers(X)), target)
