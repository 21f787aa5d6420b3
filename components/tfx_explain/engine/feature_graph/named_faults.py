"""Faults of a model on its sample, told with the operation that they come from."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.dependencies import SHAPE_OPS, find_dependencies
from tfx_explain.engine.feature_graph.errors import (
    BatchDependentError,
    FeatureModelError,
    NotRepeatableError,
    SavedModelError,
)
from tfx_explain.engine.feature_graph.flat_graph import FlatGraph, topological
from tfx_explain.engine.feature_graph.named_operation import NamedOperation
from tfx_explain.engine.feature_graph.refused_ops import random_operations
from tfx_explain.engine.feature_graph.rounding import TOLERANCE, relative_difference
from tfx_explain.engine.feature_graph.sources import find_sources

_ROWS_ALONE = 4
_NODE = re.compile(r"\{\{(?:function_node [^}]*\}\}\{\{)?node ([^}]+)\}\}")


@contextlib.contextmanager
def named_faults(flat: FlatGraph, sample: np.ndarray) -> Iterator[None]:
    """Where the sample shows a fault of the model, the error names the operation before it says the rest.

    Args:
        flat: the signature's graph.
        sample: serialised tf.Examples, bytes [rows].
    """
    try:
        yield
    except NotRepeatableError as error:
        drawn = random_operations(flat.nodes)
        if not drawn:
            raise
        raise NotRepeatableError(f"the graph draws random numbers in {_some(drawn)}: {error}") from error
    except BatchDependentError as error:
        where = _failed_node(error.__cause__, flat)
        if where:
            raise BatchDependentError(f"the graph fixes the size of its batches at {where!r}: {error}") from error
        mixing = _first_mixing(flat, sample)
        if mixing is None:
            raise
        raise BatchDependentError(f"the graph mixes the rows of a batch in {mixing}: {error}") from error
    except SavedModelError as error:
        cause = error.__cause__
        if not isinstance(cause, tf.errors.FailedPreconditionError) or "not initialized" not in cause.message:
            raise
        where = _failed_node(cause, flat)
        raise SavedModelError(
            f"every table of a model must be filled when it is loaded, but the one read at {where or 'a look-up'!r} is "
            "not: keep the table as an attribute of the exported module, or export its initialiser with the model."
        ) from error


def _some(blockers: list[NamedOperation]) -> str:
    more = f" and {len(blockers) - 3} more" if len(blockers) > 3 else ""
    return ", ".join(map(str, blockers[:3])) + more


def _failed_node(error: BaseException | None, flat: FlatGraph) -> str | None:
    """The node that an error of TensorFlow names, or None.

    Whether TensorFlow takes functions apart before it runs them differs from machine to machine; where it does not, it
    names a node as its function does. The name in the graph is the same everywhere.
    """
    found = _NODE.search(getattr(error, "message", None) or "")
    if found is None:
        return None
    ending = [node.name for node in flat.nodes if f"/{node.name}".endswith(f"/{found[1]}")]
    return ending[0] if len(ending) == 1 else found[1]


def _first_mixing(flat: FlatGraph, sample: np.ndarray) -> NamedOperation | None:
    """The first operation that gives a row something else among others than alone, while it reads the same.

    A tensor is compared by its row where it has one row an example, and as a whole where it is one float of the batch;
    other shapes (the values of sparse features) say nothing.
    """
    try:
        sources = find_sources(flat)
    except FeatureModelError:
        return None
    order = topological([flat.tensor(name) for name in flat.output_names.values()])
    dependencies = find_dependencies(flat, sources, order)
    names = [
        tensor.name
        for op in order
        if op.type not in SHAPE_OPS
        for tensor in op.outputs
        if (dependencies.on_batch(tensor) and tensor.dtype.is_floating)
        or (dependencies.features(tensor) and tensor.dtype.is_integer)
    ]
    run = flat.function(flat.input_names, names)
    try:
        together = [tensor.numpy() for tensor in run(tf.constant(sample))]
        for index in range(min(len(sample), _ROWS_ALONE)):
            alone = [tensor.numpy() for tensor in run(tf.constant(sample[index : index + 1]))]
            differing = {
                name
                for name, many, one in zip(names, together, alone, strict=True)
                if _differs(many, one, index, sample)
            }
            for op in order:
                if any(tensor.name in differing for tensor in op.outputs) and not any(
                    tensor.name in differing for tensor in op.inputs
                ):
                    return NamedOperation(op.type, op.name)
    except tf.errors.OpError:
        return None
    return None


def _differs(many: np.ndarray, one: np.ndarray, index: int, sample: np.ndarray) -> bool:
    if many.ndim and one.ndim and len(many) == len(sample) and len(one) == 1 and many.shape[1:] == one.shape[1:]:
        finite = np.abs(many[np.isfinite(many)]) if many.dtype.kind == "f" else many
        scale = float(finite.max(initial=0.0)) if many.dtype.kind == "f" else None
        return relative_difference(many[index : index + 1], one, scale) > TOLERANCE
    return many.dtype.kind == "f" and many.shape == one.shape and relative_difference(many, one) > TOLERANCE
