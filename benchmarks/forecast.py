"""How far the forecast of a job is off, on jobs of different rows, slices, networks and permutations.

    .venv/bin/python -m benchmarks.forecast [--repeats 2]

Prints a Markdown table and writes benchmarks/results/forecast.json: of each job the minutes that were forecast from its
first batches over those that it took, less one, by the clock on the wall, as `cost.json` has them. Other work on the
machine moves either side; of each job the run in the middle counts.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import statistics
import sys
import tempfile

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from benchmarks import network
from benchmarks.job import RUNNER, SLICINGS
from tfx_explain.config import ExplainConfig
from tfx_explain.explainer_gen.cost import COST_FILE
from tfx_explain.explainer_gen.run import Request, run

RESULT = pathlib.Path(__file__).parent / "results" / "forecast.json"


@dataclasses.dataclass(frozen=True)
class Job:
    """What is forecast: distinct rows, slices, repeats of permutation importance, widths of the hidden layers."""

    rows: int
    slices: int
    repeats: int
    hidden: tuple[int, ...]


JOBS = (
    Job(20_000, 10, 0, (64, 64)),
    Job(100_000, 50, 0, (64, 64)),
    Job(10_000, 10, 3, (64, 64)),
    Job(20_000, 50, 2, (256, 256, 256)),
)


def off(job: Job, folder: pathlib.Path) -> tuple[float, float]:
    """(minutes forecast over minutes spent, less one; the same of forward equivalents) of one job."""
    model, rows = folder / f"model-{job.hidden}", folder / f"rows-{job.rows}-{job.slices}"
    if not model.exists():
        network.export(str(model), hidden=job.hidden)
    if not rows.exists():
        network.write_rows(rows, network.values(job.rows), *SLICINGS[job.slices])
    config = ExplainConfig.make(
        {
            "splits": ["eval"],
            "max_examples": job.rows,
            "label": {"key": network.LABEL},
            "permutation_importance": {"repeats": job.repeats},
            "slices": {"specs": [{"feature_keys": [network.PLACE]}, {"feature_keys": [network.HOUR]}]},
        }
    )
    with tempfile.TemporaryDirectory(dir=folder) as name:
        request = Request(name + "/out", "model", str(model), [(0, str(rows))], config)
        run(request, lambda: beam.Pipeline(options=PipelineOptions([RUNNER])))
        told = json.loads((pathlib.Path(name) / "out" / COST_FILE).read_text())["off"]
    return told["minutes"], told["forward_equivalents"]


def main() -> None:
    """Runs the jobs, prints the table, writes the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--output", type=pathlib.Path, default=RESULT)
    options = parser.parse_args()
    figures = []
    with tempfile.TemporaryDirectory() as name:
        for job in JOBS:
            found = [off(job, pathlib.Path(name)) for _ in range(options.repeats)]
            minutes, forwards = (statistics.median(values) for values in zip(*found, strict=True))
            figures.append({**dataclasses.asdict(job), "minutes": minutes, "forward_equivalents": forwards})
    lines = [
        "| rows | slices | repeats | hidden layers | minutes are off by | forward equivalents |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {f['rows']:,} | {f['slices']} | {f['repeats']} | {f['hidden']} | {f['minutes']:+.0%} "
            f"| {f['forward_equivalents']:+.1%} |"
            for f in figures
        ),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
