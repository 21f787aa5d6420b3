"""A loaded model's weights, nearest the output first, and what is left of the model when they are drawn anew."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfx_explain.engine.aggregates.intervals import seed_from
from tfx_explain.engine.feature_graph.flat_graph import topological
from tfx_explain.engine.feature_graph.opened import OpenedModel

_READS = frozenset({"ReadVariableOp", "Identity", "Cast"})


def output_first(opened: OpenedModel) -> list[tf.Variable]:
    """The float variables that the explained output reads; the one used last comes first.

    Constants of the graph, such as those that Transform computes, are no weights and not among them.
    """
    flat = opened.flat
    order = {op: place for place, op in enumerate(topological([flat.tensor(opened.output.tensor)]))}
    floating = [v for v in opened.loaded.signature.variables if v.dtype.is_floating]
    used = {}
    for variable in floating:
        place = max((_first_use(t, order) for t in flat.captured(variable.handle)), default=-1)
        if place >= 0:
            used[variable.ref()] = (place, variable)
    return [variable for _, variable in sorted(used.values(), key=lambda found: -found[0])]


@contextlib.contextmanager
def drawn_anew(variables: Sequence[tf.Variable], content: str) -> Iterator[None]:
    """The variables with random values inside the block, and with their own again behind it.

    Matrices are drawn from a normal distribution around 0 with their own root mean square, as an untrained layer might
    have been; vectors (biases, means and variances of a normalisation) are shuffled, so that they keep their signs.

    Args:
        variables: of one model.
        content: what the seeds come from.
    """
    kept = [variable.numpy() for variable in variables]
    try:
        for number, (variable, values) in enumerate(zip(variables, kept, strict=True)):
            generator = np.random.default_rng(seed_from("weights", content, str(number)))
            if values.ndim > 1:
                scale = np.sqrt(np.mean(np.square(values, dtype=np.float64)))
                drawn = generator.normal(0.0, scale, values.shape)
            else:
                drawn = generator.permutation(values) if values.ndim else values
            variable.assign(drawn.astype(values.dtype))
        yield
    finally:
        for variable, values in zip(variables, kept, strict=True):
            variable.assign(values)


def _first_use(read: tf.Tensor, order: dict[tf.Operation, int]) -> int:
    """Place of the first op that does more than read the variable; -1 where the output does not need it."""
    places, stack = [-1], [read]
    while stack:
        for consumer in stack.pop().consumers():
            if consumer not in order:
                continue
            if consumer.type in _READS:
                stack.extend(consumer.outputs)
            else:
                places.append(order[consumer])
    return max(places)
