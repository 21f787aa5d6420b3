"""Axioms of attribution, on random functions."""

from __future__ import annotations

import dataclasses

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from tests.engine.methods.toy_models import Rows, Toy, network

from tfx_explain.engine.methods.expected_gradients import expected_gradients
from tfx_explain.engine.methods.gradient import gradient, gradient_x_input
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients
from tfx_explain.engine.methods.quadrature import gauss_legendre
from tfx_explain.engine.methods.smoothgrad import smoothgrad

FEATURES = 3
SEEDS = np.arange(5, dtype=np.uint64)
SPREADS = {f"x{i}": [np.ones(1)] for i in range(FEATURES)}


@dataclasses.dataclass
class Case:
    """Two networks, rows, an input baseline and a background."""

    one: Toy
    other: Toy
    x: np.ndarray
    baseline: np.ndarray
    background: np.ndarray

    @classmethod
    def of(cls, seed, dummy=None):
        rng = np.random.default_rng(seed)
        nets = []
        for _ in range(2):
            weights = rng.normal(size=(FEATURES, 6)) / 2
            if dummy is not None:
                weights[dummy] = 0
            nets.append(network(weights, rng.normal(size=6)))
        return cls(
            *nets, rng.normal(size=(5, FEATURES)), rng.normal(size=(1, FEATURES)), rng.normal(size=(4, FEATURES))
        )


def attribute(method, model, case):
    """float64 [rows, features]."""
    rows, baseline, scalars = Rows(case.x), Rows(case.baseline), set(model.features)
    result = {
        "integrated_gradients": lambda: integrated_gradients(model, rows, baseline, 0, num_steps=24, repair_steps=()),
        "expected_gradients": lambda: expected_gradients(
            model, rows, [Rows(row[None]) for row in case.background], 0, num_steps=24, repair_steps=()
        ),
        "gradient_x_input": lambda: gradient_x_input(model, rows, baseline, 0),
        "gradient": lambda: gradient(model, rows, 0, scalars),
        "smoothgrad": lambda: smoothgrad(model, rows, 0, SEEDS, SPREADS, scalars, samples=3),
    }[method]()
    return result.attributions.astype(np.float64)


ALL = ("integrated_gradients", "expected_gradients", "gradient_x_input", "gradient", "smoothgrad")
COMPLETE = ALL[:2]
cases = hypothesis.settings(max_examples=25, deadline=None, derandomize=True, database=None)
seeds = strategies.integers(0, 2**32 - 1)
factors = strategies.floats(-3, 3)


@pytest.mark.parametrize("method", COMPLETE)
@cases
@hypothesis.given(seed=seeds)
def test_completeness(method, seed):
    case = Case.of(seed)
    starts = case.baseline if method == "integrated_gradients" else case.background
    change = case.one.function(case.x) - case.one.function(starts).mean()
    np.testing.assert_allclose(attribute(method, case.one, case).sum(axis=1), change, atol=1e-4)


@pytest.mark.parametrize("method", ALL)
@cases
@hypothesis.given(seed=seeds, dummy=strategies.integers(0, FEATURES - 1))
def test_a_feature_that_the_model_does_not_read_has_nothing(method, seed, dummy):
    case = Case.of(seed, dummy)
    found = attribute(method, case.one, case)
    assert (found[:, dummy] == 0).all()
    assert (np.delete(found, dummy, axis=1) != 0).any()


@pytest.mark.parametrize("method", ALL)
@cases
@hypothesis.given(seed=seeds, a=factors, b=factors)
def test_linearity(method, seed, a, b):
    case = Case.of(seed)
    mixed = Toy(
        lambda x: a * case.one.function(x) + b * case.other.function(x),
        lambda x: a * case.one.gradient(x) + b * case.other.gradient(x),
        FEATURES,
    )
    expected = a * attribute(method, case.one, case) + b * attribute(method, case.other, case)
    np.testing.assert_allclose(attribute(method, mixed, case), expected, atol=1e-4)


@pytest.mark.parametrize("method", ALL[:4])
@cases
@hypothesis.given(seed=seeds)
def test_features_that_play_one_part_with_one_value_have_one_attribution(method, seed):
    case = Case.of(seed)
    symmetric = Toy(
        lambda x: case.one.function(x) + case.one.function(x[..., [1, 0, 2]]),
        lambda x: case.one.gradient(x) + case.one.gradient(x[..., [1, 0, 2]])[..., [1, 0, 2]],
        FEATURES,
    )
    for values in (case.x, case.baseline, case.background):
        values[:, 1] = values[:, 0]
    found = attribute(method, symmetric, case)
    np.testing.assert_allclose(found[:, 0], found[:, 1], atol=1e-5)


@pytest.mark.parametrize("method", ALL)
@cases
@hypothesis.given(seed=seeds)
def test_two_implementations_of_one_function_have_one_attribution(method, seed):
    """tanh(z) as it is, and as 2 sigmoid(2 z) - 1 with the hidden units in another order."""
    rng = np.random.default_rng(seed)
    weights, last = rng.normal(size=(FEATURES, 6)), rng.normal(size=6)
    order = rng.permutation(6)

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    other = Toy(
        lambda x: (2 * sigmoid(2 * x @ weights[:, order]) - 1) @ last[order],
        lambda x: (4 * sigmoid(2 * x @ weights) * sigmoid(-2 * x @ weights) * last)[..., order] @ weights.T[order],
        FEATURES,
    )
    case = Case.of(seed)
    one = attribute(method, network(weights, last), case)
    np.testing.assert_allclose(attribute(method, other, case), one, atol=1e-4)


@cases
@hypothesis.given(seed=seeds)
def test_the_order_of_nodes_does_not_matter(seed):
    case = Case.of(seed)
    nodes, weights = gauss_legendre(16)
    order = np.random.default_rng(seed).permutation(16)
    rows, baseline, target = Rows(case.x), Rows(case.baseline), np.zeros(5, int)
    one = case.one.path_gradients(rows, baseline, target, nodes, weights)
    other = case.one.path_gradients(rows, baseline, target, nodes[order], weights[order])
    np.testing.assert_allclose(one.attributions, other.attributions, atol=1e-6)


@cases
@hypothesis.given(seed=seeds)
def test_the_order_of_the_background_does_not_matter(seed):
    case = Case.of(seed)
    one = attribute("expected_gradients", case.one, case)
    case.background = case.background[::-1]
    np.testing.assert_allclose(attribute("expected_gradients", case.one, case), one, atol=1e-6)
