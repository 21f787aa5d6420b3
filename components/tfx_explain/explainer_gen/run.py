"""One explanation from end to end: the Beam job, then the artifact that holds its results."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam
from absl import logging

from tfx_explain.artifacts.fingerprint import model_fingerprint
from tfx_explain.artifacts.locations import absolute
from tfx_explain.artifacts.manifest import ArtifactError, Stage
from tfx_explain.artifacts.pins import PINS_FILE, Pins, Values
from tfx_explain.artifacts.properties import FORMAT_VERSION
from tfx_explain.artifacts.text_fingerprint import text_fingerprint
from tfx_explain.attribution_reference.store import SUMMARY_FILE, Reference
from tfx_explain.config import ExplainConfig
from tfx_explain.diagnosis.passed_model import PassedModelError, serving_folder
from tfx_explain.explainer_gen.aggregate import examples_fingerprint
from tfx_explain.explainer_gen.cost import COST_FILE, Forecast, forecast, report, within_limits
from tfx_explain.explainer_gen.evaluator_metrics import EvaluatorResultError
from tfx_explain.explainer_gen.explain import NO_REPEATS
from tfx_explain.explainer_gen.job import explain_examples, progress, release_models
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.method import method_record
from tfx_explain.explainer_gen.paired import Partner, StoredShares, reference_spec
from tfx_explain.explainer_gen.pilot import run_pilot
from tfx_explain.explainer_gen.records import BATCH_SIZE
from tfx_explain.explainer_gen.results import JOB_FILE
from tfx_explain.explainer_gen.settings import SettingsError, resolve
from tfx_explain.explainer_gen.summary import summarise
from tfx_explain.report.attributions import render_attributions

KIND = "ModelAttributions"
REPORT_FILE = "report.html"
CONFIG_FILE = "explain_config.json"
EXAMPLES_FILE = "examples.json"
NOT_EXPLAINED = "not_explained"

PipelineFactory = Callable[[], beam.Pipeline]


@dataclasses.dataclass(frozen=True)
class Request:
    """What to explain and where to write it.

    Attributes:
      output: the artifact's folder.
      model_uri: how the artifact calls the model.
      serving_path: the SavedModel's folder.
      patterns: (index of the split in config.splits, TFRecord file pattern); may be empty.
      config: with every override applied.
      reference: of the models that passed, or None.
      statistics_baseline: raw values that StatisticsGen knows.
      categorical_ints: int features that the schema calls categorical.
      evaluation: where Evaluator's result lies.
      read_batch_size: rows of a batch while reading; the results do not depend on it.
    """

    output: str
    model_uri: str
    serving_path: str
    patterns: Sequence[tuple[int, str]]
    config: ExplainConfig
    reference: Reference | None = None
    statistics_baseline: Mapping[str, Values] = dataclasses.field(default_factory=dict)
    categorical_ints: frozenset[str] = frozenset()
    evaluation: str | None = None
    read_batch_size: int = BATCH_SIZE


def run(request: Request, make_pipeline: PipelineFactory) -> dict[str, Any]:
    """Explains, writes the artifact, gives its summary.

    Faults of content (no model, a model that cannot be explained) become an artifact with `status: not_explained` and
    a reason. Faults of reading raise.
    """
    config, reference = request.config, request.reference
    try:
        fingerprint = model_fingerprint(request.serving_path)
    except ArtifactError as error:
        return not_explained(request, str(error))
    try:
        settings = resolve(config, request.evaluation)
    except (SettingsError, EvaluatorResultError) as error:
        return not_explained(request, str(error), fingerprint)
    slices = config.slices.model_copy(update={"min_slice_size": settings.min_slice_size})
    config = config.model_copy(update={"slices": slices})
    spec = JobSpec(
        model_path=request.serving_path,
        config=config,
        slicing=settings.slicing,
        label=settings.label,
        example_weight=settings.example_weight,
        evaluation=settings.evaluation,
        fingerprint=fingerprint,
        pins=reference.pins if reference else None,
        pinned_rows=reference.rows() if reference else (),
        statistics_baseline=request.statistics_baseline,
        categorical_ints=request.categorical_ints,
    )
    expected, lowered = None, None
    pilot = None
    if config.cost.forecast:
        progress.info("loading the model and explaining a few rows, for a forecast")
        pilot = run_pilot(spec, request.patterns)
    if pilot is not None:
        strata = bool(spec.slicing.columns or spec.slicing.sql)
        config, lowered = within_limits(pilot, config, strata)
        spec = dataclasses.replace(spec, config=config)
        expected = forecast(pilot, config, strata)
        _log_forecast(expected, lowered)
        progress.info("reading and sampling; at most %d rows, about %.1f minutes", expected.rows, expected.minutes)
    else:
        progress.info("reading and sampling, and loading the model")
    partner, no_partner = _partner(spec, reference, fingerprint)
    stage = Stage(request.output)
    started = time.monotonic()
    with make_pipeline() as pipeline:
        explain_examples(pipeline, request.patterns, spec, stage.folder, request.read_batch_size, partner)
    release_models()
    progress.info("writing the tables and the page")
    seconds = time.monotonic() - started
    job = json.loads(stage.read(JOB_FILE))
    stage.remove(JOB_FILE)
    if job["error"] is not None:
        return not_explained(request, job["error"], fingerprint)
    pins = Pins.from_json(stage.read(PINS_FILE).decode()) if PINS_FILE in job["files"] else None
    fingerprints = {
        "model": fingerprint,
        "examples": examples_fingerprint((job["rows_read"], int(job["content"], 16)), config.splits),
        "config": text_fingerprint(f"{config.to_json()}\n{settings.measured_by}"),
        "environment": text_fingerprint("\n".join(job["environment"])),
        "comparability": pins.digest() if pins else "",
    }
    summary = summarise(
        job,
        {"uri": request.model_uri, "fingerprint": fingerprint, "signature": config.signature},
        fingerprints,
        method_record(config, job["background_rows"], job["unit"]) | {"crosses": config.crosses},
        config.splits,
        request.evaluation,
    ) | {"lowered": lowered}
    if no_partner is not None:
        summary["paired"] = {"absent": no_partner, "overall": None}
    stage.write(CONFIG_FILE, config.to_json())
    forwards = job["forward_equivalents"] + job["permutation_forwards"]
    cost = report(expected, lowered, forwards, seconds) | {"donors_from": job["donors_from"]}
    stage.write(COST_FILE, json.dumps(cost, sort_keys=True, indent=1))
    patterns = [[index, absolute(pattern)] for index, pattern in request.patterns]
    stage.write(EXAMPLES_FILE, json.dumps({"patterns": patterns}, indent=1))
    _finish(
        stage, summary, _passed(reference), job["files"], {n: job[n] for n in ("columns", "kept_columns", "target")}
    )
    _log(summary)
    return summary


def _partner(spec: JobSpec, reference: Reference | None, fingerprint: str) -> tuple[Partner | None, str | None]:
    """(the newest other model that passed, to be explained on the same rows; why there is none, where it was asked)."""
    if not spec.config.paired:
        return None, None
    passed = reference.newest_other(fingerprint) if reference is not None else None
    if passed is None or passed.fingerprint == fingerprint:
        return None, "no other model has passed yet"
    try:
        folder = serving_folder(passed)
    except PassedModelError as error:
        return None, f"the last model that passed cannot be explained: {error}"
    stored = StoredShares(passed.slices, passed.summary["fingerprints"]["examples"])
    return Partner(reference_spec(spec, folder, passed.fingerprint), stored), None


def not_explained(request: Request, reason: str, fingerprint: str = "") -> dict[str, Any]:
    """Writes an artifact that says why there are no attributions, and gives its summary."""
    config = request.config
    fingerprints = {"model": fingerprint, "examples": "", "config": text_fingerprint(config.to_json())}
    summary = {
        "format_version": FORMAT_VERSION,
        "status": NOT_EXPLAINED,
        "reason": reason,
        "model": {"uri": request.model_uri, "fingerprint": fingerprint, "signature": config.signature},
        "examples": {"splits": list(config.splits), "rows": 0, "explained_rows": 0},
        "method": method_record(config),
        "fingerprints": fingerprints | {"environment": "", "comparability": ""},
        "evaluation": request.evaluation,
        "features": [],
        "unused_features": [],
        "uncovered_features": [],
        "metrics": {},
        "metrics_absent": reason,
    }
    logging.warning("ExplainerGen: the model was not explained: %s", reason)
    _finish(Stage(request.output), summary, (), {}, {})
    return summary


def _finish(
    stage: Stage,
    summary: Mapping[str, Any],
    passed: Sequence[Mapping[str, Any]],
    rows: Mapping[str, int],
    content: Mapping[str, Any],
) -> None:
    stage.write(SUMMARY_FILE, json.dumps(summary, sort_keys=True, indent=1, allow_nan=False))
    stage.write(REPORT_FILE, render_attributions(summary, passed))
    stage.finish(KIND, rows, content)


def _passed(reference: Reference | None) -> list[dict[str, Any]]:
    return [m.summary for m in reference.models] if reference else []


def _log_forecast(expected: Forecast, lowered: str | None) -> None:
    logging.info(
        "ExplainerGen: forecast: at most %d rows, %.3g forward equivalents, %.1f minutes, %.0f MB",
        expected.rows,
        expected.forward_equivalents,
        expected.minutes,
        expected.memory_mb,
    )
    if lowered is not None:
        logging.warning("ExplainerGen: %s", lowered)


def _log(summary: Mapping[str, Any]) -> None:
    examples, absent = summary["examples"], summary["permutation_importance"]["absent"]
    if absent is not None and absent != NO_REPEATS:
        logging.warning("ExplainerGen: no permutation importance: %s", absent)
    logging.info(
        "ExplainerGen: explained %d of %d rows, %d failed, %s of the weight unconverged; top features: %s",
        examples["explained_rows"],
        examples["rows"],
        examples["failed_rows"],
        examples["unconverged_weight_fraction"]["value"],
        ", ".join(f"{f['name']} {f['share']}" for f in summary["features"][:3]),
    )
