"""The whole job on each of the engine's models, from TFRecord to Parquet, against the bound of the same network.

    .venv/bin/python -m benchmarks.job_by_model [--models small,wide]

Prints a Markdown table and writes benchmarks/results/job_by_model.json. All times are CPU time of this process, with
one thread for TensorFlow on both sides; the models and their bound are those of `benchmarks.engine`.

- bound: integrated gradients of the bare network at 50 nodes of every row, from encoded rows in memory, in one compiled
  function at its best batch size. It reads nothing, repairs nothing and keeps nothing.
- job: as in `benchmarks.job`, without slices and labels: read, identified, sampled, explained (rows that have not
  converged are integrated again), summed and written.
- around: what any job has to do beside the gradients, by TensorFlow and pyarrow alone (`benchmarks.around`): the file
  is read, each row parsed once, and as many numbers written. Bound / (bound + around) is as near as a job can come.

What the job costs whatever its rows is measured on 4,096 rows; the second ratio leaves it out.
"""

from __future__ import annotations

import pathlib
from typing import Any

from benchmarks.around import reading_and_writing
from benchmarks.by_model import run_models, write_distinct
from benchmarks.engine.bare import Bound
from benchmarks.engine.rules import STEPS, gauss_legendre
from benchmarks.engine.subject import Subject, subject_of
from benchmarks.job import watched_job
from tfx_explain.config import ExplainConfig
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.slicing import Slicing

RESULT = pathlib.Path(__file__).parent / "results" / "job_by_model.json"
ROWS, FEW_ROWS = 102_400, 4096
_COSTLY = {"medium": 2, "cnn": 5}
_HEAD = """\
| model | rows | bound, CPU-s | around | job | bound / job | of what grows | at most | in the network | Beam | decode |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
_NETWORK = ("integrate", "encode", "predict")


def run(pattern: pathlib.Path, subject: Subject, rows: int) -> tuple[dict[str, float], int]:
    """(CPU seconds by item of one job on the first rows, which are written to a file; features that it explained)."""
    write_distinct(pattern, subject.examples[:rows])
    config = ExplainConfig.make({"max_examples": rows, "permutation_importance": {"repeats": 0}})
    seconds, result = watched_job(
        pattern.parent, pattern, JobSpec(subject.path, config, Slicing(()), fingerprint="model")
    )
    if result["rows_explained"] != rows:
        raise ValueError(f"the job must explain {rows} rows of {subject.name}. Received: {result['rows_explained']}")
    return seconds, len(result["features"])


def measure(name: str, folder: pathlib.Path) -> dict[str, Any]:
    """One line of the table."""
    rows = ROWS // _COSTLY.get(name, 1)
    subject = subject_of(name, rows, folder)
    bound = Bound(subject.head, subject.encode(0, 2048), subject.encoded_baseline, *gauss_legendre(STEPS))
    pattern = folder / f"{name}-rows"
    few, _ = run(pattern, subject, FEW_ROWS)
    bound_s = bound.seconds(subject.encode(0, rows))
    items, features = run(pattern, subject, rows)
    around_s = reading_and_writing(pattern, features)
    pattern.unlink()
    bound_s = min(bound_s, bound.seconds(subject.encode(0, rows)))
    total, fixed = sum(items.values()), sum(few.values())
    growing = (total - fixed) * rows / (rows - FEW_ROWS)
    return {
        "model": name,
        "rows": rows,
        "bound_s": bound_s,
        "around_s": around_s,
        "job_s": total,
        "ratio": bound_s / total,
        "ratio_of_what_grows": bound_s / growing,
        "ratio_at_most": bound_s / (bound_s + around_s),
        "network_share": sum(items.get(item, 0.0) for item in _NETWORK) / total,
        "items_s": dict(sorted(items.items())),
        "items_of_few_rows_s": dict(sorted(few.items())),
    }


def _shown(line: dict[str, Any]) -> str:
    cells = [line["model"], f"{line['rows']:,}", *(f"{line[key]:.1f}" for key in ("bound_s", "around_s", "job_s"))]
    cells += [f"{line[key]:.2f}" for key in ("ratio", "ratio_of_what_grows", "ratio_at_most")]
    cells += [f"{line['network_share']:.0%}", *(f"{line['items_s'][item]:.1f}" for item in ("Beam", "decode"))]
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Runs the benchmark, prints the table, writes the results."""
    run_models(_HEAD, measure, _shown, RESULT)


if __name__ == "__main__":
    main()
