"""The narrow cut: for each raw feature, the fewest bytes a row through which all of it reaches the output."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.dependencies import NONE, SHAPE_OPS, find_dependencies
from tfx_explain.engine.feature_graph.flat_graph import FlatGraph, topological
from tfx_explain.engine.feature_graph.frozen import find_frozen
from tfx_explain.engine.feature_graph.row_tensors import row_bytes
from tfx_explain.engine.feature_graph.sources import Sources, find_sources
from tfx_explain.engine.feature_graph.vertex_cut import min_vertex_cut

# More than all numbers of one feature together: strings are cut only where no numbers can be.
_STRING_COST = 1 << 40


@dataclasses.dataclass(frozen=True)
class NarrowCut:
    """What a feature's values are in the graph; all fields are in an order that the graph decides.

    Attributes:
        payloads: by raw feature, sorted, the names of the tensors that stand for it, each [rows, ...]: they depend on
            it alone, and every path from it to the target goes through them.
        reparsed: raw features that reach the target and have no such tensors, sorted.
        frozen: names of what else the part behind the payloads reads: it depends on reparsed features and on the
            batch's structure.
    """

    payloads: dict[str, tuple[str, ...]]
    reparsed: tuple[str, ...]
    frozen: tuple[str, ...]


def find_narrow_cut(flat: FlatGraph, target: str, sample: np.ndarray, reparse: Collection[str] = ()) -> NarrowCut:
    """Finds, by feature, the minimum vertex cut between the parser and the tensors that mix features.

    A vertex costs its bytes a row; among equally narrow cuts the latest is taken, which leaves the least to compute
    behind it. No gradient is needed. Only tensors can be cut that have one row for each example (see `row_bytes`).

    Args:
        flat: the graph.
        target: name of the tensor that is predicted.
        sample: serialised tf.Examples, bytes [rows].
        reparse: features that are not to be cut.
    """
    sources = find_sources(flat)
    order = topological([flat.tensor(target)])
    dependencies = find_dependencies(flat, sources, order)
    read = [tensor for op in order if op.type in SHAPE_OPS for tensor in op.inputs]
    lone = [tensor for op in order for tensor in op.outputs if len(dependencies.features(tensor)) == 1]
    looked_at = {tensor.name: dependencies.features(tensor) for tensor in (*lone, *read)}
    widths = row_bytes(flat, {name: features for name, features in looked_at.items() if features}, sources, sample)

    paths = _Paths(order, sources, flat.tensor(target), widths)
    payloads: dict[str, tuple[str, ...]] = {}
    for feature in sorted(paths.used - set(reparse)):
        cut = paths.cut(feature)
        if cut:
            payloads[feature] = tuple(cut)
    cuts = [flat.tensor(name) for names in payloads.values() for name in names]
    values, shapes = find_frozen(cuts, flat.tensor(target), order, dependencies, sources)
    return NarrowCut(
        payloads=payloads,
        reparsed=tuple(sorted(paths.used - set(payloads))),
        frozen=tuple(dict.fromkeys(tensor.name for tensor in (*values, *shapes))),
    )


class _Paths:
    """The ways that features take to the target.

    The shape of a tensor with one row for each example says nothing about a feature; any other shape may (the number
    of values of a sparse one), so that ops which read it carry the feature on.
    """

    def __init__(
        self, order: Sequence[tf.Operation], sources: Sources, target: tf.Tensor, widths: Mapping[str, int]
    ) -> None:
        self._order = order
        self._sources = sources
        self._target = target.name
        self._widths = widths
        self._parsers = set(sources.parse_ops)
        self._features = self._carried_forward()
        self._live = self._carried_backward()
        self.used = self._features.get(self._target, NONE)

    def cut(self, feature: str) -> list[str] | None:
        """Names of the tensors that stand for a feature; None if there are none."""
        own = frozenset([feature])
        edges: dict[str, set[str]] = collections.defaultdict(set)
        costs: dict[str, int] = {}
        mixed = "mixed with other features"  # no tensor has such a name
        for op in self._order:
            for tensor in op.outputs:
                name = tensor.name
                if self._features.get(name) != own or name not in self._live:
                    continue
                if name in self._widths:
                    cost = max(self._widths[name], 1)
                    costs[name] = cost * _STRING_COST if tensor.dtype == tf.string else cost
                if name == self._target:
                    edges[name].add(mixed)
            for tensor in self._read(op):
                if self._features.get(tensor.name) != own:
                    continue
                for result in op.outputs:
                    if result.name in self._live:
                        edges[tensor.name].add(result.name if self._features[result.name] == own else mixed)
        starts = [tensor.name for tensor in self._sources.features[feature] if tensor.name in self._live]
        return min_vertex_cut({tail: sorted(heads) for tail, heads in edges.items()}, costs, starts, [mixed])

    def _read(self, op: tf.Operation) -> list[tf.Tensor]:
        """The inputs by which an op's results depend on the features in them."""
        if op in self._parsers:
            return []
        if op.type in SHAPE_OPS:
            return [tensor for tensor in op.inputs if tensor.name not in self._widths]
        return list(op.inputs)

    def _carried_forward(self) -> dict[str, frozenset[str]]:
        found = {t.name: frozenset([name]) for name, tensors in self._sources.features.items() for t in tensors}
        for op in self._order:
            carried = NONE.union(*(found.get(tensor.name, NONE) for tensor in self._read(op)))
            if carried:
                found.update((tensor.name, carried) for tensor in op.outputs)
        return found

    def _carried_backward(self) -> set[str]:
        live = {self._target}
        for op in reversed(self._order):
            if any(tensor.name in live for tensor in op.outputs):
                live.update(tensor.name for tensor in self._read(op))
        return live
