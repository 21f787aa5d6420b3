"""A signature as one flat graph: tensors to analyse, and callables for any part of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfx_explain.engine.feature_graph.bodies import open_bodies
from tfx_explain.engine.feature_graph.inline import Inliner, tensor_name
from tfx_explain.engine.feature_graph.refused_ops import check_operations
from tfx_explain.engine.feature_graph.tf_internals import register_function

_import_numbers = itertools.count()


class FlatGraph:
    """The flattened signature; never changed once made.

    Attributes:
        graph: the imported graph.
        input_names: tensor names of the signature's inputs.
        output_names: tensor name by name of the signature's output, sorted by name.
    """

    def __init__(
        self,
        nodes: Sequence[tf.compat.v1.NodeDef],
        library: Mapping[str, Any],
        versions: Any,
        input_names: Sequence[str],
        output_names: Mapping[str, str],
        captures: Mapping[str, tf.Tensor],
    ) -> None:
        self.input_names = tuple(input_names)
        self.output_names = dict(output_names)
        self._library = library
        self._versions = versions
        self._captures = dict(captures)
        self._roots = {_node_of(name) for name in (*self.input_names, *self._captures)}
        by_name = {node.name: node for node in nodes}
        keep = _needed(by_name, self.output_names.values(), ()) | self._roots
        self._nodes = {name: node for name, node in by_name.items() if name in keep}
        self.graph = self._import()

    @classmethod
    def from_signature(cls, signature: Any) -> FlatGraph:
        """Flattens a signature (a ConcreteFunction) of a loaded SavedModel.

        The loaded model must be kept alive: it owns variables and tables.

        Raises:
            UnsupportedOpError, NotRepeatableError: the signature calls Python, or writes what its output reads.
        """
        graph = signature.graph
        graph_def = graph.as_graph_def()
        library = open_bodies({function.signature.name: function for function in graph_def.library.function})
        inliner = Inliner(library, graph)
        inliner.add(graph_def.node)
        inliner.resolve_inputs()
        user_inputs = len(graph.inputs) - len(signature.captured_inputs)
        # `structured_outputs` is a dict; its flat tensors come in the order of the sorted keys.
        outputs = zip(sorted(signature.structured_outputs), graph.outputs, strict=True)
        captured = list(zip(graph.inputs[user_inputs:], signature.captured_inputs, strict=True))
        flat = cls(
            nodes=inliner.nodes,
            library=library,
            versions=graph_def.versions,
            input_names=[tensor.name for tensor in graph.inputs[:user_inputs]],
            output_names={name: inliner.resolve(tensor.name) for name, tensor in outputs},
            captures={inner.name: outer for inner, outer in captured},
        )
        by_handle = {id(variable.handle): variable.name for variable in graph.variables}
        variables = {inner.name: by_handle[id(outer)] for inner, outer in captured if id(outer) in by_handle}
        bodies = [node for body in _needed_functions(inliner.nodes, library) for node in body.node_def]
        check_operations(inliner.nodes, flat.nodes, bodies, variables)
        return flat

    @property
    def nodes(self) -> list[tf.compat.v1.NodeDef]:
        """The nodes that the outputs need, and those of the loops and branches among them."""
        own = list(self._nodes.values())
        return own + [node for body in _needed_functions(own, self._library) for node in body.node_def]

    def edited(self, changed: Iterable[tf.compat.v1.NodeDef]) -> FlatGraph:
        """A copy in which these nodes are added, or take the place of those of their name."""
        nodes = {**self._nodes, **{node.name: node for node in changed}}
        return FlatGraph(
            list(nodes.values()), self._library, self._versions, self.input_names, self.output_names, self._captures
        )

    def node(self, name: str) -> tf.compat.v1.NodeDef:
        """A copy of the node of that name, to be edited."""
        copy = tf.compat.v1.NodeDef()
        copy.CopyFrom(self._nodes[name])
        return copy

    def tensor(self, name: str) -> tf.Tensor:
        """The symbolic tensor of that name."""
        return self.graph.get_tensor_by_name(name)

    def captured(self, value: tf.Tensor) -> list[tf.Tensor]:
        """The symbolic tensors that stand for something from outside the graph, such as a variable's handle."""
        return [inner for outer, inner in self.graph.captures if outer is value]

    def needs_inputs(self, feeds: Iterable[str], fetches: Iterable[str]) -> bool:
        """Whether some path from the signature's inputs to the fetches goes round the feeds."""
        feeds = set(feeds)
        needed = _needed(self._nodes, fetches, feeds)
        return any(_node_of(name) in needed for name in self.input_names if name not in feeds)

    def importer(self, feeds: Sequence[str], fetches: Sequence[str]) -> Callable[..., list[tf.Tensor]]:
        """A callable that imports the nodes between feeds and fetches into the graph it is called in.

        Raises:
            ValueError: if the fetches still need the signature's inputs.
        """
        if self.needs_inputs(feeds, fetches):
            raise ValueError(f"the feeds must block every path from the inputs. Received: {feeds=}, {fetches=}")
        keep = _needed(self._nodes, fetches, set(feeds))
        capture_nodes = {_node_of(name) for name in self._captures}
        nodes = [node for name, node in self._nodes.items() if name in keep and name not in capture_nodes]
        graph_def = self._graph_def(nodes)
        used = {tensor_name(name) for node in nodes for name in node.input}
        captures = {name: value for name, value in self._captures.items() if name in used}

        def call(*values: tf.Tensor) -> list[tf.Tensor]:
            target = tf.compat.v1.get_default_graph()
            fed = dict(zip(feeds, values, strict=True))
            wanted = [name for name in fetches if name not in fed]
            input_map = {name: value for name, value in fed.items() if name in used}
            input_map |= {name: target.capture(value) for name, value in captures.items()}
            imported = tf.import_graph_def(
                _with_own_functions(graph_def), input_map=input_map, return_elements=wanted, name="part"
            )
            found = fed | dict(zip(wanted, imported, strict=True))
            return [found[name] for name in fetches]

        return call

    def function(self, feeds: Sequence[str], fetches: Sequence[str]) -> Callable[..., list[tf.Tensor]]:
        """The same as a ConcreteFunction, traced for any number of rows; it takes tensors."""
        part = self.importer(feeds, fetches)
        signature = [self.spec(name) for name in feeds]
        function = tf.function(lambda *values: part(*values), autograph=False, input_signature=signature)
        return function.get_concrete_function()

    def spec(self, name: str) -> tf.TensorSpec:
        """The spec of a tensor, its first dimension left open."""
        tensor = self.tensor(name)
        shape = tensor.shape if not tensor.shape.rank else [None, *tensor.shape[1:]]
        return tf.TensorSpec(shape, tensor.dtype)

    def _import(self) -> tf.Graph:
        graph_def = _with_own_functions(self._graph_def(self._nodes.values()))

        def load() -> list:
            graph = tf.compat.v1.get_default_graph()
            captured = {name: graph.capture(value) for name, value in self._captures.items()}
            tf.import_graph_def(graph_def, input_map=captured, name="")
            return []

        return tf.compat.v1.wrap_function(load, []).graph

    def _graph_def(self, nodes: Iterable[tf.compat.v1.NodeDef]) -> tf.compat.v1.GraphDef:
        graph_def = tf.compat.v1.GraphDef()
        graph_def.versions.CopyFrom(self._versions)
        graph_def.node.extend(nodes)
        graph_def.library.function.extend(_needed_functions(graph_def.node, self._library))
        return graph_def


