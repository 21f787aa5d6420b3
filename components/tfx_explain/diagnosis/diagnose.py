"""A diagnosis from stored artifacts: both models on the same rows, the data then and now, and what is upstream."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam
from tfx.dsl.io import fileio

from tfx_explain.artifacts.manifest import ArtifactError, Stage
from tfx_explain.artifacts.properties import FORMAT_VERSION
from tfx_explain.attribution_reference.store import PassedModel, Reference
from tfx_explain.attribution_validator.evidence import Candidate, read_candidate
from tfx_explain.config import EvidenceFloor, ExplainConfig, PermutationImportanceConfig
from tfx_explain.diagnosis.job import PAIRS_FILE, pair_examples
from tfx_explain.diagnosis.lineage import LineageDiff
from tfx_explain.diagnosis.passed_model import PassedModelError, serving_folder, serving_folder_of
from tfx_explain.diagnosis.words import describe
from tfx_explain.engine.aggregates.comparisons import moved_inputs
from tfx_explain.engine.aggregates.intervals import number
from tfx_explain.explainer_gen.evaluator_metrics import EvaluatorResultError
from tfx_explain.explainer_gen.job import progress, release_models
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.paired import Partner, StoredShares, reference_spec
from tfx_explain.explainer_gen.records import BATCH_SIZE
from tfx_explain.explainer_gen.run import CONFIG_FILE, EXAMPLES_FILE, REPORT_FILE
from tfx_explain.explainer_gen.settings import Settings, SettingsError, resolve
from tfx_explain.explainer_gen.target import LABEL
from tfx_explain.report.diagnosis import render_diagnosis

KIND = "AttributionDiagnosis"
DIAGNOSIS_FILE = "diagnosis.json"

PipelineFactory = Callable[[], beam.Pipeline]


class DiagnosisError(ValueError):
    """There is nothing to diagnose; the message says what is missing."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What to diagnose.

    Attributes:
      attributions: folder of the refused model's ModelAttributions.
      reference: what the gate remembers.
      patterns: (index of the split in its configuration, TFRecord file pattern) of the rows that were explained.
      output: folder to write to.
      model, reference_model: where the models are today; None takes the URIs in the artifacts.
      config: how the attributions were made; None takes what their artifact holds.
      lineage: what differs upstream, or None.
      lineage_absent: why there is no lineage.
      verdict: what anomalies.json of the refusal holds, or None: then the reference is not checked against it.
      read_batch_size: rows of a batch while reading; the results do not depend on it.
    """

    attributions: str
    reference: Reference
    patterns: Sequence[tuple[int, str]]
    output: str
    model: str | None = None
    reference_model: str | None = None
    config: ExplainConfig | None = None
    lineage: LineageDiff | None = None
    lineage_absent: str = "no metadata store was given"
    verdict: Mapping[str, Any] | None = None
    read_batch_size: int = BATCH_SIZE


def diagnose(request: Request, make_pipeline: PipelineFactory) -> dict[str, Any]:
    """Diagnoses, writes diagnosis.json and the page, gives what diagnosis.json holds.

    Where a model cannot be explained any more, shares then and now and the inputs' values are left; what is the model's
    part is then said to be unknown.

    Raises:
      ArtifactError: the attributions are damaged, or of a model that was not explained.
      DiagnosisError: no model has passed, the candidate's settings are not known, or the verdict was reached with
        other artifacts.
    """
    candidate = read_candidate(request.attributions)
    passed = request.reference.newest_other(candidate.fingerprint)
    if passed is None:
        raise DiagnosisError("the reference must hold a model that passed, to compare with. Received: none")
    notes: list[str] = []
    if request.verdict is not None:
        check_verdict(request.verdict, candidate.fingerprint, passed.fingerprint)
    config = request.config or stored_config(candidate)
    pairs: Mapping[str, Any] = {"slices": [], "rows_read": None, "rows": None, "examples": None}
    specs, absent = _specs(request, candidate, passed, config, notes)
    stage = Stage(request.output)
    if specs is not None:
        stored = StoredShares(passed.slices, passed.summary["fingerprints"]["examples"])
        pairs = _run(request, *specs, stored, stage, make_pipeline)
        absent = pairs["absent"]
    data = _data(candidate, passed, pairs, absent, request, notes)
    data |= describe(data)
    stage.write(DIAGNOSIS_FILE, json.dumps(data, sort_keys=True, indent=1, allow_nan=False))
    stage.write(REPORT_FILE, render_diagnosis(data))
    stage.finish(KIND)
    return data


def check_verdict(verdict: Mapping[str, Any], candidate: str, passed: str) -> None:
    """That a verdict is of this model, and compared it with the one that passed.

    Args:
      verdict: anomalies.json.
      candidate: fingerprint of the model of the attributions.
      passed: fingerprint of the newest model of the reference.

    Raises:
      DiagnosisError: it is not.
    """
    judged = verdict.get("model", {}).get("fingerprint")
    if judged != candidate:
        raise DiagnosisError(
            f"the verdict must be on the model of the attributions, {candidate[:12]}. Received: a verdict on "
            f"{str(judged)[:12]}"
        )
    compared = [model["fingerprint"] for model in verdict.get("reference", ()) if model["fingerprint"] != candidate]
    if compared[-1:] != [passed]:
        last = f"model {compared[-1][:12]}" if compared else "no model"
        raise DiagnosisError(
            f"the reference must be the one of the verdict, which compared with {last}. Received: a reference whose "
            f"newest model is {passed[:12]}. Give the verdict's; without --anomalies any is taken, and the diagnosis "
            "says so"
        )


def no_refusal(verdict: Mapping[str, Any] | None, passed: str) -> str:
    """A sentence that the diagnosis explains no refusal; empty where the verdict is one.

    Args:
      verdict: anomalies.json, or None where none was given.
      passed: fingerprint of the newest model of the reference.
    """
    head = "This diagnosis is not about a refusal"
    if verdict is None:
        return (
            f"{head}: no verdict was given (--anomalies), so that it is not known that the gate refused this "
            f"model, and not checked that the gate compared with model {passed[:12]}."
        )
    return f"{head}: the verdict that was given blessed the model." if verdict["blessed"] else ""


def stored_patterns(attributions: str) -> list[tuple[int, str]]:
    """(index of the split, TFRecord file pattern) of what attributions were made of.

    Raises:
      ArtifactError: the attributions are damaged.
      DiagnosisError: they do not tell, or the files are gone.
    """
    manifest = read_candidate(attributions).manifest
    if EXAMPLES_FILE not in manifest.sha256:
        raise DiagnosisError(
            "the attributions must tell which examples were explained, as those of this version do. Received: "
            f"attributions without {EXAMPLES_FILE}; give --examples"
        )
    patterns = [(int(index), str(pattern)) for index, pattern in manifest.read_json(EXAMPLES_FILE)["patterns"]]
    gone = [pattern for _, pattern in patterns if not fileio.glob(pattern)]
    if gone or not patterns:
        found = f"no file that matches {gone[0]!r}" if gone else "attributions of no file"
        raise DiagnosisError(
            f"the examples that were explained must still be there. Received: {found}; give --examples"
        )
    return patterns


def stored_config(candidate: Candidate) -> ExplainConfig:
    """The settings that the attributions were made with.

    Raises:
      DiagnosisError: the artifact does not hold them.
    """
    if CONFIG_FILE not in candidate.manifest.sha256:
        raise DiagnosisError(
            f"the attributions at {candidate.manifest.uri} hold no {CONFIG_FILE}: give the configuration that they "
            "were made with"
        )
    return ExplainConfig.from_json(candidate.manifest.read(CONFIG_FILE).decode())


def _incomparable(candidate: Candidate, reference: Reference, passed: PassedModel) -> str | None:
    """Why the stored shares of both models have no common ground, or None."""
    common = [f for f in candidate.statistics.features if f in passed.statistics.features]
    differences = candidate.pins.differences(reference.pins, common)
    if not differences:
        return None
    return f"the attributions were made otherwise than the reference's: {'; '.join(differences[:5])}"


def _specs(
    request: Request, candidate: Candidate, passed: PassedModel, config: ExplainConfig, notes: list[str]
) -> tuple[tuple[JobSpec, JobSpec] | None, str]:
    """Both models' jobs, without what a diagnosis does not need; or why they cannot be explained on the same rows."""
    reason = _incomparable(candidate, request.reference, passed)
    if reason is not None:
        return None, reason
    try:
        folder = serving_folder_of(request.model or candidate.summary["model"]["uri"], candidate.fingerprint)
    except (PassedModelError, ArtifactError) as error:
        return None, f"this model cannot be run: {error}"
    try:
        reference_folder = serving_folder(passed, request.reference_model)
    except (PassedModelError, ArtifactError) as error:
        return None, f"the last model that passed cannot be run: {error}"
    settings = _settings(config, candidate.summary.get("evaluation"), notes)
    lean = {"permutation_importance": PermutationImportanceConfig(repeats=0), "keep_features": ()}
    spec = JobSpec(
        model_path=folder,
        config=config.model_copy(update=lean),
        slicing=settings.slicing,
        label=settings.label if config.target == LABEL else None,
        example_weight=settings.example_weight,
        fingerprint=candidate.fingerprint,
        pins=candidate.pins,
        pinned_rows=request.reference.rows(),
    )
    return (spec, reference_spec(spec, reference_folder, passed.fingerprint)), ""


