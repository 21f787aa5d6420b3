"""The cut: the first float tensors that depend on one raw feature and from which gradients reach the output."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf

from tfx_explain.engine.feature_graph.dependencies import SHAPE_OPS, Dependencies
from tfx_explain.engine.feature_graph.sources import Sources
from tfx_explain.engine.feature_graph.tf_internals import has_registered_gradient

POLICIES = ("feature", "latest", "element")
# Ops with a registered gradient that is zero everywhere.
_ZERO_GRADIENT = frozenset(
    {
        "Floor",
        "Ceil",
        "Round",
        "Rint",
        "Sign",
        "ZerosLike",
        "OnesLike",
        "Fill",
        "OneHot",
        "Bucketize",
        "FloorDiv",
        "TruncateDiv",
    }
)


@dataclasses.dataclass(frozen=True)
class CutSearch:
    """What one search found.

    Attributes:
        cuts: tensors in the order in which the graph computes them.
        split: edges (tensor, consumer, input index) of raw floats that are also used without gradient: put an Identity
            on them and search again.
        notes: what a reader of the attributions should know.
    """

    cuts: tuple[tf.Tensor, ...]
    split: tuple[tuple[str, str, int], ...]
    notes: tuple[str, ...]


def carries_gradient(dtype: tf.DType) -> bool:
    """Floats do, and variants: the TensorLists of map_fn, RNNs and TensorArrays."""
    return dtype.is_floating or dtype.is_complex or dtype == tf.variant


def has_gradient(op: tf.Operation) -> bool:
    """Whether TensorFlow knows a gradient of the op that is not zero everywhere."""
    return op.type not in _ZERO_GRADIENT and has_registered_gradient(op)


class CutFinder:
    """Searches one graph for the cut before one target.

    Policies, by raw feature:
        feature: the first tensors that leave nothing of the feature frozen beside them, so that integrated gradients
            are complete to a raw input baseline.
        latest: the last tensors before features mix.
        element: the first tensors with a gradient (one vector a token); what else depends on the feature, such as a
            mask, stays at its value at x.
    """

    def __init__(
        self, order: Sequence[tf.Operation], target: tf.Tensor, sources: Sources, dependencies: Dependencies
    ) -> None:
        self._order = order
        self._target = target
        self._features = dependencies.features
        self._source_refs = {tensor.ref() for tensors in sources.features.values() for tensor in tensors}
        self._consumers: dict[object, list[tuple[tf.Operation, int]]] = collections.defaultdict(list)
        for op in order:
            for index, tensor in enumerate(op.inputs):
                self._consumers[tensor.ref()].append((op, index))
        self._differentiable = {op for op in order if has_gradient(op)}
        self._live, self._smooth = self._reachable_backwards()

    def search(self, policies: Mapping[str, str], avoid: Iterable[str]) -> CutSearch:
        """Finds the cut.

        Args:
            policies: policy by raw feature; `feature` where there is none.
            avoid: names of tensors that may not be cuts.
        """
        avoid = frozenset(avoid)
        banned = {tensor.ref() for op in self._order for tensor in op.outputs if tensor.name in avoid}
        while True:
            eligible, not_smooth = self._eligible(banned)
            cuts, zero_gradient, newly_banned = self._sweep(policies, eligible, banned)
            if not newly_banned:
                break
            banned |= newly_banned
        notes = []
        if zero_gradient:
            notes.append(f"ops with zero gradient stay on the path after features mix: {sorted(zero_gradient)}")
        if not_smooth:
            notes.append(f"ops without gradient read tensors after features mix: {sorted(not_smooth)}")
        return CutSearch(self._first_seen(cuts), self._edges_to_split(policies, eligible, banned), tuple(notes))

    def _reachable_backwards(self) -> tuple[set, set]:
        """References from which some value path, and some gradient path, leads to the target."""
        live, smooth = {self._target.ref()}, {self._target.ref()}
        for op in reversed(self._order):
            if op.type not in SHAPE_OPS and any(tensor.ref() in live for tensor in op.outputs):
                live.update(tensor.ref() for tensor in op.inputs)
            passes = any(tensor.ref() in smooth and carries_gradient(tensor.dtype) for tensor in op.outputs)
            if passes and op in self._differentiable:
                smooth.update(tensor.ref() for tensor in op.inputs if carries_gradient(tensor.dtype))
        return live, smooth

    def _eligible(self, banned: set) -> tuple[set, set[str]]:
        """References that may be cut, and the types of gradientless ops met after features mixed.

        While a tensor depends on one feature, every live consumer of it must carry the gradient on; once features have
        mixed, others are tolerated (a leaky ReLU written with `where(x > 0, ...)`).
        """
        goal = self._target.ref()
        eligible, not_smooth = {goal}, set()
        for op in reversed(self._order):
            for tensor in op.outputs:
                reference, features = tensor.ref(), self._features(tensor)
                if reference == goal or not features or reference in banned or not carries_gradient(tensor.dtype):
                    continue
                if reference not in self._smooth or reference not in self._live:
                    continue
                accepted = True
                for consumer, result in self._live_uses(tensor):
                    if consumer in self._differentiable and carries_gradient(result.dtype):
                        accepted = accepted and (len(features) > 1 or result.ref() in eligible)
                    elif len(features) == 1:
                        accepted = False
                    else:
                        not_smooth.add(consumer.type)
                if accepted:
                    eligible.add(reference)
        return eligible, not_smooth

    def _live_uses(self, tensor: tf.Tensor) -> list[tuple[tf.Operation, tf.Tensor]]:
        return [
            (consumer, result)
            for consumer, _ in self._consumers[tensor.ref()]
            if consumer.type not in SHAPE_OPS
            for result in consumer.outputs
            if result.ref() in self._live
        ]

    def _sweep(self, policies: Mapping[str, str], eligible: set, banned: set) -> tuple[list, set[str], set]:
        """Walks forwards: the first eligible tensor on each path is a cut.

        Returns the cuts, the types of zero-gradient ops below a cut, and what must be banned before a new sweep.
        """
        cuts, below = [], set()
        masks = self._masks()
        zero_gradient: set[str] = set()
        ban: set[object] = set()
        for op in self._order:
            reads_values = op.type not in SHAPE_OPS
            is_below = reads_values and any(tensor.ref() in below for tensor in op.inputs)
            for tensor in op.outputs:
                reference, features = tensor.ref(), self._features(tensor)
                if is_below:
                    below.add(reference)
                if not features or reference not in eligible or reference not in self._live:
                    continue
                if reference in masks and policies.get(next(iter(features))) == "element":
                    continue
                policy = policies.get(next(iter(features)), "feature") if len(features) == 1 else "feature"
                if policy == "latest":
                    is_cut = self._mixes(tensor)
                else:
                    varying = []
                    if reads_values and reference not in self._source_refs:
                        varying = [source for source in op.inputs if self._features(source)]
                    through = [s for s in varying if op in self._differentiable and s.ref() in eligible]
                    is_cut = not through
                    if 0 < len(through) < len(varying) and len(features) == 1 and policy == "feature":
                        # A mask of the same feature would stay frozen beside the cut: cut after both have met.
                        ban.update(source.ref() for source in through)
                if not is_cut:
                    continue
                if tensor.dtype == tf.variant:  # cannot be fed
                    ban.add(reference)
                elif len(features) > 1 and is_below:
                    zero_gradient.add(op.type)
                else:
                    cuts.append(tensor)
                    below.add(reference)
        return cuts, zero_gradient, ban - banned

    def _masks(self) -> set:
        """References of tensors that one feature reaches through a cast of booleans alone: masks as numbers.

        Those of a feature that reaches the target in no other way are not among them.
        """
        masks: dict[object, frozenset[str]] = {}
        carried: set[str] = set()
        for op in self._order:
            varying = [source for source in op.inputs if self._features(source)]
            if op.type in SHAPE_OPS or not varying:
                continue
            is_mask = all(source.ref() in masks for source in varying)
            is_mask = is_mask or (op.type == "Cast" and varying[0].dtype == tf.bool)
            for tensor in op.outputs:
                features = self._features(tensor)
                if len(features) != 1 or tensor.ref() not in self._smooth:
                    continue
                if is_mask:
                    masks[tensor.ref()] = features
                elif carries_gradient(tensor.dtype):
                    carried |= features
        return {reference for reference, features in masks.items() if features <= carried}

    def _mixes(self, tensor: tf.Tensor) -> bool:
        goal = self._target.ref()
        if tensor.ref() == goal:
            return True
        return any(len(self._features(r)) > 1 or r.ref() == goal for _, r in self._live_uses(tensor))

    def _edges_to_split(
        self, policies: Mapping[str, str], eligible: set, banned: set
    ) -> tuple[tuple[str, str, int], ...]:
        """Edges from floats that cannot be cut, since something without gradient reads them as well, to what can be.

        Cut on those edges, a number that is also bucketised keeps its path from where it is raw. The policies other
        than `feature` only need the edges to where features mix.
        """
        edges = []
        for op in self._order:
            for tensor in op.outputs:
                reference, features = tensor.ref(), self._features(tensor)
                if len(features) != 1 or reference in eligible or reference in banned:
                    continue
                if reference not in self._live or not tensor.dtype.is_floating:
                    continue
                own = policies.get(next(iter(features)), "feature") == "feature"
                for consumer, index in self._consumers[reference]:
                    if consumer.type == "Identity":
                        continue  # its result is apart already
                    if consumer in self._differentiable and any(
                        carries_gradient(result.dtype)
                        and result.ref() in self._live
                        and result.ref() in self._smooth
                        and (len(self._features(result)) > 1 or (own and result.ref() in eligible))
                        for result in consumer.outputs
                    ):
                        edges.append((tensor.name, consumer.name, index))
        return tuple(edges)

    def _first_seen(self, cuts: list[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """The cuts that the target sees before any other cut."""
        references = {tensor.ref() for tensor in cuts}
        hit, seen, stack = set(), set(), [self._target]
        while stack:
            tensor = stack.pop()
            if tensor.ref() in seen:
                continue
            seen.add(tensor.ref())
            if tensor.ref() in references:
                hit.add(tensor.ref())
            else:
                stack.extend(tensor.op.inputs)
        return tuple(tensor for tensor in cuts if tensor.ref() in hit)
