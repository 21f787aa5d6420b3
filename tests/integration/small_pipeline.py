"""A pipeline without training: imported models and examples, an Evaluator that only blesses, and the real rest."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb
from tests.integration.small_task import Task
from tfx import types
from tfx.components.pusher.component import Pusher
from tfx.dsl.components.base import base_component, base_executor, base_node, executor_spec
from tfx.dsl.components.common.importer import Importer
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import io_utils

from tfx_explain import (
    GATE_NODE_ID,
    AttributionReference,
    AttributionValidator,
    ExplainerGen,
    LatestGatedModel,
    LatestReference,
    check_gate,
)
from tfx_explain.artifacts import properties
from tfx_explain.artifacts.manifest import read_manifest
from tfx_explain.attribution_reference.store import read_references
from tfx_explain.explainer_gen import executor as explainer_executor

BASELINE_NODE_ID = "latest_blessed_model_resolver"
RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
PIPELINE_NAME = "small"


class EvaluatorExecutor(base_executor.BaseExecutor):
    """Writes the blessing that TFX's Evaluator writes, with the verdict that it is told."""

    def Do(self, input_dict, output_dict, exec_properties):
        (model,), (blessing,) = input_dict["model"], output_dict["blessing"]
        blessed = exec_properties["blesses"]
        blessing.set_string_custom_property("current_model", model.uri)
        blessing.set_int_custom_property("current_model_id", model.id)
        for baseline in input_dict.get("baseline_model") or []:
            blessing.set_string_custom_property("baseline_model", baseline.uri)
            blessing.set_int_custom_property("baseline_model_id", baseline.id)
        io_utils.write_string_file(f"{blessing.uri}/{'BLESSED' if blessed else 'NOT_BLESSED'}", "")
        blessing.set_int_custom_property("blessed", blessed)


class EvaluatorSpec(ComponentSpec):
    PARAMETERS = {"blesses": ExecutionParameter(type=int)}
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {"blessing": ChannelParameter(type=standard_artifacts.ModelBlessing)}