def _settings(config: ExplainConfig, evaluation: str | None, notes: list[str]) -> Settings:
    try:
        return resolve(config, evaluation)
    except (SettingsError, EvaluatorResultError, OSError) as error:
        notes.append(f"Evaluator's slices and weights could not be read ({error}): the configuration's are taken")
        return resolve(config, None)


def _run(
    request: Request,
    spec: JobSpec,
    reference: JobSpec,
    stored: StoredShares,
    stage: Stage,
    make_pipeline: PipelineFactory,
) -> dict[str, Any]:
    progress.info("reading and sampling, and loading both models")
    with make_pipeline() as pipeline:
        pair_examples(
            pipeline, request.patterns, spec, Partner(reference, stored), stage.folder, request.read_batch_size
        )
    release_models()
    pairs = json.loads(stage.read(PAIRS_FILE))
    stage.remove(PAIRS_FILE)
    return pairs


def _data(
    candidate: Candidate,
    passed: PassedModel,
    pairs: Mapping[str, Any],
    absent: str | None,
    request: Request,
    notes: Sequence[str],
) -> dict[str, Any]:
    notes = list(notes)
    explained = candidate.summary["fingerprints"]["examples"]
    if pairs["examples"] is not None and pairs["examples"] != explained:
        notes.append(
            f"the examples are not those that the attributions were made of: {pairs['rows_read']} rows were read, "
            f"{candidate.summary['examples']['rows']} then"
        )
    slices = list(pairs["slices"]) if absent is None else []
    moved = moved_inputs(candidate.statistics, passed.statistics)
    return {
        "format_version": FORMAT_VERSION,
        "candidate": {"uri": candidate.summary["model"]["uri"], "fingerprint": candidate.fingerprint},
        "reference": {"uri": passed.model_uri, "id": passed.model_id, "fingerprint": passed.fingerprint},
        "unit": candidate.summary["model"]["unit"],
        "examples": {
            "patterns": [pattern for _, pattern in request.patterns],
            "rows": pairs["rows_read"],
            "sampled_rows": pairs["rows"],
            "as_explained": None if pairs["examples"] is None else pairs["examples"] == explained,
            "as_then": explained == passed.summary["fingerprints"]["examples"],
        },
        "pairs_absent": absent,
        "overall": slices[0] if slices else _stored_shares(candidate, passed),
        "slices": slices[1:],
        "min_slice_rows": _min_slice_rows(request.verdict),
        "moved_inputs": {name: number(value) for name, value in sorted(moved.items(), key=lambda m: (-m[1], m[0]))},
        "lineage": request.lineage.to_dict() if request.lineage else None,
        "lineage_absent": None if request.lineage else request.lineage_absent,
        "notes": notes,
        "no_refusal": no_refusal(request.verdict, passed.fingerprint),
    }


