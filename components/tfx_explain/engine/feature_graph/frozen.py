"""What the part after the cut reads beside the cut: it is fed at its value at x."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfx_explain.engine.feature_graph.dependencies import SHAPE_OPS, Dependencies
from tfx_explain.engine.feature_graph.sources import Sources


def find_frozen(
    cuts: Sequence[tf.Tensor],
    target: tf.Tensor,
    order: Sequence[tf.Operation],
    dependencies: Dependencies,
    sources: Sources,
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Walks from the target backwards and stops at the cuts.

    Returns:
        Tensors that hold values of features, and tensors that only tell of the batch's structure.
    """
    cut_references = {tensor.ref() for tensor in cuts}
    structure = {tensor.ref() for tensor in sources.dense_shapes}
    below = _below(cut_references, order)
    # Dicts as ordered sets: by name.
    values: dict[str, tf.Tensor] = {}
    shapes: dict[str, tf.Tensor] = {}
    seen: set[object] = set()
    stack = [target]
    while stack:
        tensor = stack.pop()
        reference = tensor.ref()
        if reference in seen or reference in cut_references:
            continue
        seen.add(reference)
        if reference in below:
            stack.extend(tensor.op.inputs)
        elif dependencies.features(tensor):
            if tensor.dtype == tf.variant:  # cannot be fed: feed what it is made of
                stack.extend(tensor.op.inputs)
            else:
                values[tensor.name] = tensor
        elif not dependencies.on_batch(tensor):
            continue  # weights, constants, tables
        elif reference in structure:
            shapes[tensor.name] = tensor
        elif tensor.op.type in SHAPE_OPS:
            for source in tensor.op.inputs:
                if source.ref() in below:
                    stack.append(source)
                elif dependencies.on_batch(source):
                    shapes[source.name] = source
        elif tensor.op.inputs:
            stack.extend(tensor.op.inputs)
        else:
            shapes[tensor.name] = tensor  # the signature's input itself
    return list(values.values()), [tensor for name, tensor in shapes.items() if name not in values]


def _below(cut_references: set, order: Sequence[tf.Operation]) -> set:
    below = set(cut_references)
    for op in order:
        if any(tensor.ref() in below for tensor in op.inputs):
            below.update(tensor.ref() for tensor in op.outputs)
    return below
