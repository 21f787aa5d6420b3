"""Operations on which no row can be relied, found by their type and refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tfx_explain.engine.feature_graph.errors import FeatureModelError, NotRepeatableError, UnsupportedOpError
from tfx_explain.engine.feature_graph.named_operation import NamedOperation

_PYTHON = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})
# The branches and loops of TensorFlow 1. Which input a Merge passes on is decided by control edges, that parts of the
# graph do not keep.
_OLD_CONTROL_FLOW = frozenset({"Merge", "RefMerge", "Enter", "RefEnter"})
_WRITES = re.compile(
    r"(Assign|AssignAdd|AssignSub|Resource(Nd)?Scatter|Scatter(Nd)?)(Variable(Op|XlaConcatND)?|Add|Sub|Mul|Div|Min|Max|Update)?"
    r"|LookupTable(Insert|Import|Remove)(V2)?"
)
_RANDOM = re.compile(
    r"(Random|Multinomial|TruncatedNormal|ParameterizedTruncatedNormal|RngReadAndSkip|RngSkip"
    r"|Stateful(Random|Uniform|StandardNormal|TruncatedNormal)|Stateless(Random|Multinomial|TruncatedNormal)).*"
)
_UNREGISTERED = re.compile(r"Op type not registered '([^']+)'")


def check_operations(
    nodes: Iterable[Any], needed: Iterable[Any], bodies: Iterable[Any], variables: Mapping[str, str]
) -> None:
    """Refuses a flat graph that calls Python, branches as TensorFlow 1 does, or writes what its output reads.

    Args:
        nodes: all flat nodes of the signature, those without a path to an output among them.
        needed: those that an output needs.
        bodies: the nodes of loops and branches.
        variables: by tensor name of a captured variable or table, its name.

    Raises:
        UnsupportedOpError: the graph calls Python code, or has control flow of TensorFlow 1.
        NotRepeatableError: it writes a variable or table that an output reads, or writes one in a loop or branch.
    """
    nodes, needed, bodies = list(nodes), list(needed), list(bodies)
    for node in (*nodes, *bodies):
        if node.op in _PYTHON:
            raise UnsupportedOpError(
                f"a SavedModel must hold all it computes, but {NamedOperation(node.op, node.name)} calls Python code "
                "that only the exporting process has: write that step with TensorFlow operations and export again."
            )
    for node in needed:
        if node.op in _OLD_CONTROL_FLOW:
            raise UnsupportedOpError(
                "branches and loops must be operations of their own (If, While), but "
                f"{NamedOperation(node.op, node.name)} belongs to one of TensorFlow 1: call "
                "tf.compat.v1.enable_control_flow_v2() before the graph is built and export again."
            )
    inside = next((node for node in bodies if _WRITES.fullmatch(node.op)), None)
    if inside is not None:
        raise _written(NamedOperation(inside.op, inside.name), "a variable in a loop or a branch")
    read = {name for node in needed if not _WRITES.fullmatch(node.op) for name in node.input}
    for node in nodes:
        if _WRITES.fullmatch(node.op) and node.input and node.input[0] in read:
            what = variables.get(node.input[0], node.input[0])
            raise _written(NamedOperation(node.op, node.name), f"{what!r}, which an output reads")


def random_operations(nodes: Iterable[Any]) -> list[NamedOperation]:
    """The nodes that draw random numbers, in their order."""
    return [NamedOperation(node.op, node.name) for node in nodes if _RANDOM.fullmatch(node.op)]


def unregistered(error: BaseException, path: str) -> FeatureModelError | None:
    """What TensorFlow says of an operation that this process does not know, as a refusal; None for other errors."""
    found = _UNREGISTERED.search(str(error))
    if found is None:
        return None
    return UnsupportedOpError(
        f"every operation of the SavedModel {path!r} must be registered in the process that runs it, but "
        f"{found[1]!r} is not: import the library that defines it (as tensorflow_text or "
        "tensorflow_decision_forests define theirs) in the pipeline's module and in every worker, by op_libraries in "
        "ExplainConfig."
    )


def _written(blocker: NamedOperation, what: str) -> NotRepeatableError:
    return NotRepeatableError(
        f"a call must not write what its output reads, but {blocker} writes {what}: export the signature without state "
        "that lasts from call to call (a stateful recurrent layer, a counter, training=True)."
    )
