"""Joins: concatenations of what single features give, kept while some of the features are replaced."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.dependencies import NONE, SHAPE_OPS
from tfx_explain.engine.feature_graph.errors import BatchDependentError
from tfx_explain.engine.feature_graph.flat_graph import FlatGraph, topological

_IN_PLACE = (tf.float16, tf.float32, tf.float64, tf.int32, tf.int64)
"""Types whose memory numpy and TensorFlow can share."""
_MOST_CROSSED = 4
"""Features that one input of a join may depend on: those of a cross, or of a small network beside wide columns."""
_ALIGNMENT = 64  # bytes; TensorFlow takes no other memory as its own


@dataclasses.dataclass(frozen=True)
class Join:
    """An operation that does nothing but copy: its inputs, one after the other along one axis.

    Attributes:
        output: name of its result.
        inputs: names of the tensors that it copies. Where one is a join along the same axis, its inputs stand for it.
        owners: of each input, the features that it depends on: none, one, or a few.
        axis: of the result; counted from the end where negative, as the graph has it.
        stacks: whether the axis is new (Pack), so that every input takes one place on it.
    """

    output: str
    inputs: tuple[str, ...]
    owners: tuple[frozenset[str], ...]
    axis: int
    stacks: bool


@dataclasses.dataclass(frozen=True)
class JoinedCut:
    """The tensors that block every path from the payloads to the target, as late as features do not yet mix.

    Attributes:
        joins: in the order of the graph.
        direct: names of payloads that reach the target on other ways too.
        frozen: names of what is read beside them and does not depend on payloads.
    """

    joins: tuple[Join, ...]
    direct: tuple[str, ...]
    frozen: tuple[str, ...]


class Joined:
    """What the joins of some rows give, in memory that both numpy and TensorFlow see.

    A copy of a join would cost as much as a layer of the model, so that replaced features are written into the join
    itself, and taken out again.

    Attributes:
        arrays: of each join, its result, as numpy sees it.
        starts: of each join, where its inputs begin along its axis: int [inputs + 1].
        lock: held while features are replaced.
    """

    def __init__(self, values: Sequence[tf.Tensor], starts: Sequence[np.ndarray], copies: int = 1) -> None:
        self.arrays = tuple(_aligned(value.numpy(), copies) for value in values)
        self.starts = tuple(starts)
        self.lock = threading.Lock()

    def tensors(self) -> list[tf.Tensor]:
        """The same memory as TensorFlow sees it; for one call, since a device may keep a copy of what it has read."""
        return [tf.experimental.dlpack.from_dlpack(array.__dlpack__()) for array in self.arrays]


@dataclasses.dataclass(frozen=True, eq=False)
class Replaced:
    """One input of a join, of other values than the rows' own.

    Attributes:
        join: number of the join.
        start, end: where the input lies along the join's axis.
        place: the view of the join that holds the rows' own values.
        values: the others, of the same shape.
    """

    join: int
    start: int
    end: int
    place: np.ndarray
    values: np.ndarray


def find_joins(
    flat: FlatGraph, target: str, payloads: Mapping[str, Sequence[str]], frozen: Sequence[str]
) -> JoinedCut | None:
    """The concatenations in which features meet; None where none of them leads to the target.

    Concatenations of concatenations count as one.

    Args:
        flat: the graph.
        target: name of the tensor that is predicted.
        payloads: by feature, the names of the tensors that stand for it.
        frozen: names of what else is read behind the payloads.
    """
    owner = {name: feature for feature, names in payloads.items() for name in names}
    order = topological([flat.tensor(target)])
    carried: dict[str, frozenset[str]] = {}
    joins: dict[str, Join] = {}
    for op in order:
        # All rows of a payload have one shape, so that its shape says nothing; that of other tensors may.
        read = [t.name for t in op.inputs if not (op.type in SHAPE_OPS and t.name in owner)]
        inherited = NONE.union(*(carried.get(name, NONE) for name in read))
        for tensor in op.outputs:
            carried[tensor.name] = frozenset([owner[tensor.name]]) if tensor.name in owner else inherited
        join = _as_join(op, carried, joins)
        if join is not None:
            joins[join.output] = join
    read_behind = _first_met(flat, target, {*joins, *owner, *frozen})
    found = tuple(join for name, join in joins.items() if name in read_behind)
    if not found:
        return None
    direct = tuple(name for name in owner if name in read_behind)
    return JoinedCut(found, direct, tuple(name for name in frozen if name in read_behind))


@dataclasses.dataclass(frozen=True)
class _Own:
    """How a feature enters the joins.

    Attributes:
        straight: names of payloads that are inputs themselves.
        read: names of the payloads and frozen tensors that the other inputs are computed from.
        computed: names of these inputs.
        function: computes them; None where there are none.
    """

    straight: tuple[str, ...]
    read: tuple[str, ...]
    computed: tuple[str, ...]
    function: Callable[..., list[tf.Tensor]] | None


class Splicer:
    """The part of a model behind the payloads, in three: what single features give, the joins, and what is behind them.

    A join is computed once for all permutations of some rows. Where features are replaced, only what they themselves
    give is computed, and put into its place. As joins do nothing but copy, the part behind reads the very bytes that it
    reads when all is computed.

    Attributes:
        feeds: names of the tensors that the part behind the joins reads.
    """

    def __init__(
        self, flat: FlatGraph, cut: JoinedCut, payloads: Mapping[str, Sequence[str]], frozen: Sequence[str]
    ) -> None:
        self.feeds = (*(join.output for join in cut.joins), *cut.direct, *cut.frozen)
        self._cut = cut
        self._payloads = {feature: tuple(names) for feature, names in payloads.items()}
        self._frozen = tuple(frozen)
        fed = [name for names in payloads.values() for name in names]
        self._join = self._with_widths(flat, [*fed, *frozen])
        self._own = {feature: self._of_feature(flat, feature) for feature in payloads}

    def join(self, values: Mapping[str, tf.Tensor], copies: int = 1) -> Joined:
        """The joins of rows whose payloads and frozen tensors have these values, by name.

        `copies` puts them so many times one after the other along their first axis, which must be that of the rows.
        """
        fed = [values[name] for names in self._payloads.values() for name in names]
        *results, widths = self._join(*fed, *(values[name] for name in self._frozen))
        parts = np.split(widths.numpy(), np.cumsum([len(join.inputs) for join in self._cut.joins])[:-1])
        return Joined(results, [np.concatenate([[0], np.cumsum(part)]) for part in parts], copies)

    @contextlib.contextmanager
    def spliced(
        self, joined: Joined, values: Mapping[str, tf.Tensor], replaced: Collection[str]
    ) -> Iterator[list[tf.Tensor]]:
        """What the part behind the joins reads, in the order of `feeds`, where some features are replaced.

        It holds inside the block alone: what is computed there, and may share its memory, must be copied there too.

        Args:
            joined: of the rows.
            values: by name, payloads and frozen tensors; those of the replaced features have their new values.
            replaced: the features.

        Raises:
            BatchDependentError: if what a feature gives has another shape than in the rows' own values.
        """
        changed = self.changed(joined, values, replaced)
        with joined.lock:
            kept: list[tuple[np.ndarray, np.ndarray]] = []
            try:
                for one in changed:
                    kept.append((one.place, one.place.copy()))
                    one.place[...] = one.values
                yield [*joined.tensors(), *self.others(values)]
            finally:
                for place, own in reversed(kept):
                    place[...] = own

    def others(self, values: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """What the part behind the joins reads beside them: `direct` and `frozen` of the cut."""
        return [values[name] for name in (*self._cut.direct, *self._cut.frozen)]

    def changed(self, joined: Joined, values: Mapping[str, tf.Tensor], replaced: Collection[str]) -> list[Replaced]:
        """What replaced features change in the joins; arguments and errors as those of `spliced`."""
        given: dict[str, np.ndarray] = {}
        for feature in replaced:
            given |= self._given(feature, values)
        out = []
        for number, (join, array) in enumerate(zip(self._cut.joins, joined.arrays, strict=True)):
            starts = joined.starts[number]
            for at, name in enumerate(join.inputs):
                if name not in given:
                    continue
                place = _place(join, array, starts[at], starts[at + 1])
                new = np.expand_dims(given[name], join.axis) if join.stacks else given[name]
                if new.shape != place.shape:
                    owners = sorted(join.owners[at])
                    raise BatchDependentError(
                        f"what {owners} give must have one shape whatever the values, {place.shape}. "
                        f"Received: {new.shape}. Reparse {owners}."
                    )
                out.append(Replaced(number, int(starts[at]), int(starts[at + 1]), place, new))
        return out

    def _given(self, feature: str, values: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
        """By name, the inputs of joins that a feature gives, alone or in crosses."""
        own = self._own[feature]
        given = {name: values[name].numpy() for name in own.straight}
        if own.function:
            computed = own.function(*(values[name] for name in own.read))
            given |= {name: value.numpy() for name, value in zip(own.computed, computed, strict=True)}
        return given

    def _of_feature(self, flat: FlatGraph, feature: str) -> _Own:
        pairs = [pair for join in self._cut.joins for pair in zip(join.inputs, join.owners, strict=True)]
        found = {name: owners for name, owners in pairs if feature in owners}
        payload = self._payloads[feature]
        computed = tuple(name for name in found if name not in payload)
        others = NONE.union(*found.values()) - {feature}
        read = (*payload, *(name for other in sorted(others) for name in self._payloads[other]), *self._frozen)
        function = flat.function(read, computed) if computed else None
        return _Own(tuple(name for name in found if name in payload), read, computed, function)

    def _with_widths(self, flat: FlatGraph, feeds: Sequence[str]) -> Any:
        """Function of payloads and frozen tensors: the joins' results, and the widths of all their inputs: int32."""
        joins = self._cut.joins
        inputs = [(name, join) for join in joins for name in join.inputs]
        part = flat.importer(feeds, [*(join.output for join in joins), *(name for name, _ in inputs)])

        def joined(*values: tf.Tensor) -> list[tf.Tensor]:
            results = part(*values)
            pairs = zip(results[len(joins) :], inputs, strict=True)
            widths = [1 if join.stacks else tf.shape(value)[join.axis] for value, (_, join) in pairs]
            return [*results[: len(joins)], tf.stack(widths)]

        signature = [flat.spec(name) for name in feeds]
        return tf.function(joined, autograph=False, input_signature=signature).get_concrete_function()


