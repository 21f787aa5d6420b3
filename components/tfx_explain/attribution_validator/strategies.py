"""Resolver strategies: the gate's newest reference, and the newest model that stands passed.

For orchestrators that resolve through ML Metadata. TFX turns an error of a strategy into a FAILED execution and runs
on without the artifact, so the errors here are the last line: `check_gate` refuses the same faults at definition.
"""

from __future__ import annotations

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.components.common import resolver
from tfx.types import standard_artifacts

from tfx_explain.artifacts import properties
from tfx_explain.artifacts.types import AttributionReference
from tfx_explain.attribution_reference.store import WINDOW
from tfx_explain.names import GATE_NODE_ID

_PIPELINE_CONTEXT = "pipeline"
_NODE_CONTEXT = "node"

_Artifacts = dict[str, list[types.Artifact]]


class LatestReference(resolver.ResolverStrategy):
    """The newest AttributionReferences, or an empty list when there is none yet.

    A few rather than one: runs beside each other publish without each other's verdicts, and readers put them together
    (`attribution_reference.store.read_references`).

    !!! Example
        ``` python
        reference = Resolver(
            strategy_class=LatestReference,
            reference=Channel(type=AttributionReference, producer_component_id=GATE_NODE_ID),
        ).with_id("latest_attribution_reference")
        ```

    The channel's producer says whose reference. Instead, the config may name it (`config={"gate_node_id": ...}`, the
    channel without a producer): then a name that made no reference, in a pipeline where others did, is an error.
    """

    def __init__(self, gate_node_id: str | None = None):
        """Initializes the strategy.

        Args:
          gate_node_id: Id of the gate whose references count; None takes what the channel selects.
        """
        self._gate_node_id = gate_node_id

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: _Artifacts) -> _Artifacts:
        """Resolves each channel to its newest artifacts by id, oldest first.

        Raises:
          ValueError: There are references in this pipeline, but none of the node that the config names.
          TypeError: A channel is not of type AttributionReference.
        """
        return {key: self._newest(store, references) for key, references in input_dict.items()}

    def _newest(self, store: mlmd.MetadataStore, references: list[types.Artifact]) -> list[types.Artifact]:
        for reference in references:
            if not isinstance(reference, AttributionReference):
                raise TypeError(f"LatestReference takes AttributionReference. Received: {reference.type_name}")
        if references and self._gate_node_id is not None:
            made = _outputs_of_node(store, references, self._gate_node_id)
            if not made:
                raise ValueError(
                    f"gate_node_id must name a node that makes references. Received: {self._gate_node_id!r}, but the "
                    f"references of this pipeline come from {_producer_names(store, references)}. Correct the id; for "
                    "the first run of a new gate, filter the channel by producer_component_id instead."
                )
            references = [reference for reference in references if reference.id in made]
        return sorted(references, key=lambda artifact: artifact.id)[-WINDOW:]


class LatestGatedModel(resolver.ResolverStrategy):
    """The newest model that stands passed by the gate: what LatestBlessedModelStrategy is to Evaluator.

    !!! Example
        ``` python
        baseline = Resolver(
            strategy_class=LatestGatedModel,
            config={"gate_node_id": GATE_NODE_ID},
            model=Channel(type=Model),
            model_blessing=Channel(type=ModelBlessing),
        ).with_id("latest_gated_model")
        evaluator = Evaluator(..., baseline_model=baseline.outputs["model"])
        ```

    Of the gate's verdicts on one model the newest counts: a model that was refused later, under a stricter policy, is
    no baseline any more. While no model stands passed, the newest model that Evaluator blessed before the gate's first
    verdict takes its place, unless the gate refused it: adopting the gate does not switch change thresholds off. So
    the channel of blessings must not be filtered by a producer. Both lists are empty when there is no such model.
    """

    def __init__(self, gate_node_id: str = GATE_NODE_ID):
        """Initializes the strategy.

        Args:
          gate_node_id: Id of the gate's node; its blessings are verdicts, all others are Evaluator's.
        """
        self._gate_node_id = gate_node_id

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: _Artifacts) -> _Artifacts:
        """Resolves to one model and the blessing it owes it to, or to empty lists.

        Raises:
          ValueError: The channels are not one of models and one of blessings; or gates have given verdicts in this
            pipeline, but none of them is the node that the config names.
        """
        nothing: _Artifacts = {key: [] for key in input_dict}
        if len(input_dict) != 2:
            raise ValueError(
                f"LatestGatedModel takes a channel of models and one of blessings. Received: {[*input_dict]}"
            )
        if not all(input_dict.values()):
            return nothing
        keys = {type(artifacts[0]): key for key, artifacts in input_dict.items()}
        try:
            models_key, blessings_key = keys[standard_artifacts.Model], keys[standard_artifacts.ModelBlessing]
        except KeyError as error:
            received = {key: artifacts[0].type_name for key, artifacts in input_dict.items()}
            raise ValueError(f"LatestGatedModel takes Model and ModelBlessing. Received: {received}") from error

        found = self._resolve(store, input_dict[models_key], input_dict[blessings_key])
        if found is None:
            return nothing
        model, blessing = found
        return {models_key: [model], blessings_key: [blessing]}

    def _resolve(
        self, store: mlmd.MetadataStore, models: list[types.Artifact], blessings: list[types.Artifact]
    ) -> tuple[types.Artifact, types.Artifact] | None:
        verdict_executions = _outputs_of_node(store, blessings, self._gate_node_id)
        of_gates = {b.id for b in blessings if b.id in verdict_executions or b.has_custom_property(properties.GATE_ID)}
        if of_gates and not verdict_executions:
            makers = _producer_names(store, [b for b in blessings if b.id in of_gates])
            raise ValueError(
                f"gate_node_id must name the gate's node. Received: {self._gate_node_id!r}, but the verdicts of this "
                f"pipeline come from {makers}. Correct the id in the resolver's config."
            )
        newest_first = sorted(models, key=lambda model: model.id, reverse=True)

        # By execution, not by id: a policy that is taken back speaks through a cached, older blessing.
        verdicts = _by_model(
            sorted((b for b in blessings if b.id in verdict_executions), key=lambda b: verdict_executions[b.id])
        )
        for model in newest_first:
            verdict = _on(model, verdicts)
            if verdict is not None and _blesses(verdict, model):
                return model, verdict

        first_verdict = min(verdict_executions, default=None)
        before_gate = _by_model(
            sorted(
                (b for b in blessings if b.id not in of_gates and (first_verdict is None or b.id < first_verdict)),
                key=lambda b: b.id,
            )
        )
        for model in newest_first:
            blessing = _on(model, before_gate)
            if _on(model, verdicts) is None and blessing is not None and _blesses(blessing, model):
                return model, blessing
        return None


