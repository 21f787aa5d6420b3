"""Raw features: which tensors of the graph come out of the parser under their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.errors import SignatureError
from tfx_explain.engine.feature_graph.flat_graph import FlatGraph

_PARSE_OPS = frozenset({"ParseExample", "ParseExampleV2"})


@dataclasses.dataclass(frozen=True)
class Sources:
    """What the parser gives.

    Attributes:
        features: by raw feature, in the parser's order, the tensors that hold its values.
        structure: by sparse feature its `dense_shape`: it tells of the batch, not of one row.
        parse_ops: the parsers.
    """

    features: dict[str, list[tf.Tensor]]
    structure: dict[str, list[tf.Tensor]]
    parse_ops: list[tf.Operation]

    @property
    def dense_shapes(self) -> list[tf.Tensor]:
        """Those of all sparse features."""
        return [tensor for tensors in self.structure.values() for tensor in tensors]


def find_sources(flat: FlatGraph) -> Sources:
    """Reads the parsers of a graph.

    Raises:
        SignatureError: if the signature does not take one batch of serialised tf.Examples, or parses them in a way
            that does not show the features' names.
    """
    inputs = [flat.tensor(name) for name in flat.input_names]
    if len(inputs) != 1 or inputs[0].dtype != tf.string:
        received = {tensor.op.name: tensor.dtype.name for tensor in inputs}
        raise SignatureError(
            "the signature must take one batch of serialised tf.Examples (one string input). "
            f"Received inputs: {received}. Export a signature that parses tf.Examples, as TFX's trainer templates do."
        )
    sources = Sources({}, {}, [op for op in flat.graph.get_operations() if op.type in _PARSE_OPS])
    if not sources.parse_ops:
        raise SignatureError(
            "the signature must parse its input with tf.io.parse_example. Received: a graph without ParseExample "
            "(SequenceExamples and parsing row by row are not supported)."
        )
    for op in sources.parse_ops:
        _add_parser(sources, op)
    return sources


def _add_parser(sources: Sources, op: tf.Operation) -> None:
    if op.type == "ParseExampleV2":
        sparse, dense, ragged = (_keys(op.inputs[index]) for index in (2, 3, 4))
    else:
        keys = [key for tensor in op.inputs[2:] for key in _keys(tensor)]
        num_sparse, num_dense = op.get_attr("Nsparse"), op.get_attr("Ndense")
        sparse, dense, ragged = keys[:num_sparse], keys[num_sparse : num_sparse + num_dense], []
    # Outputs: sparse indices, sparse values, sparse shapes, dense values, ragged values, ragged row splits.
    outputs = list(op.outputs)
    for index, name in enumerate(sparse):
        values = [outputs[index], outputs[len(sparse) + index]]
        sources.features.setdefault(name, []).extend(values)
        sources.structure.setdefault(name, []).append(outputs[2 * len(sparse) + index])
    first = 3 * len(sparse)
    for index, name in enumerate(dense):
        sources.features.setdefault(name, []).append(outputs[first + index])
    first += len(dense)
    for index, name in enumerate(ragged):
        values = [outputs[first + index], outputs[first + len(ragged) + index]]
        sources.features.setdefault(name, []).extend(values)


def _keys(tensor: tf.Tensor) -> Sequence[str]:
    keys = tf.get_static_value(tensor)
    if keys is None:
        raise SignatureError(f"the parser's feature names must be constants of the graph. Received: {tensor.name}")
    return [key.decode() for key in np.ravel(keys)]
