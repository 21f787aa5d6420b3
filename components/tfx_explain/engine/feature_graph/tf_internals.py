"""The only uses of TensorFlow's private modules: function bodies, the gradient registry, the function library."""

from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework import function_def_to_graph, ops


def function_body(function: Any, graph: tf.Graph) -> tuple[tf.compat.v1.GraphDef, dict[str, str]]:
    """The body of a library function as nodes.

    Args:
        function: a FunctionDef.
        graph: the graph whose library holds the functions that the body calls.

    Returns:
        The GraphDef, whose placeholders bear the names of the arguments, and a map from the tensor names that the
        FunctionDef uses (`node:output:index`) to those of the GraphDef (`node:index`).
    """
    with graph.as_default():
        return function_def_to_graph.function_def_to_graph_def(function)


def has_registered_gradient(op: tf.Operation) -> bool:
    """Whether TensorFlow's registry has a gradient for the op; one registered as None is none."""
    try:
        return ops.get_gradient_function(op) is not None
    except LookupError:
        return False


def register_function(function: Any) -> None:
    """Adds a FunctionDef to the eager context: a tf.function registers itself, not what it imports."""
    context.context().add_function_def(function)
