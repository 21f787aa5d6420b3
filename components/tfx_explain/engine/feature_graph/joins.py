"""Joins: concatenations of what single features give, kept and spliced where one of the features is replaced."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.dependencies import NONE, SHAPE_OPS
from tfx_explain.engine.feature_graph.flat_graph import FlatGraph, topological


@dataclasses.dataclass(frozen=True)
class Join:
    """An operation that does nothing but copy: its inputs, one after the other along one axis.

    Attributes:
        output: name of its result.
        inputs: names of the tensors that it copies; each depends on one feature at most.
        owners: of each input, the feature; None where it depends on no feature.
        axis: of the result; counted from the end where negative, as the graph has it.
        stacks: whether the axis is new (Pack), so that every input takes one place on it.
    """

    output: str
    inputs: tuple[str, ...]
    owners: tuple[str | None, ...]
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


@dataclasses.dataclass(frozen=True)
class Joined:
    """What the joins of some rows give.

    Attributes:
        values: of each join, its result.
        starts: of each join, where its inputs begin along its axis: int [inputs + 1].
    """

    values: tuple[tf.Tensor, ...]
    starts: tuple[np.ndarray, ...]


def find_joins(
    flat: FlatGraph, target: str, payloads: Mapping[str, Sequence[str]], frozen: Sequence[str]
) -> JoinedCut | None:
    """The first concatenations in which features meet; None where none of them leads to the target.

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
        join = _as_join(op, carried)
        if join is not None:
            joins[join.output] = join
    read_behind = _first_met(flat, target, {*joins, *owner, *frozen})
    found = tuple(join for name, join in joins.items() if name in read_behind)
    if not found:
        return None
    direct = tuple(name for name in owner if name in read_behind)
    return JoinedCut(found, direct, tuple(name for name in frozen if name in read_behind))


class Splicer:
    """The part of a model behind the payloads, in three: what single features give, the joins, and what is behind them.

    A join is computed once for all permutations of some rows. Where features are replaced, only what they themselves
    give is computed, and put into its place in a copy. As joins do nothing but copy, the part behind reads the bytes
    that it reads when all is computed.
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
        self._own = {feature: self._from_payload(flat, feature) for feature in payloads}

    def join(self, values: Mapping[str, tf.Tensor]) -> Joined:
        """The joins of rows whose payloads and frozen tensors have these values, by name."""
        *joined, widths = self._join(
            *(values[n] for names in self._payloads.values() for n in names), *self._rest(values)
        )
        parts = np.split(widths.numpy(), np.cumsum([len(join.inputs) for join in self._cut.joins])[:-1])
        return Joined(tuple(joined), tuple(np.concatenate([[0], np.cumsum(part)]) for part in parts))

    def spliced(self, joined: Joined, values: Mapping[str, tf.Tensor], replaced: Collection[str]) -> list[tf.Tensor]:
        """What the part behind the joins reads, in the order of `feeds`, where some features are replaced.

        Args:
            joined: of the rows, nothing replaced.
            values: by name, payloads and frozen tensors; those of the replaced features have their new values.
            replaced: the features.
        """
        given: dict[str, tf.Tensor] = {}
        for feature in replaced:
            names, function = self._own[feature]
            own = [values[name] for name in self._payloads[feature]]
            given |= dict(zip(names, function(*own, *self._rest(values)), strict=True)) if function else {}
            given |= dict(zip(self._payloads[feature], own, strict=True))
        joins = [
            _with_replaced(join, value, starts, given) if set(join.owners) & set(replaced) else value
            for join, value, starts in zip(self._cut.joins, joined.values, joined.starts, strict=True)
        ]
        return [*joins, *(values[name] for name in (*self._cut.direct, *self._cut.frozen))]

    def _rest(self, values: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        return [values[name] for name in self._frozen]

    def _from_payload(self, flat: FlatGraph, feature: str) -> tuple[list[str], Any]:
        """(inputs of joins that are computed from a feature's payload, the function that does; None for no input)."""
        own = self._payloads[feature]
        names = dict.fromkeys(
            name
            for join in self._cut.joins
            for name, owner in zip(join.inputs, join.owners, strict=True)
            if owner == feature and name not in own
        )
        return list(names), flat.function([*own, *self._frozen], list(names)) if names else None

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


def _as_join(op: tf.Operation, carried: Mapping[str, frozenset[str]]) -> Join | None:
    """The op as a join of single features; None where it is none."""
    if op.type == "ConcatV2":
        axis, inputs = tf.get_static_value(op.inputs[-1]), list(op.inputs)[:-1]
    elif op.type == "Pack":
        axis, inputs = op.get_attr("axis"), list(op.inputs)
    else:
        return None
    features = [carried.get(tensor.name, NONE) for tensor in inputs]
    if axis is None or any(len(found) > 1 for found in features) or len(NONE.union(*features)) < 2:
        return None
    owners = tuple(next(iter(found), None) for found in features)
    return Join(op.outputs[0].name, tuple(t.name for t in inputs), owners, int(axis), op.type == "Pack")


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


def _with_replaced(join: Join, value: tf.Tensor, starts: np.ndarray, given: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """A join's result in which some inputs have other values; what lies between two of them is copied in one piece."""
    axis = join.axis % value.shape.rank
    pieces: list[tf.Tensor] = []
    kept = 0  # first of the inputs that are kept since the last one that is replaced
    for at, name in enumerate((*join.inputs, None)):
        if name is not None and name not in given:
            continue
        if kept < at:
            begin, size = np.zeros(value.shape.rank, np.int64), np.full(value.shape.rank, -1, np.int64)
            begin[axis], size[axis] = starts[kept], starts[at] - starts[kept]
            pieces.append(tf.slice(value, begin, size))
        if name is not None:
            pieces.append(tf.expand_dims(given[name], axis) if join.stacks else given[name])
        kept = at + 1
    return tf.concat(pieces, axis)
