"""Models in numpy, with gradients in closed form."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass
class Rows:
    """Rows whose features are the columns of x; the cut of each feature is one number."""

    x: np.ndarray

    def __len__(self):
        return len(self.x)

    def take(self, rows):
        return Rows(self.x[rows])

    def mapped(self, function):
        names = [f"x{i}" for i in range(self.x.shape[1])]
        found = function({name: [self.x[:, [i]]] for i, name in enumerate(names)})
        return Rows(np.concatenate([found[name][0] for name in names], axis=1))


@dataclasses.dataclass
class Integral:
    attributions: np.ndarray
    prediction: np.ndarray
    baseline_prediction: np.ndarray


class Toy:
    """f(x) with its gradient, both over the last axis; remembers its calls."""

    def __init__(self, function, gradient, features=3):
        self.function, self.gradient = function, gradient
        self.features = tuple(f"x{i}" for i in range(features))
        self.calls = []

    def path_gradients(self, encoded, input_baseline, target, nodes, weights):
        self.calls.append((len(encoded), len(nodes)))
        x, b = encoded.x, input_baseline.x
        points = b + nodes[:, None, None] * (x - b)  # [steps, rows, features]
        return Integral(
            ((x - b) * np.tensordot(weights, self.gradient(points), 1)).astype(np.float32),
            self.function(x).astype(np.float32),
            np.broadcast_to(self.function(b), len(x)).astype(np.float32),
        )

    def explained(self, encoded, target):
        return self.function(encoded.x).astype(np.float32)

    def gradients(self, encoded, target):
        found = self.gradient(encoded.x)
        return {name: found[:, [i]].astype(np.float32) for i, name in enumerate(self.features)}

    def __add__(self, other):
        return Toy(
            lambda x: self.function(x) + other.function(x),
            lambda x: self.gradient(x) + other.gradient(x),
            len(self.features),
        )


def linear(weights):
    """sum of weights_i x_i."""
    weights = np.asarray(weights, float)
    return Toy(lambda x: x @ weights, lambda x: np.broadcast_to(weights, x.shape), len(weights))


def quadratic(matrix):
    """x' A x."""
    both = np.asarray(matrix, float)
    both = (both + both.T) / 2
    return Toy(lambda x: np.einsum("...i,ij,...j->...", x, both, x), lambda x: 2 * x @ both, len(both))


def network(weights, last):
    """last . tanh(x W)."""
    return Toy(
        lambda x: np.tanh(x @ weights) @ last,
        lambda x: ((1 - np.tanh(x @ weights) ** 2) * last) @ weights.T,
        len(weights),
    )
