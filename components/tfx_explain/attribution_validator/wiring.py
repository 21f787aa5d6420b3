"""What a pipeline's nodes read: their channels, followed through unions and resolvers."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_node
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution import resolver_op
from tfx.types import channel as channel_lib
from tfx.types import component_spec, resolved_channel

from tfx_explain.artifacts.types import AttributionReference


def input_channels(node: base_node.BaseNode) -> dict[str, types.BaseChannel]:
    """A node's inputs as its author wrote them; a Resolver's are those before resolution."""
    if isinstance(node, resolver.Resolver):
        return node.raw_inputs
    # The spec, not `inputs`: AttributionValidator's own check must not hide the others.
    return node.spec.inputs if hasattr(node, "spec") else node.inputs


def never_empty(node: base_node.BaseNode, key: str) -> None:
    """Has TFX not run a node where an input that its author gave it comes without artifacts.

    TFX reads this off the node's spec when it compiles the pipeline, and takes an input that may be left out of a
    pipeline as one that may be empty in a run.
    """
    parameter = node.spec.INPUTS[key]
    if parameter.allow_empty:
        strict = component_spec.ChannelParameter(type=parameter.type, optional=True, allow_empty=False)
        # Of this one node: the class is shared with nodes of other pipelines.
        node.spec.INPUTS = {**node.spec.INPUTS, key: strict}


def leaves(channel: types.BaseChannel) -> Iterator[types.BaseChannel]:
    """The channels that one channel is made of, unions and resolver functions taken apart."""
    if isinstance(channel, channel_lib.UnionChannel):
        for part in channel.channels:
            yield from leaves(part)
    elif isinstance(channel, resolved_channel.ResolvedChannel):
        for node in resolver_op.get_input_nodes(channel.output_node):
            wrapped = node.wrapped
            for part in wrapped.values() if isinstance(wrapped, Mapping) else [wrapped]:
                yield from leaves(part)
    else:
        yield channel


def producer_id(channel: types.BaseChannel) -> str | None:
    """Id of the node whose outputs a channel selects; None when it selects those of any node."""
    return getattr(channel, "producer_component_id", None)


def producer(channel: types.BaseChannel) -> base_node.BaseNode | None:
    """The node whose output a channel is; None for a query of the metadata store."""
    return channel.producer_component if isinstance(channel, channel_lib.OutputChannel) else None


def strategy(node: base_node.BaseNode) -> tuple[type | None, Mapping[str, Any]]:
    """Strategy class and config of a Resolver; (None, {}) of any other node."""
    if not isinstance(node, resolver.Resolver):
        return None, {}
    properties = node.exec_properties
    return properties.get(resolver.RESOLVER_STRATEGY_CLASS), properties.get(resolver.RESOLVER_CONFIG) or {}


def asked_gates(node: resolver.Resolver) -> list[str]:
    """Ids of the gates that a Resolver asks for, by its config or by the producer of its channels."""
    _, config = strategy(node)
    ids = [config["gate_node_id"]] if config.get("gate_node_id") else []
    for channel in node.raw_inputs.values():
        ids += [
            leaf_id
            for leaf in leaves(channel)
            if leaf.type is AttributionReference and (leaf_id := producer_id(leaf)) is not None
        ]
    return ids


def check_reference_producer(gate_id: str, reference: types.BaseChannel) -> None:
    """Refuses a reference that is resolved from the outputs of another node than the gate that reads it.

    Raises:
      ValueError: naming the Resolver, the node that it asks for, and the gate.
    """
    for leaf in leaves(reference):
        node = producer(leaf)
        asked: Iterable[str]
        if isinstance(node, resolver.Resolver):
            asked, where = asked_gates(node), f"Resolver {node.id!r}"
        elif node is None and producer_id(leaf) is not None:
            asked, where = [str(producer_id(leaf))], "input 'reference'"
        else:
            continue
        for other in asked:
            if other != gate_id:
                raise ValueError(
                    f"The reference of a gate must come from the gate itself: {where} asks for node {other!r}, the "
                    f"gate's id is {gate_id!r}. Use one id in both; a producer that names no node is found empty for "
                    "ever, without an error."
                )
