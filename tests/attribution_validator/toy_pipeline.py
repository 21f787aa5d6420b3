"""A pipeline of components that only write files: TFX's cache, resolvers and metadata at their real work, in seconds.

A toy model is one number, the largest share of any feature; the toy gate passes it up to the policy's `max_share`.
"""

import json
import pathlib
from collections.abc import Callable
from concurrent import futures

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx import types
from tfx.dsl.components.base import base_beam_executor, base_component, base_executor, base_node, executor_spec
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from tfx_explain.artifacts import properties
from tfx_explain.attribution_validator.component import AttributionValidator
from tfx_explain.explainer_gen.component import ExplainerGen

DURING_EXPLANATION: list[Callable[[], None]] = []
"""Called, once, by the next toy explainer: what happens in the store while a run is under way."""


def _write(artifact: types.Artifact, name: str, content: object) -> None:
    path = pathlib.Path(artifact.uri)
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_text(json.dumps(content))


def _read(artifact: types.Artifact, name: str):
    return json.loads((pathlib.Path(artifact.uri) / name).read_text())


def _bless(blessing: types.Artifact, model: types.Artifact, blessed: bool) -> None:
    _write(blessing, "BLESSED" if blessed else "NOT_BLESSED", "")
    blessing.set_int_custom_property(properties.BLESSED, int(blessed))
    blessing.set_string_custom_property(properties.CURRENT_MODEL, model.uri)
    blessing.set_int_custom_property(properties.CURRENT_MODEL_ID, model.id)


class TrainerExecutor(base_executor.BaseExecutor):
    def Do(self, input_dict, output_dict, exec_properties):
        _write(output_dict["model"][0], "share.json", exec_properties["share"])
        _write(output_dict["examples"][0], "examples.json", [])


class EvaluatorExecutor(base_executor.BaseExecutor):
    def Do(self, input_dict, output_dict, exec_properties):
        _bless(output_dict["blessing"][0], input_dict["model"][0], bool(exec_properties["blesses"]))
        _write(output_dict["evaluation"][0], "evaluation.json", {})


class PusherExecutor(base_executor.BaseExecutor):
    def Do(self, input_dict, output_dict, exec_properties):
        # As TFX's own: without a blessing it pushes.
        blessings = input_dict.get("model_blessing")
        pushed = blessings[0].get_int_custom_property(properties.BLESSED) if blessings else 1
        output_dict["pushed_model"][0].set_int_custom_property("pushed", pushed)


class ExplainerExecutor(base_beam_executor.BaseBeamExecutor):
    def Do(self, input_dict, output_dict, exec_properties):
        if DURING_EXPLANATION:
            # TFX keeps the labels of a run per thread.
            with futures.ThreadPoolExecutor(1) as pool:
                pool.submit(DURING_EXPLANATION.pop()).result()
        attributions = output_dict["attributions"][0]
        _write(attributions, "summary.json", _read(input_dict["model"][0], "share.json"))
        attributions.set_string_custom_property(properties.STATUS, properties.STATUS_EXPLAINED)


class ValidatorExecutor(base_executor.BaseExecutor):
    def Do(self, input_dict, output_dict, exec_properties):
        policy = json.loads(exec_properties["validation_config"])
        model, incoming = input_dict["model"][0], input_dict["model_blessing"][0]
        share = _read(input_dict["attributions"][0], "summary.json")
        passed = (
            share <= policy["checks"]["max_share"]["threshold"]
            and incoming.get_int_custom_property(properties.BLESSED) == 1
        )
        blessing, anomalies = output_dict["blessing"][0], output_dict["anomalies"][0]
        _bless(blessing, model, passed)
        _write(anomalies, "anomalies.json", [] if passed else ["max_share"])
        for artifact in (blessing, anomalies):
            artifact.set_string_custom_property(properties.GATE_ID, policy["gate_id"])

        held = (
            _read(max(input_dict["reference"], key=lambda a: a.id), "models.json")
            if input_dict.get("reference")
            else []
        )
        if passed == (model.uri in held):
            output_dict["new_reference"].clear()
        else:
            reference = output_dict["new_reference"][0]
            models = [*held, model.uri] if passed else [uri for uri in held if uri != model.uri]
            _write(reference, "models.json", models)
            reference.set_int_custom_property(properties.MODELS, len(models))
            reference.set_string_custom_property(properties.GATE_ID, policy["gate_id"])
            reference.set_string_custom_property(properties.NEWEST_MODEL, models[-1] if models else "")


class TrainerSpec(ComponentSpec):
    PARAMETERS = {"share": ExecutionParameter(type=float)}
    INPUTS = {}
    OUTPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
    }


class ToyTrainer(base_component.BaseComponent):
    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(TrainerExecutor)

    def __init__(self, share: float):
        super().__init__(
            TrainerSpec(
                share=share,
                model=types.Channel(type=standard_artifacts.Model),
                examples=types.Channel(type=standard_artifacts.Examples),
            )
        )


class EvaluatorSpec(ComponentSpec):
    PARAMETERS = {"blesses": ExecutionParameter(type=int)}
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
    }


class ToyEvaluator(base_component.BaseComponent):
    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(EvaluatorExecutor)

    def __init__(self, examples, model, baseline_model=None, blesses: bool = True):
        super().__init__(
            EvaluatorSpec(
                examples=examples,
                model=model,
                baseline_model=baseline_model,
                blesses=int(blesses),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
            )
        )


