"""Which operation keeps gradients from a feature: the first without one on its ways round the cut."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf

from tfx_explain.engine.feature_graph.cut import carries_gradient, has_gradient
from tfx_explain.engine.feature_graph.dependencies import SHAPE_OPS
from tfx_explain.engine.feature_graph.named_operation import NamedOperation
from tfx_explain.engine.feature_graph.sources import Sources

_NAMED = 10
# They hand numbers, ids and strings on as they are: what stops a gradient is what reads them.
_PASSED_OVER = frozenset({"Cast", "ExpandDims", "Identity", "Reshape", "Squeeze", "StridedSlice"})


def find_blockers(
    order: Sequence[tf.Operation],
    target: tf.Tensor,
    sources: Sources,
    cuts: Iterable[tf.Tensor],
    features: Iterable[str],
) -> dict[str, NamedOperation]:
    """For each feature that reaches the target on a way round the cuts, the operation that stops gradients on it.

    Of several the one nearest to the feature is taken, and among equally near ones the first in `order`: the first
    that reads a float and has no gradient, or gives no float. On a way without floats it is the first operation that
    does more than hand values on.

    Args:
        order: the ops that the target needs, inputs first.
        target: what is explained.
        sources: where the features are parsed.
        cuts: tensors behind which a gradient is known; none, to ask about the whole graph.
        features: raw features.

    Returns:
        By feature, sorted; without those that have no way round the cuts, or gradients all along it.
    """
    reaching = _reaching(order, target, {tensor.ref() for tensor in cuts})
    place = {op: index for index, op in enumerate(order)}
    consumers: dict[object, list[tf.Operation]] = collections.defaultdict(list)
    for op in order:
        for tensor in op.inputs:
            if op.type not in SHAPE_OPS and tensor.ref() in reaching:
                consumers[tensor.ref()].append(op)
    found = {}
    for feature in sorted(features):
        blocker = _first(sources.features[feature], consumers, reaching, place)
        if blocker is not None:
            found[feature] = NamedOperation(blocker.type, blocker.name)
    return found


def no_gradient_sentence(features: Iterable[str], blocked: Mapping[str, NamedOperation]) -> str:
    """Why nothing can be attributed to features of which none reaches the output alone and with a gradient."""
    return (
        f"a gradient must lead from single features to the output, but {without_gradient(features, blocked)}: explain "
        "a score or logit output, or read permutation importance, which needs no gradient."
    )


def without_gradient(features: Iterable[str], blocked: Mapping[str, NamedOperation]) -> str:
    """Says through what alone each feature reaches the output; the first ten operations, and ten features of each."""
    by_operation: dict[NamedOperation | None, list[str]] = {}
    for feature in sorted(features):
        by_operation.setdefault(blocked.get(feature), []).append(feature)
    parts = []
    for blocker, names in list(by_operation.items())[:_NAMED]:
        who = ", ".join(map(repr, names[:_NAMED])) + (f" and {len(names) - _NAMED} more" * (len(names) > _NAMED))
        subject, verb = ("feature", "reaches") if len(names) == 1 else ("features", "reach")
        if blocker is None:
            parts.append(f"{subject} {who} {verb} the output by no tensor of one feature with one row an example")
        else:
            parts.append(f"{subject} {who} {verb} the output only through {blocker}, which has no gradient")
    if len(by_operation) > _NAMED:
        parts.append(f"others go through {len(by_operation) - _NAMED} more operations")
    return "; ".join(parts)


def _reaching(order: Sequence[tf.Operation], target: tf.Tensor, cuts: set) -> set:
    """References whose values reach the target on a way that meets no cut."""
    reaching = {target.ref()} - cuts
    for op in reversed(order):
        if op.type not in SHAPE_OPS and any(tensor.ref() in reaching for tensor in op.outputs):
            reaching.update(tensor.ref() for tensor in op.inputs if tensor.ref() not in cuts)
    return reaching


def _first(
    starts: Sequence[tf.Tensor],
    consumers: Mapping[object, Sequence[tf.Operation]],
    reaching: set,
    place: Mapping[tf.Operation, int],
) -> tf.Operation | None:
    """Searches breadth first from a feature's tensors."""
    frontier = [tensor for tensor in starts if tensor.ref() in reaching]
    seen = {tensor.ref() for tensor in frontier}
    without_floats: tf.Operation | None = None
    while frontier:
        stops, discrete, further = [], [], []
        for tensor in frontier:
            floats = carries_gradient(tensor.dtype)
            for op in consumers.get(tensor.ref(), ()):
                results = [result for result in op.outputs if result.ref() in reaching]
                if not results:
                    continue
                if floats and not (has_gradient(op) and any(carries_gradient(r.dtype) for r in results)):
                    stops.append(op)
                elif not floats and op.type not in _PASSED_OVER:
                    discrete.append(op)
                for result in results:
                    if result.ref() not in seen:
                        seen.add(result.ref())
                        further.append(result)
        if stops:
            return min(stops, key=place.__getitem__)
        if discrete and without_floats is None:
            without_floats = min(discrete, key=place.__getitem__)
        frontier = further
    return without_floats
