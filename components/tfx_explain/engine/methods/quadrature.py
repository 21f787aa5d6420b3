"""Quadrature rules on [0, 1]."""

import functools

import numpy as np


@functools.lru_cache(maxsize=64)
def gauss_legendre(num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights, exact for polynomials up to degree 2 * num_steps - 1.

    The end points are never nodes, so a kink or a pole of the model at the input baseline is not met.

    Args:
        num_steps: number of nodes.

    Returns:
        Nodes and weights, float64 [num_steps], read-only; the weights sum to 1.

    Raises:
        ValueError: if num_steps < 1.

    References:
        Abramowitz and Stegun, Handbook of Mathematical Functions, 25.4.30.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be >= 1. Received: num_steps={num_steps}")
    nodes, weights = np.polynomial.legendre.leggauss(num_steps)
    nodes, weights = (nodes + 1) / 2, weights / weights.sum()
    # They are kept for the next batch.
    nodes.setflags(write=False)
    weights.setflags(write=False)
    return nodes, weights
