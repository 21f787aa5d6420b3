"""Puts the attribution gate into a list of components, and finds what would get around it."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_node
from tfx.dsl.components.common import resolver
from tfx.dsl.context_managers import dsl_context_registry
from tfx.dsl.experimental.conditionals import conditional
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.dsl.placeholder import placeholder
from tfx.orchestration import data_types, pipeline
from tfx.types import channel as channel_lib
from tfx.types import channel_utils, standard_artifacts

from tfx_explain.artifacts.types import AttributionReference
from tfx_explain.attribution_validator import wiring
from tfx_explain.attribution_validator.component import AttributionValidator
from tfx_explain.attribution_validator.strategies import LatestGatedModel, LatestReference
from tfx_explain.config import ExplainConfig, ValidationConfig, unique_slices
from tfx_explain.explainer_gen.component import ExplainerGen
from tfx_explain.names import GATE_NODE_ID

REFERENCE_NODE_ID = "latest_attribution_reference"
"""Id of the resolver that `add_attribution_gate` inserts."""


def add_attribution_gate(
    components: Iterable[base_node.BaseNode],
    *,
    explain_config: ExplainConfig | dict[str, Any] | str | os.PathLike[str] | None = None,
    validation_config: ValidationConfig | dict[str, Any] | str | os.PathLike[str] | None = None,
    gate_node_id: str = GATE_NODE_ID,
    model: types.BaseChannel | None = None,
    examples: types.BaseChannel | None = None,
    schema: types.BaseChannel | None = None,
    statistics: types.BaseChannel | None = None,
    max_examples: int | data_types.RuntimeParameter | None = None,
    seed: int | data_types.RuntimeParameter | None = None,
    for_kubeflow: bool = False,
) -> list[base_node.BaseNode]:
    """Inserts the gate behind Evaluator, and makes every consumer of Evaluator's blessing read the gate's.

    !!! Example
        ``` python
        components = add_attribution_gate(
            [example_gen, ..., trainer, model_resolver, evaluator, pusher],
            statistics=statistics_gen.outputs["statistics"],
            explain_config="configs/explain.yaml",
            validation_config="configs/validation.yaml",
        )
        return tfx.dsl.Pipeline(..., components=components)
        ```

    To be called before the Pipeline is built. Inputs of the given nodes are edited in place. A Resolver with
    `LatestBlessedModelStrategy` is replaced, under its own id, by one with `LatestGatedModel`.

    Args:
      components: Nodes of the pipeline, one of them Evaluator (the node that makes a ModelBlessing from a model).
      explain_config: See `ExplainerGen`. The slices that the policy requires are added to its `required_slices`.
      validation_config: See `AttributionValidator`.
      gate_node_id: Id of the gate's node. Keep it: references and verdicts are found by it.
      model: None takes Evaluator's.
      examples: None takes Evaluator's.
      schema: None takes Evaluator's, if it has one.
      statistics: See `ExplainerGen`.
      max_examples: See `ExplainerGen`.
      seed: See `ExplainerGen`.
      for_kubeflow: Compile to Kubeflow, which knows no resolver of ours: no reference is resolved.

    Returns:
      The nodes, with the resolver of the reference, ExplainerGen and AttributionValidator behind Evaluator. Their order
      does not matter: Pipeline sorts them by what they read.

    Raises:
      ConfigError: A config cannot be read or used.
      ValueError: There is no Evaluator or several, there is a gate already, or something would get around the gate
        (see `check_gate`).
    """
    nodes = list(components)
    policy = ValidationConfig() if validation_config is None else ValidationConfig.load(validation_config)
    settings = ExplainConfig() if explain_config is None else ExplainConfig.load(explain_config)
    required = unique_slices((*settings.required_slices, *policy.required_slices))
    settings = settings.model_copy(update={"required_slices": required})
    evaluator = _evaluator(nodes)
    blessing = _blessing(evaluator)
    inputs = wiring.input_channels(evaluator)
    registry = dsl_context_registry.get()
    if evaluator in registry.all_nodes and registry.get_contexts(evaluator) != registry.active_contexts:
        raise ValueError(
            f"The gate must stand under the conditions of its Evaluator. Received: {evaluator.id!r} under others. "
            "Call add_attribution_gate inside the same Cond."
        )

    reference = None
    if not for_kubeflow:
        reference = resolver.Resolver(
            strategy_class=LatestReference,
            reference=channel_lib.Channel(type=AttributionReference, producer_component_id=gate_node_id),
        ).with_id(REFERENCE_NODE_ID)
    explainer_gen = ExplainerGen(
        model=model or inputs["model"],
        examples=examples or inputs["examples"],
        schema=schema or inputs.get("schema"),
        statistics=statistics,
        evaluation=evaluator.outputs.get("evaluation"),
        model_blessing=blessing,
        reference=reference.outputs["reference"] if reference else None,
        explain_config=settings,
        max_examples=max_examples,
        seed=seed,
    )
    gate = AttributionValidator(
        attributions=explainer_gen.outputs["attributions"],
        model=model or inputs["model"],
        model_blessing=blessing,
        reference=reference.outputs["reference"] if reference else None,
        validation_config=policy,
    ).with_id(gate_node_id)

    gated = nodes if for_kubeflow else _with_gated_resolvers(nodes, gate_node_id)
    for node in gated:
        _repoint(node, evaluator, gate.outputs["blessing"])
    behind = gated.index(evaluator) + 1
    gated[behind:behind] = [node for node in (reference, explainer_gen, gate) if node is not None]
    check_gate(gated, for_kubeflow=for_kubeflow)
    return gated


def check_gate(components: Iterable[base_node.BaseNode] | pipeline.Pipeline, *, for_kubeflow: bool = False) -> None:
    """Refuses a pipeline in which something would get around its gate, or would never find what the gate made.

    For pipelines wired by hand: call it on the nodes before the Pipeline is built, or on the Pipeline. Nodes that take
    a model by the gate's blessing are edited in place: they do not run without it. As they come from TFX, a run that
    leaves the gate out (a condition on it or on Evaluator, an input that a resolver does not find) comes to Pusher
    with no blessing at all, and Pusher pushes.

    Args:
      components: All nodes of the pipeline, or the Pipeline.
      for_kubeflow: Also refuse the resolvers that cannot stand in a gated pipeline on Kubeflow.

    Raises:
      ValueError: naming every node at fault: one that reads another ModelBlessing than the gate's, by an input, a
        condition or a placeholder; one that reads a union of blessings; one that pushes without any blessing, with one
        that may be absent, another model than the judged one, or in a pipeline of its own; a resolver that takes any
        blessing, or whose gate names no gate of the pipeline. Or the nodes belong to a Pipeline already, which alone
        knows their conditions.
    """
    if isinstance(components, pipeline.Pipeline):
        nodes, registry = components.components, components.dsl_context_registry
    else:
        nodes, registry = list(components), dsl_context_registry.get()
    strangers = [node for node in nodes if node not in registry.all_nodes]
    if strangers:
        raise ValueError(
            "check_gate must see the conditions (Cond) of every node. Received nodes of a Pipeline that is built "
            f"already: {_ids(strangers)}. Give it the Pipeline itself."
        )
    gates = {node.id for node in nodes if isinstance(node, AttributionValidator)}
    if not gates:
        raise ValueError(f"A gated pipeline must hold an AttributionValidator. Received: {_ids(nodes)}")
    problems = [problem for node in nodes for problem in _problems(node, nodes, gates, registry, for_kubeflow)]
    if problems:
        raise ValueError("\n".join(["The attribution gate would not hold:", *(f"  {problem}" for problem in problems)]))
    for node in nodes:
        for key in _verdicts(node, gates):
            wiring.never_empty(node, key)


def _ids(nodes: Iterable[base_node.BaseNode]) -> str:
    return ", ".join(node.id for node in nodes) or "no components"


def _blessing(node: base_node.BaseNode) -> types.BaseChannel | None:
    """The blessing that a node gives a model, if it gives one; resolvers and importers hand on those of others."""
    if "model" not in wiring.input_channels(node) or isinstance(node, resolver.Resolver):
        return None
    return next((c for c in node.outputs.values() if c.type is standard_artifacts.ModelBlessing), None)


def _evaluator(nodes: list[base_node.BaseNode]) -> base_node.BaseNode:
    gates = [node for node in nodes if isinstance(node, AttributionValidator)]
    if gates:
        raise ValueError(
            f"components must not hold a gate yet. Received: {_ids(gates)}. Leave it out, or wire the pipeline by hand "
            "and call check_gate."
        )
    found = [node for node in nodes if _blessing(node) is not None]
    if len(found) != 1:
        raise ValueError(
            "components must hold one Evaluator, the node that makes a ModelBlessing from a model. Received: "
            f"{_ids(found) if found else 'none among ' + _ids(nodes)}. With several, wire the pipeline by hand and "
            "call check_gate."
        )
    return found[0]


def _with_gated_resolvers(nodes: list[base_node.BaseNode], gate_node_id: str) -> list[base_node.BaseNode]:
    """The nodes, with a LatestGatedModel in place of each LatestBlessedModelStrategy."""
    replaced = {}
    for node in nodes:
        if wiring.strategy(node)[0] is LatestBlessedModelStrategy:
            channels = dict(node.raw_inputs)
            for key, channel in channels.items():
                if channel.type is standard_artifacts.ModelBlessing:
                    # Unfiltered: the strategy needs Evaluator's blessings too, and tells them apart itself.
                    channels[key] = channel_lib.Channel(type=channel.type)
            replaced[node] = resolver.Resolver(
                strategy_class=LatestGatedModel, config={"gate_node_id": gate_node_id}, **channels
            ).with_id(node.id)
    for node in nodes:
        for key, channel in wiring.input_channels(node).items():
            new = replaced.get(wiring.producer(channel))
            if new is not None:
                _set_input(node, key, new.outputs[channel.output_key])
    return [replaced.get(node, node) for node in nodes]


def _repoint(node: base_node.BaseNode, evaluator: base_node.BaseNode, blessing: types.BaseChannel) -> None:
    for key, channel in wiring.input_channels(node).items():
        if channel.type is standard_artifacts.ModelBlessing and wiring.producer(channel) is evaluator:
            _set_input(node, key, blessing)


def _set_input(node: base_node.BaseNode, key: str, channel: types.BaseChannel) -> None:
    """Gives a node another channel for one input; an optional one stays optional, save for what pushes by it."""
    inputs = wiring.input_channels(node)
    inputs[key] = channel.as_optional() if inputs[key].is_optional and not _pushes(node) else channel


def _verdicts(node: base_node.BaseNode, gates: set[str]) -> list[str]:
    """Inputs by which a node learns whether it may take a model."""
    inputs = wiring.input_channels(node)
    if isinstance(node, resolver.Resolver | pipeline.Pipeline) or not _models(inputs):
        return []
    return [
        key
        for key, channel in inputs.items()
        # Optional by its author's own word, where nothing is pushed: a node that knows what to do without.
        if channel.type is standard_artifacts.ModelBlessing and _is_gated(channel, gates) and not channel.is_optional
    ]


def _problems(
    node: base_node.BaseNode,
    nodes: list[base_node.BaseNode],
    gates: set[str],
    registry: dsl_context_registry.DslContextRegistry,
    for_kubeflow: bool,
) -> Iterator[str]:
    """What is wrong with one node, a sentence each."""
    if isinstance(node, pipeline.Pipeline):
        pushers = [inner.id for inner in _inner(node) if _pushes(inner)]
        if pushers:
            yield (
                f"{node.id!r}: it is a pipeline of its own, which holds {', '.join(map(repr, pushers))}: what pushes "
                "there is not compared with the gate. Put its nodes among those of the outer pipeline."
            )
    inputs = wiring.input_channels(node)
    for key, channel in inputs.items():
        if channel.type is standard_artifacts.ModelBlessing and isinstance(channel, channel_lib.UnionChannel):
            yield f"{node.id!r}: input {key!r} is a union of blessings. Give it the gate's alone."
            continue
        for leaf in wiring.leaves(channel):
            yield from _problems_of_channel(node, key, leaf, nodes, gates)

    conditions = list(_conditions(node, registry))
    for name, channel in [*conditions, *_placeholders(node)]:
        for leaf in wiring.leaves(channel):
            if leaf.type is standard_artifacts.ModelBlessing and not _is_gated(leaf, gates):
                yield (
                    f"{node.id!r}: {name} reads the blessing of {wiring.producer_id(leaf)!r}, and cannot be repointed. "
                    f"Write it on that of {_any(gates)}."
                )

    if _pushes(node):
        read = [channel.type for channel in [*inputs.values(), *(channel for _, channel in conditions)]]
        if standard_artifacts.ModelBlessing not in read:
            yield f"{node.id!r}: it pushes without a blessing. Set model_blessing to that of {_any(gates)}."
        for key, channel in inputs.items():
            if channel.type is standard_artifacts.ModelBlessing and channel.is_optional:
                yield (
                    f"{node.id!r}: input {key!r} is optional (as_optional), and what pushes does so where its blessing "
                    "is absent. Leave as_optional out."
                )
        judges = [j for _, c in conditions if isinstance(j := wiring.producer(c), AttributionValidator)]
        if judges and all(channel.type is not standard_artifacts.ModelBlessing for channel in inputs.values()):
            yield from _problems_of_models(node, _models(inputs), judges)

    if isinstance(node, resolver.Resolver):
        yield from _problems_of_resolver(node, nodes, gates, for_kubeflow)
    elif not isinstance(node, AttributionValidator | ExplainerGen):
        yield from _problems_of_pair(node, inputs, gates)


def _pushes(node: base_node.BaseNode) -> bool:
    pushed = any(channel.type is standard_artifacts.PushedModel for channel in node.outputs.values())
    return pushed and not isinstance(node, resolver.Resolver)


def _inner(outer: pipeline.Pipeline) -> Iterator[base_node.BaseNode]:
    """All nodes of a pipeline, those of pipelines within it among them."""
    for node in outer.components:
        if isinstance(node, pipeline.Pipeline):
            yield from _inner(node)
        else:
            yield node


def _problems_of_pair(
    node: base_node.BaseNode, inputs: Mapping[str, types.BaseChannel], gates: set[str]
) -> Iterator[str]:
    """A verdict is on one model: whoever reads both must read that model, and this run's verdict."""
    models = _models(inputs)
    for key, blessing in inputs.items():
        if blessing.type is not standard_artifacts.ModelBlessing or isinstance(blessing, channel_lib.UnionChannel):
            continue
        judge = wiring.producer(blessing)
        if isinstance(judge, AttributionValidator):
            yield from _problems_of_models(node, models, [judge])
        elif isinstance(judge, resolver.Resolver):
            together = all(wiring.producer(model) is judge for model in models)
            if wiring.strategy(judge)[0] is not LatestGatedModel or not together:
                yield (
                    f"{node.id!r}: input {key!r} is a blessing that {judge.id!r} resolves, maybe of an earlier run and "
                    f"of another model. Give it that of {_any(gates)}, or model and blessing of one LatestGatedModel."
                )
        elif judge is None and all(_is_gated(leaf, gates) for leaf in wiring.leaves(blessing)):
            yield (
                f"{node.id!r}: input {key!r} asks the metadata store for a blessing, and may find none, or that of an "
                f"earlier run; without any, Pusher pushes. Give it the output 'blessing' of {_any(gates)} itself."
            )


