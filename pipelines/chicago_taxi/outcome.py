"""What became of a pipeline run, read from the metadata store and from its artifacts."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import ml_metadata as mlmd
import tensorflow_model_analysis as tfma
from ml_metadata.proto import metadata_store_pb2

from tfx_explain import GATE_NODE_ID

SHOWN_SLICES = 3


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One run's verdicts.

    Attributes:
      run: the run's title.
      auc: of the candidate, as Evaluator measured it.
      evaluator_blessed: Evaluator's own verdict.
      gate_blessed: AttributionValidator's verdict, which includes Evaluator's.
      pushed: whether Pusher copied the model, and the copy is there.
      reasons: a sentence for each check that blocked.
      profits: for a refused model a sentence on each feature that was named: which slices profit from it most.
      report: path of the validator's report page.
      blocking_checks: names of the checks that blocked.
      model_id: artifact id of the candidate.
      baseline_model_id: artifact id of the model that Evaluator compared with; None where there was none.
    """

    run: str
    auc: float
    evaluator_blessed: bool
    gate_blessed: bool
    pushed: bool
    reasons: tuple[str, ...]
    profits: tuple[str, ...]
    report: str
    blocking_checks: frozenset[str]
    model_id: int
    baseline_model_id: int | None

    def verdict(self) -> dict[str, Any]:
        """The entry in verdicts.json."""
        names = ("run", "auc", "evaluator_blessed", "gate_blessed", "pushed", "reasons", "profits", "report")
        return {name: getattr(self, name) for name in names}


def read_outcome(run: str, metadata_path: str, pipeline_name: str) -> Outcome:
    """Reads what the newest run of a pipeline came to.

    Args:
      run: title to give it.
      metadata_path: SQLite file of the metadata store.
      pipeline_name: as in the pipeline's definition.

    Raises:
      LookupError: the run left no artifact where one is needed.
    """
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = metadata_path
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    outputs = _Outputs(mlmd.MetadataStore(config), pipeline_name)

    evaluator_blessing = outputs.one("Evaluator", "blessing")
    anomalies = outputs.one(GATE_NODE_ID, "anomalies")
    with open(os.path.join(anomalies.uri, "anomalies.json"), encoding="utf-8") as file:
        findings = json.load(file)
    with open(os.path.join(outputs.one("ExplainerGen", "attributions").uri, "summary.json"), encoding="utf-8") as file:
        summary = json.load(file)
    baseline = evaluator_blessing.custom_properties.get("baseline_model_id")
    return Outcome(
        run=run,
        auc=_candidate_auc(outputs.one("Evaluator", "evaluation").uri),
        evaluator_blessed=_is_set(evaluator_blessing, "blessed"),
        gate_blessed=_is_set(outputs.one(GATE_NODE_ID, "blessing"), "blessed"),
        pushed=_is_pushed(outputs.one("Pusher", "pushed_model")),
        reasons=tuple(findings["blocking"]),
        profits=tuple(profits(findings, summary)),
        report=os.path.join(anomalies.uri, "report.html"),
        blocking_checks=frozenset(
            result["check"]
            for result in findings["results"]
            if result["severity"] == "block" and result["verdict"] != "PASS"
        ),
        model_id=outputs.one("Trainer", "model").id,
        baseline_model_id=None if baseline is None else baseline.int_value,
    )


def profits(findings: dict[str, Any], summary: dict[str, Any]) -> list[str]:
    """For each feature that a finding names, the slices whose predictions would lose most without it.

    Args:
      findings: anomalies.json.
      summary: summary.json of the attributions.
    """
    blocking = [r for r in findings["results"] if r["severity"] == "block" and r["verdict"] != "PASS"]
    named = dict.fromkeys(r["feature"] for r in blocking if r["feature"])
    out = []
    for feature in named:
        slices = [s for s in summary.get("profiting_slices", ()) if s["feature"] == feature]
        if slices:
            told = ", ".join(f"{s['slice']} ({s['drop']['value']:.2f})" for s in slices[:SHOWN_SLICES])
            out.append(
                f"Without {feature!r} the loss would be larger by {slices[0]['overall_drop']['value']:.2f} over all "
                f"rows, most in: {told}."
            )
    return out


class _Outputs:
    """Output artifacts of a pipeline's newest run, by node and key."""

    def __init__(self, store: mlmd.MetadataStore, pipeline_name: str):
        pipeline = store.get_context_by_type_and_name("pipeline", pipeline_name)
        if pipeline is None:
            raise LookupError(f"the metadata store must hold the pipeline. Received: pipeline_name={pipeline_name!r}")
        runs = [c for c in store.get_children_contexts_by_context(pipeline.id) if c.type == "pipeline_run"]
        newest = max(runs, key=lambda context: context.id)
        self._store = store
        self._executions = {}
        for execution in store.get_executions_by_context(newest.id):
            nodes = [c.name for c in store.get_contexts_by_execution(execution.id) if c.type == "node"]
            for name in nodes:
                self._executions[name.removeprefix(f"{pipeline_name}.")] = execution

    def one(self, node: str, key: str) -> metadata_store_pb2.Artifact:
        """The only artifact of an output, executed or taken from the cache."""
        if node not in self._executions:
            raise LookupError(f"the run must have executed {node}. It executed: {sorted(self._executions)}")
        events = self._store.get_events_by_execution_ids([self._executions[node].id])
        ids = [
            event.artifact_id
            for event in events
            if event.type == metadata_store_pb2.Event.OUTPUT and event.path.steps[0].key == key
        ]
        if len(ids) != 1:
            raise LookupError(f"{node} must have written one {key!r} artifact. It wrote: {len(ids)}")
        return self._store.get_artifacts_by_id(ids)[0]


def _candidate_auc(evaluation_uri: str) -> float:
    """AUC on all rows. Evaluator names its models only where it compared two."""
    config = tfma.load_eval_result(evaluation_uri).config
    names = [spec.name for spec in config.model_specs if not spec.is_baseline]
    result = tfma.load_eval_result(evaluation_uri, model_name=names[0])
    return result.get_metrics_for_slice()["auc"]["doubleValue"]


def _is_set(artifact: metadata_store_pb2.Artifact, name: str) -> bool:
    """Whether a custom property is 1; an unset one is not."""
    return name in artifact.custom_properties and artifact.custom_properties[name].int_value == 1


def _is_pushed(artifact: metadata_store_pb2.Artifact) -> bool:
    """Whether Pusher says that it pushed; raises when what it names is not there."""
    if not _is_set(artifact, "pushed"):
        return False
    destination = artifact.custom_properties["pushed_destination"].string_value
    if not os.path.exists(os.path.join(destination, "saved_model.pb")):
        raise LookupError(f"Pusher says that it pushed a model, but none is there: {destination}")
    return True
