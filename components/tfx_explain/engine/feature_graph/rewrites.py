"""Exact clean-ups of the graph that need values: they keep every output and repair gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.dependencies import find_dependencies
from tfx_explain.engine.feature_graph.flat_graph import FlatGraph, topological
from tfx_explain.engine.feature_graph.rounding import TOLERANCE, relative_difference
from tfx_explain.engine.feature_graph.sources import find_sources


def repair_gradients(flat: FlatGraph, sample: tf.Tensor) -> FlatGraph:
    """Replaces what would turn a zero gradient into NaN; gives `flat` back if an output changes.

    tf.Transform writes the z-score as a Select between `(x - mean) / deviation` and zeros. For a constant column the
    forward value is right, but the gradient of the branch not taken is 0 * inf. So:

    1. a Select whose condition is uniform and depends on no feature becomes its live branch;
    2. a division by zeros that depend on no feature becomes one by ones (the quotient is selected away further on).

    Args:
        flat: the graph.
        sample: serialised tf.Examples, string [rows].
    """
    outputs = list(flat.output_names.values())
    order = topological([flat.tensor(name) for name in outputs])
    dependencies = find_dependencies(flat, find_sources(flat), order)

    def candidates(types: set[str], free_input: int) -> list[tf.Operation]:
        return [
            op
            for op in order
            if op.type in types
            and dependencies.features(op.outputs[0])
            and not dependencies.features(op.inputs[free_input])
        ]

    selects, divisions = candidates({"Select", "SelectV2"}, 0), candidates({"RealDiv", "Div"}, 1)
    if not selects and not divisions:
        return flat
    looked_at = [op.inputs[0].name for op in selects] + [op.inputs[1].name for op in divisions]
    values = [value.numpy() for value in flat.function(flat.input_names, looked_at)(sample)]
    changed = [_live_branch(flat, op, value) for op, value in zip(selects, values[: len(selects)], strict=True)]
    for op, value in zip(divisions, values[len(selects) :], strict=True):
        changed += _nonzero_divisor(flat, op, value, len(sample), dependencies.on_batch(op.inputs[1]))
    changed = [node for node in changed if node is not None]
    if not changed:
        return flat
    repaired = flat.edited(changed)
    before, after = (graph.function(graph.input_names, outputs)(sample) for graph in (flat, repaired))
    same = all(relative_difference(a.numpy(), b.numpy()) <= TOLERANCE for a, b in zip(before, after, strict=True))
    return repaired if same else flat


def _live_branch(flat: FlatGraph, select: tf.Operation, condition: np.ndarray) -> Any | None:
    if not condition.size or (condition.any() and not condition.all()):
        return None
    branch = select.inputs[1 if condition.all() else 2]
    result = select.outputs[0].shape
    if branch.shape.rank != result.rank or not result.is_compatible_with(branch.shape):
        return None
    node = flat.node(select.name)
    node.op = "Identity"
    node.input[:] = [branch.name]
    for attribute in [name for name in node.attr if name != "T"]:
        del node.attr[attribute]
    return node


def _nonzero_divisor(flat: FlatGraph, division: tf.Operation, divisor: np.ndarray, rows: int, on_batch: bool) -> list:
    of_batch_size = on_batch and divisor.ndim > 0 and divisor.shape[0] == rows
    if of_batch_size or (divisor != 0).all():
        return []
    constant = tf.compat.v1.NodeDef(op="Const", name=f"{division.name}/nonzero")
    constant.attr["dtype"].type = division.inputs[1].dtype.as_datatype_enum
    safe = np.where(divisor == 0, 1, divisor).astype(divisor.dtype)
    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(safe))
    node = flat.node(division.name)
    node.input[1] = f"{constant.name}:0"
    return [constant, node]


def split_edges(flat: FlatGraph, edges: list[tuple[str, str, int]]) -> FlatGraph:
    """Puts an Identity on edges (tensor, consumer, input index), so that they can be cut apart from the tensor."""
    changed: dict[str, Any] = {}
    for tensor, consumer, index in edges:
        name = "split_edge/" + tensor.replace(":", "/")  # no two tensors give one name
        if name not in changed:
            changed[name] = tf.compat.v1.NodeDef(op="Identity", name=name, input=[tensor])
            changed[name].attr["T"].type = flat.tensor(tensor).dtype.as_datatype_enum
        node = changed.setdefault(consumer, flat.node(consumer))
        node.input[index] = f"{name}:0"
    return flat.edited(changed.values())