def _models(inputs: Mapping[str, types.BaseChannel]) -> list[types.BaseChannel]:
    """The models that a node takes; without any, Pusher takes the one that InfraValidator put into its blessing."""
    models = [channel for channel in inputs.values() if channel.type is standard_artifacts.Model]
    for channel in () if models else inputs.values():
        if channel.type is standard_artifacts.InfraBlessing:
            validator = wiring.producer(channel)
            tried = {} if validator is None else wiring.input_channels(validator)
            models.append(tried.get("model", channel))
    return models


def _problems_of_models(
    node: base_node.BaseNode, models: Iterable[types.BaseChannel], judges: list[AttributionValidator]
) -> Iterator[str]:
    """Models that a node takes on verdicts of which none is about them."""
    judged = [judge.spec.inputs["model"] for judge in judges]
    for model in models:
        known = wiring.producer(model) is not None
        if any(model is one or (known and _source(model) == _source(one)) for one in judged):
            continue
        taken = f"the model of {wiring.producer_id(model)!r}" if known else "a model that no node is sure to have made"
        about = " or ".join(repr(wiring.producer_id(one)) for one in judged)
        yield (
            f"{node.id!r}: it takes {taken} on a verdict about that of {about}. Give both the same model, as the "
            "output of its node."
        )


