import numpy as np
import pytest
from tests.engine.methods.toy_models import Rows, linear, quadratic

from tfx_explain.engine.methods.gradient import gradient, gradient_x_input, one_number_a_feature

RNG = np.random.default_rng(1)
X, B = RNG.normal(size=(9, 3)), RNG.normal(size=(1, 3))
MATRIX = RNG.normal(size=(3, 3))
ALL = frozenset({"x0", "x1", "x2"})


def test_gradient_x_input_is_exact_where_the_model_is_linear():
    result = gradient_x_input(linear([1.0, -2.0, 0.5]), Rows(X), Rows(B), 0)
    np.testing.assert_allclose(result.attributions, (X - B) * [1.0, -2.0, 0.5], atol=1e-6)


def test_gradient_x_input_is_the_first_order_term_at_x():
    result = gradient_x_input(quadratic(MATRIX), Rows(X), Rows(B), 0)
    np.testing.assert_allclose(result.attributions, (X - B) * (X @ (MATRIX + MATRIX.T)), atol=1e-5)
    np.testing.assert_allclose(result.prediction, np.einsum("ri,ij,rj->r", X, MATRIX, X), atol=1e-5)


def test_gradient_keeps_the_sign_of_a_scalar_and_measures_the_length_of_the_rest():
    result = gradient(quadratic(MATRIX), Rows(X), 0, {"x0", "x2"})
    expected = X @ (MATRIX + MATRIX.T)
    expected[:, 1] = np.abs(expected[:, 1])
    np.testing.assert_allclose(result.attributions, expected, atol=1e-5)


def test_entries_of_opposite_sign_do_not_cancel():
    found = one_number_a_feature({"word": np.array([[3.0, -4.0]]), "age": np.array([[-2.0]])}, ("age", "word"), {"age"})
    assert found.tolist() == [[-2.0, 5.0]]


def test_a_scalar_of_several_numbers_is_refused():
    with pytest.raises(ValueError, match="must be one number"):
        one_number_a_feature({"word": np.ones((2, 3))}, ("word",), {"word"})


@pytest.mark.parametrize("method", ["gradient", "gradient_x_input"])
def test_nothing_is_said_to_add_up(method):
    model = linear([1.0, 1.0, 1.0])
    found = {
        "gradient": lambda: gradient(model, Rows(X), 0, ALL),
        "gradient_x_input": lambda: gradient_x_input(model, Rows(X), Rows(B), 0),
    }[method]()
    assert np.isnan(found.convergence_delta).all() and np.isnan(found.baseline_prediction).all()
    assert not found.converged.any()
    assert found.num_steps.tolist() == [1] * 9
    np.testing.assert_allclose(found.prediction, X.sum(axis=1), atol=1e-6)
    assert found.forward_equivalents == 9 * 4 + (method == "gradient_x_input")


def test_refuses_several_baselines():
    with pytest.raises(ValueError, match="input_baseline must have one row"):
        gradient_x_input(linear([1.0, 1.0, 1.0]), Rows(X), Rows(X[:2]), 0)
