"""Bodies of loops and branches, without what keeps a gradient from them: nested calls, custom and stopped gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

CALL_OPS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
# Training devices: the value that leaves them still depends on the feature.
_GRADIENT_BLOCKERS = frozenset({"StopGradient", "PreventGradient"})
# Colocation hints, and the name of a custom gradient that only the trainer's process registered.
_DROPPED_ATTRIBUTES = ("_class", "_gradient_op_type")


def called_function(node: tf.compat.v1.NodeDef) -> str:
    """Name of the function that a node calls, if it calls one."""
    return node.attr["f"].func.name if node.op in CALL_OPS else node.op


def remove_blockers(node: tf.compat.v1.NodeDef) -> None:
    """Makes a node pass the gradients that its own operation has, whatever the trainer registered in its place."""
    dropped = list(_DROPPED_ATTRIBUTES)
    if node.op in _GRADIENT_BLOCKERS:
        node.op = "Identity"
        dropped.append("message")
    for attribute in dropped:
        if attribute in node.attr:
            del node.attr[attribute]


def open_bodies(library: Mapping[str, Any]) -> dict[str, Any]:
    """The functions (FunctionDefs) of a graph, each with the bodies of those that it calls in place of the calls.

    A loop's gradient calls the functions that its body calls by the gradients that were registered for them: these
    would be the trainer's own.
    """
    opened: dict[str, Any] = {}
    for name in library:
        _open(name, library, opened)
    return opened


def _open(name: str, library: Mapping[str, Any], opened: dict[str, Any]) -> Any:
    if name in opened:
        return opened[name]
    aliases: dict[str, str] = {}
    nodes: list[tf.compat.v1.NodeDef] = []
    for node in library[name].node_def:
        if called_function(node) in library:
            nodes += _called(node, _open(called_function(node), library, opened), aliases)
        else:
            nodes.append(_copy(node, node.name, node.input))
    for node in nodes:
        remove_blockers(node)
        # Control edges to a call would lead nowhere; at inference there are no side effects to order.
        inputs = [_resolved(given, aliases) for given in node.input if not (aliases and given.startswith("^"))]
        node.input[:] = inputs
    function = type(library[name])()
    function.CopyFrom(library[name])
    del function.node_def[:]
    function.node_def.extend(nodes)
    for output, value in function.ret.items():
        function.ret[output] = _resolved(value, aliases)
    if aliases:
        function.control_ret.clear()
        function.signature.control_output[:] = []
    opened[name] = function
    return function


def _called(call: tf.compat.v1.NodeDef, body: Any, aliases: dict[str, str]) -> list[tf.compat.v1.NodeDef]:
    """The nodes of a body for one call of it; `aliases` learns what the call's outputs are.

    In a FunctionDef, tensors are called `argument` or `node:output:index`.
    """
    arguments = [argument.name for argument in body.signature.input_arg]
    given = dict(zip(arguments, [name for name in call.input if not name.startswith("^")], strict=True))

    def inside(name: str) -> str:
        return given.get(name, f"{call.name}/{name}")

    for index, output in enumerate(body.signature.output_arg):
        place = f"output:{index}" if call.op in CALL_OPS else f"{output.name}:0"
        aliases[f"{call.name}:{place}"] = inside(body.ret[output.name])
    return [
        _copy(node, f"{call.name}/{node.name}", [inside(name) for name in node.input if not name.startswith("^")])
        for node in body.node_def
    ]


def _copy(node: tf.compat.v1.NodeDef, name: str, inputs: Iterable[str]) -> tf.compat.v1.NodeDef:
    copy = tf.compat.v1.NodeDef()
    copy.CopyFrom(node)
    copy.name = name
    copy.input[:] = inputs
    return copy


def _resolved(name: str, aliases: Mapping[str, str]) -> str:
    while name in aliases:
        name = aliases[name]
    return name
