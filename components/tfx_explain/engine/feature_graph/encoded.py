"""Encoded rows, and what is computed from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Rows that are parsed and transformed, up to the cut.

    Attributes:
        examples: the serialised tf.Examples, bytes [rows].
        cuts: the cut tensors, each [rows, ...]; what integrated gradients interpolate.
        frozen: what the rest of the network reads beside them.
        columns: the attributed feature of each cut tensor.
    """

    examples: np.ndarray
    cuts: tuple[tf.Tensor, ...]
    frozen: tuple[tf.Tensor, ...]
    _encode: Callable[[np.ndarray], Encoded] = dataclasses.field(repr=False)
    columns: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.examples)

    def take(self, rows: np.ndarray) -> Encoded:
        """The given rows, int [n], as a batch of their own; repeats are allowed."""
        return self._encode(self.examples[rows])

    def mapped(
        self, function: Callable[[Mapping[str, Sequence[tf.Tensor]]], Mapping[str, Sequence[tf.Tensor]]]
    ) -> Encoded:
        """The same rows with other cut tensors; what is frozen stays.

        Args:
            function: {feature: its cut tensors} -> the same with tensors of the same shapes; called again for the rows
                that are taken from the result.
        """
        by_feature: dict[str, list[tf.Tensor]] = {column: [] for column in self.columns}
        for column, cut in zip(self.columns, self.cuts, strict=True):
            by_feature[column].append(cut)
        changed = {feature: iter(tensors) for feature, tensors in function(by_feature).items()}
        cuts = tuple(next(changed[column]) for column in self.columns)
        return dataclasses.replace(self, cuts=cuts, _encode=lambda examples: self._encode(examples).mapped(function))


@dataclasses.dataclass(frozen=True)
class PathIntegral:
    """Integrated gradients by one quadrature rule.

    Attributes:
        attributions: float32 [rows, features], in the unit of the explained value.
        prediction: float32 [rows], the explained value at x.
        baseline_prediction: float32 [rows], the explained value at the input baseline.
        elements: of the features that were asked for, float32 [rows, ...]: the attributions of the single elements of
            their cut tensor, summed over its innermost axis where it has three axes or more (channels, embedding).
    """

    attributions: np.ndarray
    prediction: np.ndarray
    baseline_prediction: np.ndarray
    elements: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


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