def _as_join(op: tf.Operation, carried: Mapping[str, frozenset[str]], joins: Mapping[str, Join]) -> Join | None:
    """The op as a join of what single features and crosses give; None where it is none."""
    if op.type == "ConcatV2":
        axis, inputs = tf.get_static_value(op.inputs[-1]), list(op.inputs)[:-1]
    elif op.type == "Pack":
        axis, inputs = op.get_attr("axis"), list(op.inputs)
    else:
        return None
    if axis is None or op.outputs[0].dtype not in _IN_PLACE:
        return None
    names: list[str] = []
    owners: list[frozenset[str]] = []
    for tensor in inputs:
        inner = joins.get(tensor.name)
        if op.type == "ConcatV2" and inner and not inner.stacks and inner.axis == axis:
            names += inner.inputs
            owners += inner.owners
        else:
            names.append(tensor.name)
            owners.append(carried.get(tensor.name, NONE))
    together = len(NONE.union(*owners))
    most = max(1, min(_MOST_CROSSED, together // 2))
    if together < 2 or max(map(len, owners)) > most:
        return None
    return Join(op.outputs[0].name, tuple(names), tuple(owners), int(axis), op.type == "Pack")


def _first_met(flat: FlatGraph, target: str, names: Collection[str]) -> set[str]:
    """Those of the tensors that the target is computed from when all of them are known."""
    met: set[str] = set()
    seen: set[str] = set()
    stack = [target]
    while stack:
        name = stack.pop()
        if name in names:
            met.add(name)
        elif name not in seen:
            seen.add(name)
            stack.extend(tensor.name for tensor in flat.tensor(name).op.inputs)
    return met


def _place(join: Join, array: np.ndarray, start: int, end: int) -> np.ndarray:
    """The view of a join's result that one input was copied to."""
    index = [slice(None)] * array.ndim
    index[join.axis] = slice(start, end)
    return array[tuple(index)]


def _aligned(array: np.ndarray, copies: int) -> np.ndarray:
    """Copies one after the other along the first axis, in memory that TensorFlow takes as it is."""
    size = array.nbytes * copies
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % _ALIGNMENT
    out = memory[first : first + size].view(array.dtype).reshape(copies, *array.shape)
    out[...] = array
    return out.reshape(copies * array.shape[0], *array.shape[1:])
