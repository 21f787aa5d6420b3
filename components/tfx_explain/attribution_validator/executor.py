"""AttributionValidator executor."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import os
import sys
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from tfx_explain.artifacts import properties
from tfx_explain.artifacts.fingerprint import model_fingerprint
from tfx_explain.artifacts.manifest import ArtifactError
from tfx_explain.attribution_reference.store import PASSED, PassedModel, Reference, write_reference
from tfx_explain.attribution_validator.anomalies import REPORT_FILE, write_anomalies
from tfx_explain.attribution_validator.checks.base import Result
from tfx_explain.attribution_validator.evidence import Judged, changed_reference, judge_artifacts
from tfx_explain.attribution_validator.origin import origin_of
from tfx_explain.attribution_validator.verdict import EVALUATOR, GateVerdict, refusal
from tfx_explain.config import ValidationConfig
from tfx_explain.report.origin import Origin

_INT64_MAX = 1 << 63
# Loaded in a task of Kubeflow Pipelines, where an output without an artifact is an error; an unwritten one is none.
_KUBEFLOW = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
_Artifacts = dict[str, list[types.Artifact]]


class Executor(base_executor.BaseExecutor):
    """Judges attributions, and gives the one blessing that Pusher reads."""

    def Do(self, input_dict: _Artifacts, output_dict: _Artifacts, exec_properties: dict[str, Any]) -> None:
        """Unpacks, judges, publishes.

        Args:
          input_dict: `attributions`, `model`, `model_blessing`; optionally `reference`.
          output_dict: `blessing`, `anomalies`, `new_reference`; the last is left without an artifact where the
            reference does not change.
          exec_properties: `validation_config` (JSON).
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        config = ValidationConfig.from_json(exec_properties["validation_config"])
        attributions = artifact_utils.get_single_instance(input_dict["attributions"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        incoming = artifact_utils.get_single_instance(input_dict["model_blessing"])
        references = sorted(input_dict.get("reference") or [], key=lambda artifact: artifact.id)

        fingerprint, prior = _fingerprint(model)
        prior += blessing_results(incoming, model)
        judged = judge_artifacts(attributions.uri, [r.uri for r in references], config, today(), tuple(prior))
        judged = _of_this_model(judged, fingerprint, model)
        origin = origin_of(self._context, model, fingerprint, references)

        anomalies = artifact_utils.get_single_instance(output_dict["anomalies"])
        _publish_anomalies(anomalies, judged, config, str(model.id), origin)
        _publish_reference(output_dict["new_reference"], judged, config, model, origin)
        # Last: a blessing exists only once everything that explains it does.
        _publish_blessing(artifact_utils.get_single_instance(output_dict["blessing"]), incoming, model, judged, config)
        _log(judged, model.uri, os.path.join(anomalies.uri, REPORT_FILE))


def blessing_results(blessing: types.Artifact, model: types.Artifact) -> list[Result]:
    """Whether Evaluator blessed a model, and this one."""
    uri = blessing.get_string_custom_property(properties.CURRENT_MODEL)
    given = blessing.get_custom_property(properties.CURRENT_MODEL_ID)
    if not uri or given is None:
        sentence = (
            "The incoming blessing names no model: Evaluator gave no verdict, as it does when no threshold is "
            "configured. Add a value threshold to its EvalConfig."
        )
        return [refusal(EVALUATOR, sentence)]
    if uri != model.uri or not _same_id(given, model.id):
        sentence = (
            f"The incoming blessing is for the model {uri} (id {given}), the model to push is {model.uri} (id "
            f"{model.id}): wire Evaluator and the gate to the same model."
        )
        return [refusal(EVALUATOR, sentence)]
    if not _same_id(blessing.get_custom_property(properties.BLESSED), 1):
        return [refusal(EVALUATOR, "Evaluator did not bless this model: see its own report.", "FAIL")]
    return [Result(EVALUATOR, "PASS", "block", "Evaluator blessed this model.")]


def _same_id(given: Any, wanted: int) -> bool:
    """Whether an id in a blessing is this one.

    Kubeflow's metadata gives ints back as doubles. There Evaluator also writes a resource name, of which TFX makes an
    artifact's int id by SHA-256 (`kubeflow_v2_entrypoint_utils`).
    """
    if isinstance(given, str):
        return int(hashlib.sha256(given.encode()).hexdigest(), 16) % _INT64_MAX == wanted
    return given is not None and float(given) == float(wanted)


def _fingerprint(model: types.Artifact) -> tuple[str | None, list[Result]]:
    path = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
    try:
        return model_fingerprint(path), []
    except ArtifactError as error:
        return None, [refusal("model", str(error))]


def _of_this_model(judged: Judged, fingerprint: str | None, model: types.Artifact) -> Judged:
    """Adds a refusal where the attributions were made from another model than the one to push."""
    if judged.candidate is None or fingerprint is None or judged.candidate.fingerprint == fingerprint:
        return judged
    made_from = judged.candidate.summary["model"]["uri"]
    sentence = (
        f"The attributions were made from other model files ({made_from}, {judged.candidate.fingerprint[:12]}) than "
        f"those to push ({model.uri}, {fingerprint[:12]}): wire ExplainerGen and the gate to the same model; if they "
        "are, the model was rewritten after it was explained."
    )
    results = (refusal("model", sentence), *judged.verdict.results)
    return dataclasses.replace(judged, verdict=GateVerdict(results))


def _publish_anomalies(
    anomalies: types.Artifact, judged: Judged, config: ValidationConfig, model_id: str, origin: Origin
) -> None:
    write_anomalies(anomalies.uri, judged, config, model_id, origin)
    blocking = judged.verdict.blocking
    anomalies.set_int_custom_property(properties.BLESSED, int(judged.verdict.blessed))
    anomalies.set_int_custom_property(properties.BLOCKING, len(blocking))
    anomalies.set_string_custom_property(properties.FIRST_REASON, _short(blocking[0].sentence) if blocking else "")
    anomalies.set_string_custom_property(properties.GATE_ID, config.gate_id)


def _publish_reference(
    output: list[types.Artifact], judged: Judged, config: ValidationConfig, model: types.Artifact, origin: Origin
) -> None:
    """A new reference when a model passes that is not in it, or when one in it is refused; else no artifact."""
    changed = changed_reference(judged, config, model.uri, str(model.id), origin.fingerprint or None)
    artifact = artifact_utils.get_single_instance(output)
    if changed is None:
        if fileio.exists(artifact.uri):  # what a killed attempt may have left
            fileio.rmtree(artifact.uri)
        if _KUBEFLOW not in sys.modules:
            output.clear()
        return
    write_reference(artifact.uri, changed)
    newest = changed.models[-1] if changed.models else None
    artifact.set_string_custom_property(properties.GATE_ID, changed.gate_id)
    artifact.set_int_custom_property(properties.MODELS, len(changed.models))
    artifact.set_string_custom_property(properties.NEWEST_MODEL, newest.model_uri if newest else "")
    artifact.set_string_custom_property(properties.NEWEST_FINGERPRINT, newest.fingerprint if newest else "")
    artifact.set_string_custom_property(properties.NEWEST_RUN, _passed_in(newest, changed, origin))


def _passed_in(newest: PassedModel | None, changed: Reference, origin: Origin) -> str:
    """Id of the run in which a reference's newest model passed: this one, or as an earlier reference has it."""
    if newest is None:
        return ""
    return origin.run if changed.event == (PASSED, newest.fingerprint) else origin.passed_in.get(newest.fingerprint, "")


def _publish_blessing(
    blessing: types.Artifact, incoming: types.Artifact, model: types.Artifact, judged: Judged, config: ValidationConfig
) -> None:
    """Writes what Evaluator writes, for both verdicts together."""
    blessed = judged.verdict.blessed
    blocking = judged.verdict.blocking
    given = incoming.get_custom_property(properties.CURRENT_MODEL_ID)
    _set(blessing, properties.CURRENT_MODEL_ID, given if _same_id(given, model.id) else model.id)
    for key in (properties.BASELINE_MODEL, properties.BASELINE_MODEL_ID):
        value = incoming.get_custom_property(key)
        if value is not None:
            _set(blessing, key, value)
    blessing.set_string_custom_property(properties.CURRENT_MODEL, model.uri)
    blessing.set_string_custom_property(properties.GATE_ID, config.gate_id)
    reason = _short(blocking[0].sentence) if blocking else "passed"
    blessing.set_string_custom_property(properties.GATE_REASON, reason)
    if fileio.exists(blessing.uri):  # a killed attempt may have come to another verdict
        fileio.rmtree(blessing.uri)
    io_utils.write_string_file(os.path.join(blessing.uri, "BLESSED" if blessed else "NOT_BLESSED"), "")
    blessing.set_int_custom_property(properties.BLESSED, int(blessed))


def _log(judged: Judged, model_uri: str, report: str) -> None:
    """The one line of a green run that says that nothing will be pushed, and why."""
    blocking = judged.verdict.blocking
    if not blocking:
        logging.info("AttributionValidator: %s is blessed. Report: %s", model_uri, report)
        return
    more = f" (and {len(blocking) - 1} more)" if len(blocking) > 1 else ""
    logging.warning(
        "AttributionValidator: %s is not blessed: %s%s Report: %s", model_uri, blocking[0].sentence, more, report
    )


def _set(artifact: types.Artifact, key: str, value: Any) -> None:
    if isinstance(value, str):
        artifact.set_string_custom_property(key, value)
    elif isinstance(value, float) and not value.is_integer():
        artifact.set_float_custom_property(key, value)
    else:
        artifact.set_int_custom_property(key, int(value))


def _short(sentence: str) -> str:
    """A sentence as a property: under 1 KB."""
    raw = sentence.encode()
    return sentence if len(raw) <= 1000 else raw[:990].decode(errors="ignore") + " ..."


def today() -> datetime.date:
    """The date in UTC, by which approvals end."""
    return datetime.datetime.now(datetime.timezone.utc).date()
