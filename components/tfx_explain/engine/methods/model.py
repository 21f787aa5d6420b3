"""What the methods ask of a model and of its encoded rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

GRADIENT_COST = 3
"""A forward and a backward pass, in forward passes."""

Cuts = Mapping[str, Sequence[np.ndarray]]
"""By attributed feature its cut tensors, each [rows, ...]."""


class Rows(Protocol):
    """Encoded rows."""

    def __len__(self) -> int: ...

    def take(self, rows: np.ndarray) -> Rows:
        """The given rows, int [n], as a batch; repeats are allowed."""


class MappableRows(Rows, Protocol):
    """Encoded rows whose cut tensors can be replaced."""

    def mapped(self, function: Callable[[Cuts], Cuts]) -> MappableRows:
        """The same rows with their cut tensors passed through a function."""


class Integral(Protocol):
    """What one quadrature rule gives; see `PathIntegral` of the feature graph."""

    @property
    def attributions(self) -> np.ndarray:
        """float32 [rows, features]."""

    @property
    def prediction(self) -> np.ndarray:
        """float32 [rows]."""

    @property
    def baseline_prediction(self) -> np.ndarray:
        """float32 [rows]."""


RowsT = TypeVar("RowsT", bound=Rows, contravariant=True)


class PathModel(Protocol[RowsT]):
    """A model whose gradients can be integrated."""

    def path_gradients(
        self, encoded: RowsT, input_baseline: RowsT, target: np.ndarray, nodes: np.ndarray, weights: np.ndarray
    ) -> Integral:
        """The weighted sum of gradients along the straight path, times x - input_baseline."""


class GradientModel(Protocol[RowsT]):
    """A model with gradients at its cut."""

    @property
    def features(self) -> Sequence[str]:
        """What is attributed, sorted."""

    def explained(self, encoded: RowsT, target: np.ndarray) -> np.ndarray:
        """The explained value, float32 [rows]."""

    def gradients(self, encoded: RowsT, target: np.ndarray) -> Mapping[str, np.ndarray]:
        """By attributed feature the gradient at its cut tensors, flattened, side by side: float32 [rows, n]."""
