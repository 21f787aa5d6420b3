"""Inlines the function calls of a graph, so that it can be analysed and differentiated as one flat list of nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from tfx_explain.engine.feature_graph.bodies import called_function, remove_blockers
from tfx_explain.engine.feature_graph.tf_internals import function_body


def tensor_name(name: str) -> str:
    """`node` -> `node:0`; names with an index stay."""
    return name if ":" in name else f"{name}:0"


class Inliner:
    """Collects nodes with every call replaced by its body; bodies of While, If and Case stay functions
    (see `open_bodies`).

    Control edges are dropped: at inference there are no side effects to order.

    Attributes:
        nodes: the flat nodes, once `resolve_inputs` has run.
    """

    def __init__(self, library: Mapping[str, Any], graph: tf.Graph) -> None:
        self.nodes: list[tf.compat.v1.NodeDef] = []
        self._library = library
        self._graph = graph
        self._aliases: dict[str, str] = {}

    def add(self, nodes: Iterable[tf.compat.v1.NodeDef], prefix: str = "") -> None:
        """Adds nodes whose names, and those of their inputs, are to be read below `prefix`."""
        for node in nodes:
            inputs = [prefix + tensor_name(name) for name in node.input if not name.startswith("^")]
            called = called_function(node)
            if called in self._library:
                self._add_call(self._library[called], prefix + node.name, inputs)
            else:
                self.nodes.append(_clean_copy(node, prefix + node.name, inputs))

    def resolve(self, name: str) -> str:
        """The flat tensor behind a tensor name of the original graph."""
        name = tensor_name(name)
        while name in self._aliases:
            name = self._aliases[name]
        return name

    def resolve_inputs(self) -> None:
        """Points every input at a flat tensor; call it after the last `add`."""
        for node in self.nodes:
            node.input[:] = [self.resolve(name) for name in node.input]

    def _add_call(self, function: Any, name: str, inputs: list[str]) -> None:
        body, flat_names = function_body(function, self._graph)
        arguments = [argument.name for argument in function.signature.input_arg]
        for argument, tensor in zip(arguments, inputs, strict=True):
            self._aliases[f"{name}/{argument}:0"] = tensor
        placeholders = set(arguments)
        self.add((node for node in body.node if node.name not in placeholders), f"{name}/")
        for index, output in enumerate(function.signature.output_arg):
            inner = flat_names[function.ret[output.name]]
            self._aliases[f"{name}:{index}"] = f"{name}/{tensor_name(inner)}"


def _clean_copy(node: tf.compat.v1.NodeDef, name: str, inputs: list[str]) -> tf.compat.v1.NodeDef:
    copy = tf.compat.v1.NodeDef()
    copy.CopyFrom(node)
    copy.name = name
    copy.device = ""
    copy.input[:] = inputs
    remove_blockers(copy)
    return copy
