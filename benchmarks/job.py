"""The whole job of ExplainerGen, from TFRecord to Parquet, against the gradients of the same network alone.

    .venv/bin/python -m benchmarks.job [--rows 100000] [--repeats 3] [--hidden 64,64] [--slices 10,50]
        [--permutations 10]

Prints a Markdown table and writes benchmarks/results/job.json. All times are CPU time of this process, with one thread
for TensorFlow on both sides.

- bound: gradients of the network (100-64-64-1 unless told otherwise) at 50 nodes of every row, nothing else, in one
  compiled function over rows in memory, at its best batch size.
- job: integrated gradients of the exported network, as a Beam pipeline in one in-process runner: TFRecords are read,
  identified, sampled (all of them are taken), explained in blocks, sliced, summed, finished and written. Once with 10
  slices and once with 50. What the job costs whatever its rows (the model is loaded and traced, the pipeline is built,
  slices are finished) is measured on 4,096 rows, and a second ratio leaves it out. With --permutations the job also
  measures permutation importance, of which the bound has no part: then only its items and aggregation's share mean
  something.

Both sides run in turn; figures are medians. An item's time is counted once, for the innermost item it belongs to; what
belongs to none is Beam's: its queues, and what it pickles itself. `pickling` is that of the job's own elements.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from benchmarks import network
from benchmarks.clock import Clock
from benchmarks.items import JOB, PERMUTATION
from tfx_explain.config import ExplainConfig
from tfx_explain.explainer_gen import records, results
from tfx_explain.explainer_gen.job import explain_examples
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.labels import Source
from tfx_explain.explainer_gen.slicing import Slicing

RESULT = pathlib.Path(__file__).parent / "results" / "job.json"
ROWS, FEW_ROWS, REPEATS, BOUND_TRIAL = 100_000, 4096, 3, 8192
SLICINGS = {10: (5, 4), 50: (25, 24)}
"""Slices -> values of the two features that are sliced on; the overall slice comes with them."""
RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"


def run_job(
    folder: pathlib.Path,
    pattern: pathlib.Path,
    slices: int,
    rows: int,
    repeats: int = 0,
    items: Sequence[tuple[str, Any, str]] = JOB,
) -> dict[str, float]:
    """CPU seconds of one job of the 100-64-64-1 network by item; `repeats` are those of permutations."""
    keys = ((network.PLACE,), (network.HOUR,))
    config = ExplainConfig.make({"max_examples": rows, "permutation_importance": {"repeats": repeats}})
    slicing = Slicing(tuple((k, ()) for k in keys))
    spec = JobSpec(str(folder / "model"), config, slicing, Source(network.LABEL), fingerprint="model")
    seconds, result = watched_job(folder, pattern, spec, items)
    if (result["rows_explained"], result["slicing"]["slices"] + 1) != (rows, slices):
        raise ValueError(f"the job must explain {rows} rows in {slices} slices. Received: {result}")
    return seconds


def watched_job(
    folder: pathlib.Path, pattern: pathlib.Path, spec: JobSpec, items: Sequence[tuple[str, Any, str]] = JOB
) -> tuple[dict[str, float], dict[str, Any]]:
    """(CPU seconds by item, "Beam" being what belongs to none; what the job says of itself) of one job.

    Raises:
        ValueError: if the job could not explain the model.
    """
    clock = Clock()
    with tempfile.TemporaryDirectory(dir=folder) as staging, clock.watching(items), clock.item("Beam"):
        with beam.Pipeline(options=PipelineOptions([RUNNER])) as pipeline:
            explain_examples(pipeline, [(0, str(pattern))], spec, staging, records.BATCH_SIZE)
        result = json.loads((pathlib.Path(staging) / results.JOB_FILE).read_text())
    if result["error"]:
        raise ValueError(f"the job must explain the model. Received: {result['error']}")
    return dict(clock.seconds), result


_PERMUTATION = [
    (f"aggregate: permuted {item}" if item in ("parts", "sums", "finish") else f"permutations: {item}", owner, name)
    for item, owner, name in PERMUTATION
]


def timed(function: network.Run) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def best_batch(logit: Any, table: Any) -> int:
    """The batch size at which the bound is least, by three calls each on some of the rows."""
    trial = table[:BOUND_TRIAL]
    runs = {batch: network.gradients(logit, trial, batch) for batch in network.BATCHES if batch <= len(trial)}
    return min(runs, key=lambda batch: statistics.median(timed(runs[batch]) for _ in range(3)))


def measure(
    rows: int, repeats: int, hidden: Sequence[int], slicings: Sequence[int], permutations: int
) -> dict[str, Any]:
    """The bound and the jobs in turn; `permutations` are the repeats of permutation importance."""
    items = [*JOB, *_PERMUTATION] if permutations else JOB
    table = network.values(rows)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        logit = network.export(str(folder / "model"), hidden=hidden)
        for slices in slicings:
            places, hours = SLICINGS[slices]
            network.write_rows(folder / f"rows-{slices}", table, places, hours)
            network.write_rows(folder / f"few-{slices}", table[:FEW_ROWS], places, hours)
        batch = best_batch(logit, table)
        bound = network.gradients(logit, table, batch)
        bounds: list[float] = []
        jobs: dict[int, list[dict[str, float]]] = {slices: [] for slices in slicings}
        fixed: dict[int, list[dict[str, float]]] = {slices: [] for slices in slicings}
        for _ in range(repeats):
            bounds.append(timed(bound) * rows / (rows // batch * batch))
            for slices in slicings:
                few = folder / f"few-{slices}", slices, min(FEW_ROWS, rows), permutations, items
                fixed[slices].append(run_job(folder, *few))
                jobs[slices].append(run_job(folder, folder / f"rows-{slices}", slices, rows, permutations, items))
    return {
        "rows": rows,
        "hidden": list(hidden),
        "permutations": permutations,
        "bound_s": statistics.median(bounds),
        "bound_batch": batch,
        "jobs": [job_figures(slices, jobs[slices], fixed[slices], bounds, rows) for slices in slicings],
    }


def job_figures(
    slices: int, runs: list[dict[str, float]], fixed: list[dict[str, float]], bounds: list[float], rows: int
) -> dict[str, Any]:
    """Medians over the runs of one job; ratios pair by pair."""
    totals, few = ([sum(run.values()) for run in part] for part in (runs, fixed))
    scale = rows / max(rows - FEW_ROWS, 1)
    growing = [max(total - f, 1e-9) * scale for total, f in zip(totals, few, strict=True)]
    summing = [sum(s for item, s in run.items() if item.startswith("aggregate")) for run in runs]
    return {
        "slices": slices,
        "job_s": statistics.median(totals),
        "growing_s": statistics.median(growing),
        "ratio": statistics.median(b / t for b, t in zip(bounds, totals, strict=True)),
        "ratio_of_what_grows": statistics.median(b / g for b, g in zip(bounds, growing, strict=True)),
        "aggregation_share": statistics.median(s / t for s, t in zip(summing, totals, strict=True)),
        "items_s": {item: statistics.median(run.get(item, 0.0) for run in runs) for item in sorted(runs[0])},
        "items_of_few_rows_s": {item: statistics.median(run.get(item, 0.0) for run in fixed) for item in fixed[0]},
    }


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def main() -> None:
    """Runs the benchmark, prints the table, writes the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--hidden", type=_numbers, default=network.HIDDEN)
    parser.add_argument("--slices", type=_numbers, default=tuple(SLICINGS))
    parser.add_argument("--permutations", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, default=RESULT)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    figures = measure(options.rows, options.repeats, options.hidden, options.slices, options.permutations)
    bound = figures["bound_s"]
    lines = [f"{options.rows:,} rows; the bound takes {bound:.2f} CPU-s in batches of {figures['bound_batch']}\n"]
    for job in figures["jobs"]:
        lines += [
            f"{job['slices']} slices: {job['job_s']:.2f} CPU-s, bound / job {job['ratio']:.2f}, of what grows with the "
            f"rows {job['ratio_of_what_grows']:.2f}; aggregation {job['aggregation_share']:.1%} of the job\n",
            f"| item | CPU-s | of the bound | CPU-s of {FEW_ROWS:,} rows |",
            "| --- | --- | --- | --- |",
            *(
                f"| {item} | {s:.2f} | {s / bound:.1%} | {job['items_of_few_rows_s'].get(item, 0.0):.2f} |"
                for item, s in sorted(job["items_s"].items())
            ),
            "",
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
