import numpy as np
import pytest
from tests.engine.methods.toy_models import Rows, linear, network, quadratic

from tfx_explain.engine.methods.expected_gradients import expected_gradients
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients

RNG = np.random.default_rng(0)
X, B = RNG.normal(size=(20, 3)), RNG.normal(size=(7, 3))
BACKGROUND = [Rows(row[None]) for row in B]
PRODUCT = [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_a_linear_model_has_the_distance_from_the_backgrounds_mean():
    result = expected_gradients(linear([1.0, -2.0, 0.5]), Rows(X), BACKGROUND, 0, num_steps=1, repair_steps=())
    np.testing.assert_allclose(result.attributions, (X - B.mean(axis=0)) * [1.0, -2.0, 0.5], atol=1e-5)
    np.testing.assert_allclose(result.convergence_delta, 0, atol=1e-5)
    assert result.converged.all()


def test_a_quadratic_model_has_the_mean_of_its_closed_form():
    matrix = RNG.normal(size=(3, 3))
    expected = np.mean([(X - b) * (((X + b) / 2) @ (matrix + matrix.T)) for b in B], axis=0)
    result = expected_gradients(quadratic(matrix), Rows(X), BACKGROUND, 0, num_steps=1, repair_steps=())
    np.testing.assert_allclose(result.attributions, expected, atol=2e-5)


def test_a_product_is_shared_by_its_factors():
    result = expected_gradients(quadratic(PRODUCT), Rows(X), BACKGROUND, 0, num_steps=2, repair_steps=())
    others = np.mean([(X - b) * ((X + b) / 2)[:, [1, 0, 2]] for b in B], axis=0)
    np.testing.assert_allclose(result.attributions[:, :2], others[:, :2], atol=1e-5)
    assert (result.attributions[:, 2] == 0).all()


def test_it_adds_up_to_the_distance_from_the_mean_prediction():
    net = network(RNG.normal(size=(3, 8)) / 2, RNG.normal(size=8))
    result = expected_gradients(net, Rows(X), BACKGROUND, 0, num_steps=12, repair_steps=())
    np.testing.assert_allclose(result.baseline_prediction, np.mean([net.function(b) for b in B]), atol=1e-6)
    np.testing.assert_allclose(
        result.attributions.sum(axis=1), net.function(X) - np.mean([net.function(b) for b in B]), atol=1e-4
    )
    np.testing.assert_allclose(
        result.convergence_delta,
        result.attributions.astype(float).sum(axis=1) - (result.prediction - result.baseline_prediction.astype(float)),
        atol=1e-6,
    )


def test_one_background_row_is_integrated_gradients():
    net = network(RNG.normal(size=(3, 8)), RNG.normal(size=8))
    one = expected_gradients(net, Rows(X), BACKGROUND[:1], 0, num_steps=5, repair_steps=())
    other = integrated_gradients(net, Rows(X), BACKGROUND[0], 0, num_steps=5, repair_steps=())
    np.testing.assert_array_equal(one.attributions, other.attributions)


def test_nodes_are_counted_over_all_background_rows_and_repairs_use_more_of_them():
    net = network(RNG.normal(size=(3, 8)) * 4, RNG.normal(size=8))
    result = expected_gradients(net, Rows(X), BACKGROUND, 0, num_steps=1, repair_steps=(6,), repair_batch=8)
    assert set(result.num_steps.tolist()) == {7, 42}
    batches = -(-int((result.num_steps == 42).sum()) // 8)
    assert len(net.calls) == 7 * (1 + batches)
    assert result.forward_equivalents == 7 * (20 * 4 + 1) + batches * 7 * (8 * 19 + 1)
    plain = expected_gradients(net, Rows(X), BACKGROUND, 0, num_steps=6, repair_steps=())
    again = result.num_steps == 42
    np.testing.assert_array_equal(result.attributions[again], plain.attributions[again])


@pytest.mark.parametrize("background", [[], [Rows(B)]])
def test_refuses_a_background_that_is_no_rows(background):
    with pytest.raises(ValueError, match="background must be batches of one row"):
        expected_gradients(linear([1.0, 1.0, 1.0]), Rows(X), background, 0)