class PusherSpec(ComponentSpec):
    PARAMETERS = {}
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing, optional=True),
    }
    OUTPUTS = {"pushed_model": ChannelParameter(type=standard_artifacts.PushedModel)}


class ToyPusher(base_component.BaseComponent):
    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(PusherExecutor)

    def __init__(self, model, model_blessing=None):
        super().__init__(
            PusherSpec(
                model=model,
                model_blessing=model_blessing,
                pushed_model=types.Channel(type=standard_artifacts.PushedModel),
            )
        )


class ReaderSpec(ComponentSpec):
    PARAMETERS = {}
    INPUTS = PusherSpec.INPUTS
    OUTPUTS = {}


class ToyReader(base_component.BaseComponent):
    """Takes a model and its blessing, and pushes nothing."""

    SPEC_CLASS = ReaderSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(PusherExecutor)

    def __init__(self, model, model_blessing):
        super().__init__(ReaderSpec(model=model, model_blessing=model_blessing))


def ungated(share: float, blesses: bool = True) -> list[base_node.BaseNode]:
    """Trainer, baseline resolver, Evaluator and Pusher, wired as TFX's templates do."""
    trainer = ToyTrainer(share).with_id("Trainer")
    baseline = resolver.Resolver(
        strategy_class=LatestBlessedModelStrategy,
        model=types.Channel(type=standard_artifacts.Model),
        model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
    ).with_id("latest_blessed_model_resolver")
    evaluator = ToyEvaluator(
        trainer.outputs["examples"], trainer.outputs["model"], baseline.outputs["model"], blesses
    ).with_id("Evaluator")
    pusher = ToyPusher(trainer.outputs["model"], evaluator.outputs["blessing"]).with_id("Pusher")
    return [trainer, baseline, evaluator, pusher]


class Store:
    """One metadata store, the pipeline's runs in it, and what they left there."""

    def __init__(self, root: pathlib.Path):
        self._root = root

    def run(self, components: list[base_node.BaseNode], name: str = "toy") -> dict[str, str]:
        """Runs a pipeline, with toy executors in our components, and gives the state of each node's execution."""
        for node in components:
            if isinstance(node, ExplainerGen):
                node.executor_spec = executor_spec.BeamExecutorSpec(ExplainerExecutor)
            if isinstance(node, AttributionValidator):
                node.executor_spec = executor_spec.ExecutorClassSpec(ValidatorExecutor)
        config = metadata.sqlite_metadata_connection_config(str(self._root / "mlmd.db"))
        before = {e.id for e in self.mlmd().get_executions()} if (self._root / "mlmd.db").exists() else set()
        LocalDagRunner().run(
            pipeline.Pipeline(
                pipeline_name=name,
                pipeline_root=str(self._root / name),
                components=components,
                enable_cache=True,
                metadata_connection_config=config,
            )
        )
        store = self.mlmd()
        return {
            self.node(execution): pb.Execution.State.Name(execution.last_known_state)
            for execution in store.get_executions()
            if execution.id not in before
        }

    def mlmd(self) -> mlmd.MetadataStore:
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = str(self._root / "mlmd.db")
        return mlmd.MetadataStore(config)

    def node(self, execution: pb.Execution) -> str:
        """Id of the node that made an execution."""
        (context,) = [c for c in self.mlmd().get_contexts_by_execution(execution.id) if c.type == "node"]
        return context.name.partition(".")[2]

    def last(self, node_id: str) -> pb.Execution:
        """The newest execution of a node."""
        return max((e for e in self.mlmd().get_executions() if self.node(e) == node_id), key=lambda e: e.id)

    def artifacts(self, execution: pb.Execution, key: str, *events: "pb.Event.Type") -> list[pb.Artifact]:
        """What an execution read or wrote under a key, by MLMD's events."""
        store = self.mlmd()
        ids = [
            event.artifact_id
            for event in store.get_events_by_execution_ids([execution.id])
            if event.type in events and event.path.steps[0].key == key
        ]
        return store.get_artifacts_by_id(ids) if ids else []

    def read(self, node_id: str, key: str) -> list[pb.Artifact]:
        """What a node's newest execution read."""
        return self.artifacts(self.last(node_id), key, pb.Event.INPUT)

    def wrote(self, node_id: str, key: str) -> list[pb.Artifact]:
        """What a node's newest execution wrote, or handed on."""
        return self.artifacts(self.last(node_id), key, pb.Event.OUTPUT, pb.Event.INTERNAL_OUTPUT)

    def shares(self, models: list[pb.Artifact]) -> list[float]:
        """The toy models' numbers."""
        return [json.loads((pathlib.Path(model.uri) / "share.json").read_text()) for model in models]

    def newest_reference(self) -> list[float]:
        """The shares of the models in the newest reference."""
        references = self.mlmd().get_artifacts_by_type("tfx_explain.AttributionReference")
        if not references:
            return []
        newest = max(references, key=lambda artifact: artifact.id)
        models = json.loads((pathlib.Path(newest.uri) / "models.json").read_text())
        return [json.loads((pathlib.Path(uri) / "share.json").read_text()) for uri in models]
