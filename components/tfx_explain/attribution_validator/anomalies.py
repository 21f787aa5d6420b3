"""AttributionAnomalies on disk: anomalies.json and the report page."""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

from tfx_explain.artifacts.locations import absolute
from tfx_explain.artifacts.manifest import Stage, read_manifest, verify
from tfx_explain.attribution_validator.by_value import by_value
from tfx_explain.attribution_validator.evidence import Judged
from tfx_explain.attribution_validator.files_behind import ANOMALIES_FILE, REPORT_FILE, files_behind
from tfx_explain.attribution_validator.next_steps import next_steps
from tfx_explain.config import ValidationConfig
from tfx_explain.report.anomalies import render_anomalies
from tfx_explain.report.origin import Origin

KIND = "AttributionAnomalies"
_UNKNOWN: Final = Origin()


def diagnose_command(attributions: str, reference: str, anomalies: str | None) -> str:
    """What to run after a refusal, from any folder."""
    given = {"attributions": attributions, "reference": reference, "anomalies": anomalies}
    options = (f"--{name} {shlex.quote(absolute(value))}" for name, value in given.items() if value is not None)
    return f"tfx-explain diagnose {' '.join(options)}"


def read_anomalies(uri: str) -> dict[str, Any]:
    """What anomalies.json holds.

    Raises:
      ArtifactError: the artifact is unfinished, damaged or of a newer format.
    """
    manifest = read_manifest(uri, KIND)
    verify(manifest)
    return manifest.read_json(ANOMALIES_FILE)


def write_anomalies(
    uri: str,
    judged: Judged,
    config: ValidationConfig,
    model_id: str | None = None,
    origin: Origin = _UNKNOWN,
) -> dict[str, Any]:
    """Writes a finished artifact; gives anomalies.json's content.

    Args:
      uri: the folder.
      judged: the verdict, and what it was reached from.
      config: the policy.
      model_id: of the model's artifact, as Evaluator's blessing has it; None without a pipeline.
      origin: the run, for the page.
    """
    candidate, reference = judged.candidate, judged.reference
    data = judged.verdict.to_dict() | {
        "gate_id": config.gate_id,
        "policy": json.loads(config.to_json()),
        "model": dict(candidate.summary["model"]) if candidate else {},
        "model_id": model_id,
        "reference": [
            {"fingerprint": m.fingerprint, "model_uri": m.model_uri, "model_id": m.model_id}
            for m in (reference.models if reference else ())
        ],
        "by_value": by_value(judged),
        "next_steps": next_steps(judged.verdict.results),
    }
    if candidate is not None and judged.reference_uris and not data["blessed"]:
        data["diagnose"] = diagnose_command(candidate.manifest.uri, judged.reference_uris[-1], uri)
    stage = Stage(uri)
    stage.write(ANOMALIES_FILE, json.dumps(data, sort_keys=True, indent=1, allow_nan=False))
    passed = [m.summary for m in reference.models] if reference else []
    files = files_behind(uri, judged.attributions_uri, judged.evaluation)
    stage.write(REPORT_FILE, render_anomalies(data, candidate.summary if candidate else None, passed, origin, files))
    stage.finish(KIND)
    return data
