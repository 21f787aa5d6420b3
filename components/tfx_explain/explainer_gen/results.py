"""What the job writes: row files, statistics, pins, and job.json for its caller."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from tfx_explain.artifacts.pins import PINNED_ROWS_FILE, PINS_FILE, Pins
from tfx_explain.artifacts.statistics import to_parquet, write_statistics
from tfx_explain.engine.aggregates.buckets import BucketStatistics
from tfx_explain.explainer_gen.explain import ExplainedBlock, JobSpec, ModelFacts
from tfx_explain.explainer_gen.profiles import FeatureProfile
from tfx_explain.explainer_gen.rows import attribution_columns, row_files
from tfx_explain.explainer_gen.sampling import SamplePlan

JOB_FILE = "job.json"
METHOD = "integrated_gradients"


def block_facts(block: ExplainedBlock) -> tuple[int, ModelFacts, dict[str, int], float]:
    """(block, facts, failures, forward equivalents)."""
    return block.index, block.facts, dict(block.failures), block.forward_equivalents


def write_rows(
    block: ExplainedBlock, splits: Sequence[str], plan: SamplePlan, staging: str, wanted: bool
) -> Iterable[tuple[str, int]]:
    """Writes a block's row files; (path, rows) of each."""
    if wanted:
        for path, (data, rows) in row_files(block, splits, plan.blocks).items():
            write_file(FileSystems.join(staging, path), data)
            yield path, rows


def write_result(
    _: Any,
    spec: JobSpec,
    staging: str,
    plan: SamplePlan,
    content: tuple[int, int],
    profiles: Sequence[FeatureProfile],
    unit: float,
    buckets: Sequence[tuple[int, BucketStatistics]],
    written: Sequence[tuple[str, int]],
    facts: Sequence[tuple[int, ModelFacts, dict[str, int], float]],
    pinned: Sequence[tuple[str, str, bytes, list[float] | None]],
) -> None:
    """Writes the statistics, the pins and job.json: all that the caller of the job needs to know."""
    ordered = sorted(facts, key=lambda f: f[0])
    model = ordered[0][1] if ordered else ModelFacts()
    label_errors = [f[1].label_error for f in ordered if f[1].label_error]
    failures: Counter[str] = Counter()
    for _, _, reasons, _ in ordered:
        failures.update(reasons)
    files = dict(written)
    if buckets:
        for name, data in write_statistics(BucketStatistics.join(dict(buckets)), model.target).items():
            write_file(FileSystems.join(staging, name), data)
            files[name] = 0
        pins = pins_of(spec, model, profiles, unit)
        write_file(FileSystems.join(staging, PINS_FILE), pins.to_json().encode())
        write_file(FileSystems.join(staging, PINNED_ROWS_FILE), pinned_table(pinned))
        files[PINS_FILE] = 0
        files[PINNED_ROWS_FILE] = len(pinned)
    result = {
        "error": model.error,
        "rows_read": content[0],
        "content": f"{content[1]:032x}",
        "rows_explained": plan.rows,
        "blocks": plan.blocks,
        "features": list(model.features),
        "columns": attribution_columns(model.features),
        "unused_features": list(model.unused_features),
        "uncovered_features": list(model.uncovered_features),
        "cut_policies": dict(model.cut_policies),
        "output": model.output,
        "link": model.link,
        "unit": model.unit,
        "num_targets": model.num_targets,
        "target": model.target,
        "task": None if label_errors else model.task,
        "label_error": label_errors[0] if label_errors else None,
        "notes": list(model.notes),
        "input_baseline_source": model.input_baseline_source,
        "input_baseline": {
            n: [base64.b64encode(v).decode() if isinstance(v, bytes) else v for v in values]
            for n, (_, values) in model.input_baseline.items()
        },
        "environment": sorted({f[1].environment for f in ordered}),
        "failures": dict(sorted(failures.items())),
        "forward_equivalents": sum(f[3] for f in ordered),
        "files": files,
    }
    write_file(FileSystems.join(staging, JOB_FILE), json.dumps(result, sort_keys=True, indent=1).encode())


def pins_of(spec: JobSpec, model: ModelFacts, profiles: Iterable[FeatureProfile], unit: float) -> Pins:
    """The reference's pins, with what this model adds to them; this run's own on a first run."""
    old = spec.pins
    return Pins(
        settings={
            "unit": model.unit,
            # The configured name: one that Keras numbers by itself differs between retrains.
            "output": spec.config.output,
            "num_targets": model.num_targets,
            "link": model.link,
            "target": model.target,
            "method": METHOD,
            "splits": list(spec.config.splits),
        },
        input_baseline=model.input_baseline,
        bins={p.name: p.bins for p in profiles} | (dict(old.bins) if old else {}),
        cut_policies=(dict(old.cut_policies) if old else {}) | dict(model.cut_policies),
        histogram_unit=unit,
    )


def pinned_table(rows: Sequence[tuple[str, str, bytes, list[float] | None]]) -> bytes:
    """pinned_rows.parquet: role (`prediction` or `background`), id, example (canonical), prediction (a list)."""
    return to_parquet(
        pa.table(
            {
                "role": pa.array([r[0] for r in rows], pa.string()),
                "id": pa.array([r[1] for r in rows], pa.string()),
                "example": pa.array([r[2] for r in rows], pa.binary()),
                "prediction": pa.array([r[3] for r in rows], pa.list_(pa.float64())),
            }
        )
    )


def write_file(path: str, data: bytes) -> None:
    """Writes one file; a bundle that runs again writes the same bytes over it."""
    folder = path.rsplit("/", 1)[0]
    if not FileSystems.exists(folder):
        try:
            FileSystems.mkdirs(folder)
        except OSError:  # another worker was first
            if not FileSystems.exists(folder):
                raise
    with FileSystems.create(path, mime_type="application/octet-stream", compression_type="uncompressed") as file:
        file.write(data)