def _by_model(blessings: list[types.Artifact]) -> dict[int | str, types.Artifact]:
    """The last blessing of each model, by the model's id as the blessing gives it."""
    result = {}
    for blessing in blessings:
        model_id = blessing.get_custom_property(properties.CURRENT_MODEL_ID)
        # An int in a local store, a double where metadata holds no ints, or a resource name.
        if isinstance(model_id, float) and model_id.is_integer():
            model_id = int(model_id)
        if isinstance(model_id, int | str):
            result[model_id] = blessing
    return result


def _on(model: types.Artifact, blessings: dict[int | str, types.Artifact]) -> types.Artifact | None:
    return blessings.get(model.id) or blessings.get(model.name)


def _blesses(blessing: types.Artifact, model: types.Artifact) -> bool:
    return (
        blessing.get_custom_property(properties.BLESSED) == 1
        and blessing.get_custom_property(properties.CURRENT_MODEL) == model.uri
    )


def _outputs_of_node(store: mlmd.MetadataStore, artifacts: list[types.Artifact], node_id: str) -> dict[int, int]:
    """Of artifacts of one pipeline those that a node made: artifact id -> its newest execution of that node.

    Goes by the contexts of executions, which every orchestrator that runs from TFX's intermediate representation
    records; the artifacts themselves do not name their producer. A cached execution counts as one.
    """
    events = _output_events(store, artifacts)
    if not events:
        return {}
    executions: set[int] = set()
    for pipeline in _contexts(store, events[0].execution_id, _PIPELINE_CONTEXT):
        node = store.get_context_by_type_and_name(_NODE_CONTEXT, f"{pipeline}.{node_id}")
        if node is not None:
            executions.update(execution.id for execution in store.get_executions_by_context(node.id))
    result: dict[int, int] = {}
    for event in events:
        if event.execution_id in executions:
            result[event.artifact_id] = max(event.execution_id, result.get(event.artifact_id, 0))
    return result


def _producer_names(store: mlmd.MetadataStore, artifacts: list[types.Artifact]) -> str:
    """Ids of the nodes that made artifacts, for a message."""
    names: set[str] = set()
    for execution_id in {event.execution_id for event in _output_events(store, artifacts)}:
        pipelines = _contexts(store, execution_id, _PIPELINE_CONTEXT)
        for name in _contexts(store, execution_id, _NODE_CONTEXT):
            names.update(name.removeprefix(f"{p}.") for p in pipelines if name.startswith(f"{p}."))
    return " and ".join(repr(name) for name in sorted(names))


def _output_events(store: mlmd.MetadataStore, artifacts: list[types.Artifact]) -> list[metadata_store_pb2.Event]:
    # OUTPUT alone: a Resolver hands on what others made as INTERNAL_OUTPUT.
    events = store.get_events_by_artifact_ids([artifact.id for artifact in artifacts])
    return [event for event in events if event.type == metadata_store_pb2.Event.OUTPUT]


def _contexts(store: mlmd.MetadataStore, execution_id: int, type_name: str) -> list[str]:
    return [c.name for c in store.get_contexts_by_execution(execution_id) if c.type == type_name]
