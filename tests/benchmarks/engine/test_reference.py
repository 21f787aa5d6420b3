import numpy as np
import pytest

from benchmarks.engine import networks, reference, rules


@pytest.mark.parametrize("name", networks.NAMES)
def test_gradients_are_those_of_differences(name):
    network = networks.make(name)
    rows = networks.rows_for(network, 3).columns.astype(np.float64)
    gradient = reference.gradients(network, reference.forward(network, rows))
    direction = np.random.default_rng(0).normal(size=rows.shape)
    step = 1e-7
    ahead, behind = (reference.forward(network, rows + sign * step * direction).logits for sign in (1, -1))
    np.testing.assert_allclose((gradient * direction).sum(axis=1), (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)


def one_unit(bias: float) -> networks.Network:
    """relu(x - 1 + bias) * 3 of one number."""
    kernel = np.ones((1, 1), np.float32)
    layers = (
        networks.Layer("dense", "relu", 1, kernel, np.array([bias - 1], np.float32)),
        networks.Layer("dense", "linear", 1, 3 * kernel, np.zeros(1, np.float32)),
    )
    return networks.Network("one", (1,), layers, ("x",), np.zeros(1, np.int64), np.zeros((0, 0), np.float32))


def test_a_relu_at_its_kink_may_change_its_node_alone():
    nodes, weights = np.array([0.25, 0.5, 0.75]), np.array([0.2, 0.5, 0.3])
    row = np.array([2.0])  # the node 0.5 lies on the kink at 1
    np.testing.assert_allclose(reference.kink_allowance(one_unit(0.0), row, nodes, weights), [0.5 * 2 * 3])
    np.testing.assert_allclose(reference.kink_allowance(one_unit(1e-3), row, nodes, weights), [0])


def test_integrated_gradients_of_a_smooth_network_add_up():
    network = networks.make("swish")
    row = networks.rows_for(network, 1).columns.astype(np.float64)
    nodes, weights = rules.gauss_legendre(50)
    slopes = reference.gradients(network, reference.forward(network, nodes[:, None] * row))
    ends = reference.forward(network, np.concatenate([row, 0 * row])).logits
    assert (weights @ slopes * row).sum() == pytest.approx(ends[0] - ends[1], abs=1e-6)