class ToyEvaluator(base_component.BaseComponent):
    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(EvaluatorExecutor)

    def __init__(self, examples, model, baseline_model, blesses: bool):
        super().__init__(
            EvaluatorSpec(
                examples=examples,
                model=model,
                baseline_model=baseline_model,
                blesses=int(blesses),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )


class InterruptedExplainer(explainer_executor.Executor):
    """ExplainerGen's executor; before it begins, its inputs being resolved, something else happens in the store."""

    meanwhile: list[Callable[[], Any]] = []

    def Do(self, input_dict, output_dict, exec_properties):
        # TFX keeps the labels of a run per thread.
        with futures.ThreadPoolExecutor(1) as pool:
            pool.submit(self.meanwhile.pop()).result()
        super().Do(input_dict, output_dict, exec_properties)


def importers(task: Task, model: str) -> tuple[Importer, Importer]:
    """The model and the examples, in place of ExampleGen and Trainer."""
    return (
        Importer(source_uri=task.model(model), artifact_type=standard_artifacts.Model).with_id("Trainer"),
        Importer(
            source_uri=task.examples,
            artifact_type=standard_artifacts.Examples,
            properties={"split_names": json.dumps(["train", "eval"])},
            custom_properties={"payload_format": "FORMAT_TF_EXAMPLE"},
        ).with_id("ExampleGen"),
    )


def pusher(model: Importer, blessing: types.BaseChannel, serving: Path) -> Pusher:
    destination = pusher_pb2.PushDestination.Filesystem(base_directory=str(serving))
    return Pusher(
        model=model.outputs["result"],
        model_blessing=blessing,
        push_destination=pusher_pb2.PushDestination(filesystem=destination),
    )


def ungated(task: Task, model: str, serving: Path, blesses: bool = True) -> list[base_node.BaseNode]:
    """The nodes as TFX's templates wire them."""
    trainer, example_gen = importers(task, model)
    baseline = Resolver(
        strategy_class=LatestBlessedModelStrategy,
        model=types.Channel(type=standard_artifacts.Model),
        model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
    ).with_id(BASELINE_NODE_ID)
    evaluator = ToyEvaluator(
        example_gen.outputs["result"], trainer.outputs["result"], baseline.outputs["model"], blesses
    ).with_id("Evaluator")
    return [trainer, example_gen, baseline, evaluator, pusher(trainer, evaluator.outputs["blessing"], serving)]


def gated(
    task: Task,
    model: str,
    serving: Path,
    policy: dict[str, Any],
    explain: dict[str, Any] | None = None,
    blesses: bool = True,
) -> list[base_node.BaseNode]:
    """The nodes with the gate, wired by hand."""
    trainer, example_gen = importers(task, model)
    baseline = Resolver(
        strategy_class=LatestGatedModel,
        model=types.Channel(type=standard_artifacts.Model),
        model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
    ).with_id(BASELINE_NODE_ID)
    evaluator = ToyEvaluator(
        example_gen.outputs["result"], trainer.outputs["result"], baseline.outputs["model"], blesses
    ).with_id("Evaluator")
    reference = Resolver(
        strategy_class=LatestReference,
        reference=types.Channel(type=AttributionReference, producer_component_id=GATE_NODE_ID),
    ).with_id("latest_attribution_reference")
    explainer_gen = ExplainerGen(
        model=trainer.outputs["result"],
        examples=example_gen.outputs["result"],
        model_blessing=evaluator.outputs["blessing"],
        reference=reference.outputs["reference"],
        explain_config=explain,
    )
    gate = AttributionValidator(
        attributions=explainer_gen.outputs["attributions"],
        model=trainer.outputs["result"],
        model_blessing=evaluator.outputs["blessing"],
        reference=reference.outputs["reference"],
        validation_config=policy,
    )
    nodes = [trainer, example_gen, baseline, evaluator, reference, explainer_gen, gate]
    nodes.append(pusher(trainer, gate.outputs["blessing"], serving))
    check_gate(nodes)
    return nodes


def interrupt(nodes: Sequence[base_node.BaseNode], meanwhile: Callable[[], Any]) -> None:
    """Lets something else happen when ExplainerGen begins."""
    (explainer_gen,) = (node for node in nodes if isinstance(node, ExplainerGen))
    explainer_gen.executor_spec = executor_spec.BeamExecutorSpec(InterruptedExplainer)
    InterruptedExplainer.meanwhile.append(meanwhile)


class Store:
    """One metadata store, and what is in it."""

    def __init__(self, root: Path):
        self.root = root
        self.serving = root / "serving"
        self._taken: set[int] = set()

    def run(self, nodes: Sequence[base_node.BaseNode], beam_pipeline_args: Sequence[str] = (RUNNER,)) -> Run:
        """Runs a pipeline of these nodes."""
        before = self._runs() if self._path.exists() else set()
        LocalDagRunner().run(
            pipeline.Pipeline(
                pipeline_name=PIPELINE_NAME,
                pipeline_root=str(self.root / "artifacts"),
                components=nodes,
                enable_cache=True,
                metadata_connection_config=metadata.sqlite_metadata_connection_config(str(self._path)),
                beam_pipeline_args=list(beam_pipeline_args),
            )
        )
        # A run that happened meanwhile is new as well, but has been taken already.
        (context,) = self._runs() - before - self._taken
        self._taken.add(context)
        return Run(self, {self.node(e): e for e in self.mlmd().get_executions_by_context(context)})

    def _runs(self) -> set[int]:
        """Ids of the contexts of all runs."""
        return {context.id for context in self.mlmd().get_contexts_by_type("pipeline_run")}

    @property
    def _path(self) -> Path:
        return self.root / "metadata.db"

    def mlmd(self) -> mlmd.MetadataStore:
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = str(self._path)
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READONLY
        return mlmd.MetadataStore(config)

    def node(self, execution: pb.Execution) -> str:
        """Id of the node that made an execution."""
        (context,) = (c for c in self.mlmd().get_contexts_by_execution(execution.id) if c.type == "node")
        return context.name.removeprefix(f"{PIPELINE_NAME}.")

    def ancestors(self, artifact: pb.Artifact) -> set[int]:
        """Ids of all artifacts that an artifact comes from, by the events of the executions between them."""
        store, found, waiting = self.mlmd(), set(), {artifact.id}
        while waiting:
            made_by = {e.execution_id for e in _events(store.get_events_by_artifact_ids(waiting), pb.Event.OUTPUT)}
            read = {e.artifact_id for e in _events(store.get_events_by_execution_ids(made_by), pb.Event.INPUT)}
            waiting = read - found
            found |= waiting
        return found


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run left in the metadata store.

    Attributes:
      store: where it is.
      executions: the execution of each node, by the node's id.
    """

    store: Store
    executions: Mapping[str, pb.Execution]

    @property
    def id(self) -> str:
        """As the orchestrator calls it."""
        contexts = self.store.mlmd().get_contexts_by_execution(self.executions[GATE_NODE_ID].id)
        (name,) = (context.name for context in contexts if context.type == "pipeline_run")
        return name

    def state(self, node: str) -> str:
        return pb.Execution.State.Name(self.executions[node].last_known_state)

    @property
    def states(self) -> dict[str, str]:
        """State of each execution but those of importers and resolvers."""
        return {n: self.state(n) for n in ("Evaluator", "ExplainerGen", GATE_NODE_ID, "Pusher") if n in self.executions}

    def read(self, node: str, key: str) -> list[pb.Artifact]:
        return self._artifacts(node, key, pb.Event.INPUT)

    def wrote(self, node: str, key: str) -> list[pb.Artifact]:
        return self._artifacts(node, key, pb.Event.OUTPUT)

    def _artifacts(self, node: str, key: str, kind: pb.Event.Type) -> list[pb.Artifact]:
        store = self.store.mlmd()
        events = _events(store.get_events_by_execution_ids([self.executions[node].id]), kind)
        ids = [event.artifact_id for event in events if event.path.steps[0].key == key]
        return store.get_artifacts_by_id(ids) if ids else []

    @property
    def passed(self) -> bool:
        """The gate's verdict, as it stands in the blessing and in the anomalies."""
        (blessing,), (anomalies,) = self.wrote(GATE_NODE_ID, "blessing"), self.wrote(GATE_NODE_ID, "anomalies")
        verdicts = {a.custom_properties[properties.BLESSED].int_value for a in (blessing, anomalies)}
        (verdict,) = verdicts
        return verdict == 1

    @property
    def pushed(self) -> bool:
        """Whether Pusher says that it pushed; then the model is there."""
        (artifact,) = self.wrote("Pusher", "pushed_model")
        if artifact.custom_properties["pushed"].int_value != 1:
            return False
        destination = Path(artifact.custom_properties["pushed_destination"].string_value)
        if not (destination / "saved_model.pb").exists():
            raise FileNotFoundError(destination)
        return True

    @property
    def baseline(self) -> list[str]:
        """Names of the models that Evaluator was given to compare with."""
        return [Path(model.uri).name for model in self.read("Evaluator", "baseline_model")]

    @property
    def reference(self) -> list[str] | None:
        """Names of the models in the reference that the gate read, oldest first; None where there was none."""
        return _models(self.read(GATE_NODE_ID, "reference"))

    @property
    def new_reference(self) -> list[str] | None:
        """Names of the models in the reference that the gate published; None where it published none."""
        return _models(self.wrote(GATE_NODE_ID, "new_reference"))

    @property
    def anomalies(self) -> dict[str, Any]:
        (artifact,) = self.wrote(GATE_NODE_ID, "anomalies")
        return read_manifest(artifact.uri, "AttributionAnomalies").read_json("anomalies.json")

    @property
    def verdicts(self) -> dict[str, str]:
        """Verdict of every check that was taken."""
        return {result["check"]: result["verdict"] for result in self.anomalies["results"]}

    @property
    def blocked_by(self) -> set[str]:
        """Checks that refused the model."""
        results = self.anomalies["results"]
        return {r["check"] for r in results if r["severity"] == "block" and r["verdict"] != "PASS"}


def _events(events: Sequence[pb.Event], kind: pb.Event.Type) -> list[pb.Event]:
    return [event for event in events if event.type == kind]


def _models(references: list[pb.Artifact]) -> list[str] | None:
    if not references:
        return None
    known = read_references([artifact.uri for artifact in references])
    return [Path(model.model_uri).name for model in known.models]
