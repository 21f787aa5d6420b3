"""One explanation from end to end: the Beam job, then the artifact that holds its results."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam

from tfx_explain.artifacts.fingerprint import model_fingerprint, text_fingerprint
from tfx_explain.artifacts.manifest import ArtifactError, Stage
from tfx_explain.artifacts.pins import PINS_FILE, Pins, Values
from tfx_explain.artifacts.properties import FORMAT_VERSION
from tfx_explain.artifacts.statistics import BUCKETS_FILE, PREDICTIONS_FILE, read_statistics
from tfx_explain.attribution_reference.store import SUMMARY_FILE, Reference
from tfx_explain.config import ExplainConfig
from tfx_explain.engine.aggregates.intervals import seed_from
from tfx_explain.explainer_gen.explain import JobSpec
from tfx_explain.explainer_gen.job import explain_examples, release_models
from tfx_explain.explainer_gen.results import JOB_FILE, METHOD
from tfx_explain.explainer_gen.summary import summarise
from tfx_explain.report.attributions import render_attributions

KIND = "ModelAttributions"
REPORT_FILE = "report.html"
SLICES_FILE = "slice_statistics.parquet"
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
    read_batch_size: int = 1000


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
    stage = Stage(request.output)
    spec = JobSpec(
        model_path=request.serving_path,
        config=config,
        pins=reference.pins if reference else None,
        pinned_rows=reference.rows() if reference else (),
        statistics_baseline=request.statistics_baseline,
        categorical_ints=request.categorical_ints,
    )
    with make_pipeline() as pipeline:
        explain_examples(pipeline, request.patterns, spec, stage.folder, request.read_batch_size)
    release_models()
    job = json.loads(stage.read(JOB_FILE))
    stage.remove(JOB_FILE)
    if job["error"] is not None:
        return not_explained(request, job["error"], fingerprint)
    statistics = pins = None
    if BUCKETS_FILE in job["files"]:
        statistics = read_statistics(stage.read(BUCKETS_FILE), stage.read(PREDICTIONS_FILE))
        pins = Pins.from_json(stage.read(PINS_FILE).decode())
    fingerprints = {
        "model": fingerprint,
        "examples": text_fingerprint(f"{job['rows_read']}:{job['content']}:{','.join(config.splits)}"),
        "config": text_fingerprint(config.to_json()),
        "environment": text_fingerprint("\n".join(job["environment"])),
        "comparability": pins.digest() if pins else "",
    }
    summary, slices = summarise(
        job,
        statistics,
        seed_from(fingerprints["model"], fingerprints["examples"]),
        {"uri": request.model_uri, "fingerprint": fingerprint, "signature": config.signature},
        fingerprints,
        {
            "num_steps": config.integrated_gradients.num_steps,
            "repair_steps": list(config.integrated_gradients.repair_steps),
        },
        config.splits,
        request.evaluation,
    )
    stage.write(SLICES_FILE, slices)
    _finish(stage, summary, _passed(reference), job["files"], {"columns": job["columns"], "target": job["target"]})
    _log(summary)
    return summary


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
        "method": {"name": METHOD, "num_steps": config.integrated_gradients.num_steps},
        "fingerprints": fingerprints | {"environment": "", "comparability": ""},
        "evaluation": request.evaluation,
        "features": [],
        "unused_features": [],
        "uncovered_features": [],
        "metrics": {},
        "metrics_absent": reason,
    }
    logging.getLogger(__name__).warning("the model was not explained: %s", reason)
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


def _log(summary: Mapping[str, Any]) -> None:
    examples = summary["examples"]
    logging.getLogger(__name__).info(
        "explained %d of %d rows, %d failed, %s of the weight unconverged; top features: %s",
        examples["explained_rows"],
        examples["rows"],
        examples["failed_rows"],
        examples["unconverged_weight_fraction"]["value"],
        ", ".join(f"{f['name']} {f['share']}" for f in summary["features"][:3]),
    )