def _min_slice_rows(verdict: Mapping[str, Any] | None) -> float:
    """Effective rows from which a slice is spoken of: as many as the policy of the verdict asks for."""
    policy = {} if verdict is None else verdict.get("policy", {}).get("evidence", {})
    return float(policy.get("min_rows_per_slice", EvidenceFloor().min_rows_per_slice))


def _stored_shares(candidate: Candidate, passed: PassedModel) -> dict[str, Any]:
    """What is known without running the reference's model: shares now, and its shares then."""
    now, then = ({f["name"]: f for f in s["features"]} for s in (candidate.summary, passed.summary))
    features = []
    for name in dict.fromkeys((*now, *then)):
        absent_from = "candidate" if name not in now else "reference" if name not in then else ""
        features.append(
            {
                "name": name,
                "absent_from": absent_from,
                "share": _share(now.get(name)),
                "reference_share": None,
                "reference_share_then": _share(then.get(name)),
                "model_part": None,
                "data_part": None,
            }
        )
    return {"name": "overall", "key": [], "paired_rows": 0, "features": features}


def _share(entry: Mapping[str, Any] | None) -> dict[str, Any]:
    if entry is None:
        return {"value": 0.0, "low": 0.0, "high": 0.0}
    return {"value": entry["share"], "low": entry["share_low"], "high": entry["share_high"]}
