"""Quadrature rules on [0, 1]: the peers' own, and the one all are measured at.

Knows numpy alone, since peers import it in environments of their own.
"""

from __future__ import annotations

import numpy as np

STEPS = 50


def gauss_legendre(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights, float64 [steps]: Captum's and alibi's `gausslegendre`, and the engine's own."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2


def trapezoid(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights, float64 [steps], both ends among the nodes at half weight: Xplique's rule."""
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, steps), weights


def mean_with_ends(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights, float64 [steps], both ends among the nodes at full weight: the rule of PAIR's saliency."""
    return np.linspace(0, 1, steps), np.full(steps, 1 / steps)


def uniform_draws(steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights, float64 [steps], of SHAP's expected gradients with one background row.

    SHAP draws a background row and then a node, one sample after the other, from numpy's legacy generator.
    """
    state = np.random.RandomState(seed)
    nodes = np.empty(steps)
    for i in range(steps):
        state.choice(1)
        nodes[i] = state.uniform()
    return nodes, np.full(steps, 1 / steps)
