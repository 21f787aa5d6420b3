"""Encoded rows, and what is computed from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Rows that are parsed and transformed, up to the cut.

    Attributes:
        examples: the serialised tf.Examples, bytes [rows].
        cuts: the cut tensors, each [rows, ...]; what integrated gradients interpolate.
        frozen: what the rest of the network reads beside them.
    """

    examples: np.ndarray
    cuts: tuple[tf.Tensor, ...]
    frozen: tuple[tf.Tensor, ...]
    _encode: Callable[[np.ndarray], Encoded] = dataclasses.field(repr=False)

    def __len__(self) -> int:
        return len(self.examples)

    def take(self, rows: np.ndarray) -> Encoded:
        """The given rows, int [n], as a batch of their own; repeats are allowed."""
        return self._encode(self.examples[rows])


@dataclasses.dataclass(frozen=True)
class PathIntegral:
    """Integrated gradients by one quadrature rule.

    Attributes:
        attributions: float32 [rows, features], in the unit of the explained value.
        prediction: float32 [rows], the explained value at x.
        baseline_prediction: float32 [rows], the explained value at the input baseline.
    """

    attributions: np.ndarray
    prediction: np.ndarray
    baseline_prediction: np.ndarray


def as_batch(examples: Sequence[bytes] | np.ndarray) -> np.ndarray:
    """Serialised tf.Examples as an object array [rows].

    Raises:
        ValueError: if they are no flat, non-empty sequence of bytes.
    """
    batch: np.ndarray = np.empty(len(examples), dtype=object)
    batch[:] = list(examples)
    wrong = next((type(example).__name__ for example in batch if not isinstance(example, bytes)), None)
    if wrong is not None or not len(batch):
        received = wrong or "no rows"
        raise ValueError(f"examples must be serialised tf.Examples (bytes), at least one. Received: {received}")
    return batch