def topological(targets: Iterable[tf.Tensor], stop: Iterable[tf.Operation] = ()) -> list[tf.Operation]:
    """The ops that the targets need, inputs first, in an order that the graph alone decides; not above `stop`."""
    stop, order, seen = set(stop), [], set()
    stack = [(target.op, False) for target in reversed(list(targets))]
    while stack:
        op, inputs_done = stack.pop()
        if inputs_done:
            order.append(op)
        elif op not in seen:
            seen.add(op)
            stack.append((op, True))
            if op not in stop:
                stack.extend((tensor.op, False) for tensor in op.inputs if tensor.op not in seen)
    return order


def _node_of(name: str) -> str:
    return name.rsplit(":", 1)[0]


def _needed(nodes: Mapping[str, Any], fetches: Iterable[str], feeds: Iterable[str]) -> set[str]:
    """Names of the nodes that the fetches need, stopping at the feeds."""
    feeds = set(feeds)
    needed: set[str] = set()
    stack = [name for name in fetches if name not in feeds]
    while stack:
        name = _node_of(stack.pop())
        if name not in needed:
            needed.add(name)
            stack.extend(tensor for tensor in nodes[name].input if tensor_name(tensor) not in feeds)
    return needed


def _function_names(node: Any) -> list[str]:
    names = [node.op]
    for attribute in node.attr.values():
        single = attribute.WhichOneof("value") == "func"
        names += [attribute.func.name] if single else [function.name for function in attribute.list.func]
    return names


def _needed_functions(nodes: Iterable[Any], library: Mapping[str, Any]) -> list[Any]:
    """The loop bodies and branches that these nodes use, directly or not, sorted by name."""
    needed: set[str] = set()
    stack = list(nodes)
    while stack:
        for name in _function_names(stack.pop()):
            if name in library and name not in needed:
                needed.add(name)
                stack.extend(library[name].node_def)
    return [library[name] for name in sorted(needed)]


def _with_own_functions(graph_def: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """A copy whose loop bodies and branches bear names of their own, registered in the eager context.

    While's gradient writes `<name>_rewritten` into that context, so a second import under the same names would clash.
    Under their first names the context knows them as the trainer exported them.
    """
    if not graph_def.library.function:
        return graph_def
    copy = tf.compat.v1.GraphDef()
    copy.CopyFrom(graph_def)
    number = next(_import_numbers)
    names = {function.signature.name: f"{function.signature.name}_part{number}" for function in copy.library.function}
    for function in copy.library.function:
        function.signature.name = names[function.signature.name]
    bodies = (node for function in copy.library.function for node in function.node_def)
    for node in itertools.chain(copy.node, bodies):
        node.op = names.get(node.op, node.op)
        for attribute in node.attr.values():
            single = attribute.WhichOneof("value") == "func"
            for function in [attribute.func] if single else attribute.list.func:
                function.name = names.get(function.name, function.name)
    for function in copy.library.function:
        register_function(function)
    return copy