def _source(channel: types.BaseChannel) -> tuple[base_node.BaseNode | None, str | None]:
    return wiring.producer(channel), getattr(channel, "output_key", None)


def _problems_of_channel(
    node: base_node.BaseNode, key: str, channel: types.BaseChannel, nodes: list[base_node.BaseNode], gates: set[str]
) -> Iterator[str]:
    asked = wiring.producer_id(channel)
    if channel.type is AttributionReference and asked is not None and wiring.producer(channel) is None:
        if asked not in gates:
            yield f"{node.id!r}: input {key!r} asks for references of {asked!r}, no gate. The gate is {_any(gates)}."
        return
    if channel.type is not standard_artifacts.ModelBlessing or _is_gated(channel, gates):
        return
    if isinstance(wiring.producer(channel), resolver.Resolver):
        return
    judges = isinstance(node, AttributionValidator | ExplainerGen)
    if wiring.producer(channel) is not None and judges:
        return
    if asked is not None and asked not in {other.id for other in nodes}:
        yield f"{node.id!r}: input {key!r} asks for blessings of {asked!r}, no node. The gate is {_any(gates)}."
    elif asked is not None:
        yield f"{node.id!r}: input {key!r} reads the blessing of {asked!r}. Give it that of {_any(gates)}."
    elif wiring.strategy(node)[0] is not LatestGatedModel:
        yield (
            f"{node.id!r}: input {key!r} takes any blessing, also one of a model that the gate refused. Resolve it "
            "with LatestGatedModel."
        )


