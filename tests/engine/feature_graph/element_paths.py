"""Integrated gradients by tf.GradientTape of any function of tensors, element by element."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf


def by_element(
    value: Callable[[list[tf.Tensor]], tf.Tensor],
    x: Sequence[tf.Tensor],
    b: Sequence[tf.Tensor],
    nodes: np.ndarray,
    weights: np.ndarray,
) -> list[np.ndarray]:
    """(x - b) times the mean gradient of value(points) [rows], shaped as each of x."""

    @tf.function(autograph=False)
    def gradient(points):
        with tf.GradientTape() as tape:
            tape.watch(points)
            result = value(points)
        return tape.gradient(result, points)

    sums = [tf.zeros_like(tensor) for tensor in x]
    for node, weight in zip(nodes, weights, strict=True):
        gradients = gradient([start + np.float32(node) * (end - start) for start, end in zip(b, x, strict=True)])
        sums = [total + np.float32(weight) * gradient for total, gradient in zip(sums, gradients, strict=True)]
    return [((end - start) * total).numpy() for end, start, total in zip(x, b, sums, strict=True)]


def centred(logits: tf.Tensor, target: np.ndarray) -> tf.Tensor:
    """The target's logit less the row's mean logit: what is explained behind a softmax."""
    return tf.gather(logits, target, axis=1, batch_dims=1) - tf.reduce_mean(logits, axis=1)


def assert_close(got: np.ndarray, expected: np.ndarray, total: np.ndarray, slack: np.ndarray | float = 0.0) -> None:
    """Within 1e-4 of each row's summed |attribution|, or within its convergence error."""
    rows = (len(total), *[1] * (np.ndim(got) - 1))
    allowed = np.maximum(1e-4 * total + 1e-6, slack).reshape(rows)
    difference = np.abs(got - expected)
    assert got.shape == expected.shape
    assert (difference <= allowed).all(), float((difference / allowed).max())
