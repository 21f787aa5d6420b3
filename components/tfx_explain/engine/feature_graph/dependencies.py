"""Which raw features each tensor's values depend on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from tfx_explain.engine.feature_graph.flat_graph import FlatGraph
from tfx_explain.engine.feature_graph.sources import Sources

NONE: frozenset[str] = frozenset()
SHAPE_OPS = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"})
"""Ops that read a tensor's shape, not its values."""


@dataclasses.dataclass(frozen=True)
class Dependencies:
    """Dependencies by tensor reference."""

    _features: dict[object, frozenset[str]]
    _batch: set[object]

    def features(self, tensor: tf.Tensor) -> frozenset[str]:
        """The raw features that the tensor's values depend on."""
        return self._features.get(tensor.ref(), NONE)

    def on_batch(self, tensor: tf.Tensor) -> bool:
        """Whether the tensor depends on the batch at all: on values of features, or on its size."""
        return tensor.ref() in self._batch or bool(self.features(tensor))


def find_dependencies(flat: FlatGraph, sources: Sources, order: Sequence[tf.Operation]) -> Dependencies:
    """Carries the features forward through `order`, which has the inputs of each op before it."""
    features = {tensor.ref(): frozenset([name]) for name, tensors in sources.features.items() for tensor in tensors}
    batch = {tensor.ref() for tensor in sources.dense_shapes}
    batch.update(flat.tensor(name).ref() for name in flat.input_names)
    dependencies = Dependencies(features, batch)
    parsers = set(sources.parse_ops)
    for op in order:
        if op in parsers or not op.inputs:
            continue
        inherited = NONE
        if op.type not in SHAPE_OPS:
            inherited = NONE.union(*(dependencies.features(tensor) for tensor in op.inputs))
        on_batch = any(dependencies.on_batch(tensor) for tensor in op.inputs)
        for tensor in op.outputs:
            if inherited:
                features[tensor.ref()] = inherited
            if on_batch:
                batch.add(tensor.ref())
    return dependencies
