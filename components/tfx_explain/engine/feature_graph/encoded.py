"""Encoded rows, and what is computed from them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.errors import ExampleError

_Specs = Mapping[str, Sequence[tuple[tf.TensorShape, tf.DType]]]


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Rows that are parsed and transformed, up to the cut.

    Attributes:
        examples: the serialised tf.Examples, bytes [rows].
        cuts: the cut tensors, each [rows, ...]; what integrated gradients interpolate.
        frozen: what the rest of the network reads beside them.
        columns: for each cut tensor, the attributed feature that it stands for.
    """

    examples: np.ndarray
    cuts: tuple[tf.Tensor, ...]
    frozen: tuple[tf.Tensor, ...]
    columns: tuple[str, ...]
    _encode: Callable[[np.ndarray], Encoded] = dataclasses.field(repr=False)

    def __len__(self) -> int:
        return len(self.examples)

    def take(self, rows: np.ndarray) -> Encoded:
        """The given rows, int [n], as a batch of their own; repeats are allowed."""
        return self._encode(self.examples[rows])

    def by_feature(self) -> dict[str, list[tf.Tensor]]:
        """By attributed feature its cut tensors, [rows, ...]."""
        found: dict[str, list[tf.Tensor]] = {}
        for column, cut in zip(self.columns, self.cuts, strict=True):
            found.setdefault(column, []).append(cut)
        return found

    def mapped(
        self, function: Callable[[Mapping[str, list[tf.Tensor]]], Mapping[str, Sequence[tf.Tensor | np.ndarray]]]
    ) -> Encoded:
        """The same rows with other cut tensors: blurred images, noise, rows of another batch.

        What is frozen stays. `take` takes rows first and maps them afterwards, in a batch of another size.

        Args:
            function: by attributed feature, its cut tensors [rows, ...] -> the same structure, shapes and types, as
                tensors or arrays. A row of the result may depend on its own row only.

        Raises:
            ValueError: if the function gives another structure.
        """
        by_feature = self.by_feature()
        given = function(by_feature)
        expected = {column: [(cut.shape, cut.dtype) for cut in cuts] for column, cuts in by_feature.items()}
        tensors = {column: [tf.convert_to_tensor(value) for value in values] for column, values in given.items()}
        received = {column: [(value.shape, value.dtype) for value in values] for column, values in tensors.items()}
        if received != expected:
            raise ValueError(
                f"function must give the shapes and types of the cut tensors it got, {_described(expected)}. "
                f"Received: {_described(received)}"
            )
        remaining = {column: iter(values) for column, values in tensors.items()}
        cuts = tuple(next(remaining[column]) for column in self.columns)
        encode = self._encode
        return dataclasses.replace(self, cuts=cuts, _encode=lambda examples: encode(examples).mapped(function))


@dataclasses.dataclass(frozen=True)
class PathIntegral:
    """Integrated gradients by one quadrature rule.

    Attributes:
        attributions: float32 [rows, features], in the unit of the explained value.
        prediction: float32 [rows], the explained value at x.
        baseline_prediction: float32 [rows], the explained value at the input baseline.
        elements: by feature that was asked for, float32 [rows, ...]: its attribution by element of its cut tensor,
            summed over the innermost axis of a cut of three and more axes (the channels of an image, an embedding).
    """

    attributions: np.ndarray
    prediction: np.ndarray
    baseline_prediction: np.ndarray
    elements: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @classmethod
    def concatenate(cls, parts: Sequence[PathIntegral]) -> PathIntegral:
        """Rows of several parts, one after the other; at least one is needed."""

        def joined(name: str) -> np.ndarray:
            return np.concatenate([getattr(part, name) for part in parts])

        elements = {key: np.concatenate([part.elements[key] for part in parts]) for key in parts[0].elements}
        return cls(joined("attributions"), joined("prediction"), joined("baseline_prediction"), elements)


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


def _described(specs: _Specs) -> dict[str, list[str]]:
    return {column: [f"{dtype.name} {shape.as_list()}" for shape, dtype in specs[column]] for column in sorted(specs)}


@contextlib.contextmanager
def named_refusal(rows: int) -> Iterator[None]:
    """What the model's parser raises inside the block becomes an `ExampleError` on so many rows."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        raise ExampleError(f"the model refuses one of {rows} rows: {error.message.splitlines()[0]}") from error
