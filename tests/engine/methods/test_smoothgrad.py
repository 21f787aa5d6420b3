import numpy as np
import pytest
from tests.engine.methods.toy_models import Rows, Toy, linear, quadratic

from tfx_explain.engine.methods.gradient import gradient
from tfx_explain.engine.methods.noise import normals
from tfx_explain.engine.methods.smoothgrad import smoothgrad, spreads_of

RNG = np.random.default_rng(2)
X = RNG.normal(size=(12, 3)).astype(np.float32)
SEEDS = RNG.integers(0, 2**63, 12).astype(np.uint64)
ALL = frozenset({"x0", "x1", "x2"})
SPREADS = {"x0": [np.array([2.0])], "x1": [np.array([1.0])], "x2": [np.array([0.5])]}
MATRIX = RNG.normal(size=(3, 3))
SUM = MATRIX + MATRIX.T


def test_a_linear_model_has_its_weights():
    result = smoothgrad(linear([1.0, -2.0, 0.5]), Rows(X), 0, SEEDS, SPREADS, ALL)
    np.testing.assert_allclose(result.attributions, np.tile([1.0, -2.0, 0.5], (12, 1)), atol=1e-6)
    np.testing.assert_allclose(result.prediction, X @ [1.0, -2.0, 0.5], atol=1e-6)
    assert result.num_steps.tolist() == [25] * 12
    assert result.forward_equivalents == 12 * 76


def noise(samples):
    """What each copy's features are moved by: float64 [samples, rows, features]."""
    columns = [
        [normals(SEEDS, (1,), name, "0", str(sample))[:, 0] * 0.1 * spreads[0] for name, spreads in SPREADS.items()]
        for sample in range(samples)
    ]
    return np.moveaxis(np.array(columns), 1, 2)


def test_a_quadratic_model_has_the_gradient_at_the_mean_of_its_copies():
    result = smoothgrad(quadratic(MATRIX), Rows(X), 0, SEEDS, SPREADS, ALL, samples=6)
    np.testing.assert_allclose(result.attributions, (X + noise(6).mean(axis=0)) @ SUM, atol=1e-5)


def test_squares_are_averaged_before_they_could_cancel():
    result = smoothgrad(quadratic(MATRIX), Rows(X), 0, SEEDS, SPREADS, {"x1"}, samples=6, squared=True)
    np.testing.assert_allclose(result.attributions, np.mean(((X + noise(6)) @ SUM) ** 2, axis=0), rtol=1e-4)


def test_without_spread_it_is_the_gradient():
    still = {name: [np.zeros(1)] for name in SPREADS}
    result = smoothgrad(quadratic(MATRIX), Rows(X), 0, SEEDS, still, {"x0"}, samples=3)
    np.testing.assert_array_equal(result.attributions, gradient(quadratic(MATRIX), Rows(X), 0, {"x0"}).attributions)


def test_a_row_has_the_same_bits_whatever_its_batch_order_and_padding():
    """The toy's arithmetic is by element, so that nothing but the noise could differ."""
    model = Toy(lambda x: (x**3).sum(axis=-1), lambda x: 3 * x**2)
    whole = smoothgrad(model, Rows(X), 0, SEEDS, SPREADS, ALL).attributions
    order = np.random.default_rng(0).permutation(12)
    np.testing.assert_array_equal(
        smoothgrad(model, Rows(X[order]), 0, SEEDS[order], SPREADS, ALL).attributions, whole[order]
    )
    for rows in (slice(0, 1), slice(3, 10)):
        part = smoothgrad(model, Rows(X[rows]), 0, SEEDS[rows], SPREADS, ALL)
        np.testing.assert_array_equal(part.attributions, whole[rows])
    padded = smoothgrad(model, Rows(np.pad(X, ((0, 4), (0, 0)))), 0, np.pad(SEEDS, (0, 4)), SPREADS, ALL)
    np.testing.assert_array_equal(padded.attributions[:12], whole)
    other = smoothgrad(model, Rows(X), 0, SEEDS + np.uint64(1), SPREADS, ALL)
    assert (other.attributions != whole).any(axis=1).all()


def test_the_spread_is_that_of_each_element():
    sample = np.array([[1.0, 0.0], [3.0, 0.0]])
    assert spreads_of({"a": [sample]})["a"][0].tolist() == [1.0, 0.0]
    # One number for all, where rows are not of one length.
    assert spreads_of({"a": [sample]}, varying=["a"])["a"][0] == pytest.approx(np.sqrt(0.5))
    assert spreads_of({"a": [np.zeros((2, 0))]}, varying=["a"])["a"][0] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, "samples must be >= 1"),
        ({"noise_level": -0.1}, "noise_level must be a number >= 0"),
        ({"noise_level": float("nan")}, "noise_level must be a number >= 0"),
        ({"row_seeds": SEEDS[:3]}, "row_seeds must be one a row"),
    ],
)
def test_refuses_bad_arguments(changes, message):
    arguments = {"row_seeds": SEEDS, "spreads": SPREADS, "scalars": ALL} | changes
    with pytest.raises(ValueError, match=message):
        smoothgrad(linear([1.0, 1.0, 1.0]), Rows(X), 0, **arguments)