def _problems_of_resolver(
    node: resolver.Resolver, nodes: list[base_node.BaseNode], gates: set[str], for_kubeflow: bool
) -> Iterator[str]:
    strategy, config = wiring.strategy(node)
    named = config.get("gate_node_id", GATE_NODE_ID if strategy is LatestGatedModel else None)
    if strategy in (LatestGatedModel, LatestReference) and named is not None and named not in gates:
        yield f"{node.id!r}: gate_node_id={named!r} names no gate. The gate is {_any(gates)}."
    if not for_kubeflow:
        return
    if strategy in (LatestGatedModel, LatestReference):
        yield f"{node.id!r}: {strategy.__name__} cannot be compiled to Kubeflow. Leave the resolver out."
    elif strategy is LatestBlessedModelStrategy:
        fed = [
            other.id
            for other in nodes
            if any(wiring.producer(channel) is node for channel in wiring.input_channels(other).values())
        ]
        yield (
            f"{node.id!r}: on Kubeflow LatestBlessedModelStrategy takes any blessing, whatever the channel's producer. "
            f"It feeds {', '.join(fed) or 'no node'}. Leave the resolver out."
        )


def _conditions(
    node: base_node.BaseNode, registry: dsl_context_registry.DslContextRegistry
) -> Iterator[tuple[str, types.BaseChannel]]:
    for predicate in conditional.get_predicates(node, registry):
        for channel in channel_utils.get_dependent_channels(predicate):
            yield "its condition (Cond)", channel


def _placeholders(node: base_node.BaseNode) -> Iterator[tuple[str, types.BaseChannel]]:
    for name, value in node.exec_properties.items():
        if isinstance(value, placeholder.Placeholder):
            for channel in channel_utils.get_dependent_channels(value):
                yield f"parameter {name!r}", channel


def _is_gated(channel: types.BaseChannel, gates: set[str]) -> bool:
    node = wiring.producer(channel)
    if node is not None:
        return isinstance(node, AttributionValidator) and node.id in gates
    return isinstance(channel, channel_lib.Channel) and wiring.producer_id(channel) in gates


def _any(gates: set[str]) -> str:
    return " or ".join(repr(gate) for gate in sorted(gates))
