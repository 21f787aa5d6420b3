"""Permutation importance of the job on each of the engine's models, against bare forward passes of the same network.

    .venv/bin/python -m benchmarks.permutation_by_model [--models small,wide]

Prints a Markdown table and writes benchmarks/results/permutation_by_model.json. All times are CPU time of this process
for one row, feature and repeat, with one thread for TensorFlow on both sides; the models are those of
`benchmarks.engine`, with a label drawn at random.

- bound: a forward pass of the bare network from encoded rows in memory, in one compiled function, at the best of a few
  batch sizes with and without XLA. It permutes nothing and scores nothing.
- ours: what the items of `benchmarks.permutation` take in a whole job without slices, of which `predict` are the
  permuted predictions alone.
- scoring: what scikit-learn's AUC, log loss and accuracy of as many predictions cost, once, without slices and
  intervals: ours has the same metrics in its sums.

Both sides run in turn, three times; figures are medians.
"""

from __future__ import annotations

import pathlib
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.around import scoring
from benchmarks.by_model import run_models, write_distinct
from benchmarks.engine.subject import Subject, subject_of
from benchmarks.items import PERMUTATION
from benchmarks.job import timed, watched_job
from benchmarks.permutation import OURS
from tfx_explain.config import ExplainConfig
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.labels import Source
from tfx_explain.explainer_gen.slicing import Slicing

RESULT = pathlib.Path(__file__).parent / "results" / "permutation_by_model.json"
ROWS, REPEATS, ROUNDS = 10_240, 10, 3
_COSTLY = {"medium": 5}
_BATCHES = (512, 2048, 8192)
_LABEL = "random_label"
_HEAD = """\
| model | rows | pairs of a row | bound, us | scoring, us | ours, us | of it predict | bound / ours | bound / predict |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def forwards(subject: Subject, rows: int) -> Callable[[], float]:
    """Microseconds a row of a bare forward pass over these rows, at its best settings."""
    runs: dict[tuple[int, bool], tuple[Callable[[], None], int]] = {}
    for batch in _BATCHES:
        if batch > rows:
            continue
        chunks = [subject.encode(first, first + batch) for first in range(0, rows - batch + 1, batch)]
        for compiled in (False, True):
            function = tf.function(lambda *points: subject.head(list(points)), autograph=False, jit_compile=compiled)

            def run(function: Any = function, chunks: list[Any] = chunks) -> None:
                for chunk in chunks:
                    function(*chunk).numpy()

            try:
                run()
            except tf.errors.OpError:  # XLA refuses the model
                continue
            runs[batch, compiled] = run, batch * len(chunks)

    def microseconds(key: tuple[int, bool]) -> float:
        run, covered = runs[key]
        return 1e6 * statistics.median(timed(run) for _ in range(5)) / covered

    best = min(runs, key=microseconds)
    return lambda: microseconds(best)


def measure(name: str, folder: pathlib.Path) -> dict[str, Any]:
    """One line of the table."""
    rows = ROWS // _COSTLY.get(name, 1)
    subject = subject_of(name, rows, folder)
    pattern = folder / f"{name}-rows"
    write_distinct(pattern, subject.examples, **{_LABEL: np.random.default_rng(0).integers(0, 2, rows)})
    config = ExplainConfig.make({"max_examples": rows, "permutation_importance": {"repeats": REPEATS}})
    spec = JobSpec(subject.path, config, Slicing(()), Source(_LABEL), fingerprint="model")
    bare = forwards(subject, rows)
    bound, ours = [], []
    for _ in range(ROUNDS):
        bound.append(bare())
        seconds, result = watched_job(folder, pattern, spec, PERMUTATION)
        pairs = result["permutation_forwards"]
        ours.append({item: 1e6 * seconds.get(item, 0.0) / pairs for item in OURS})
    totals = [sum(items.values()) for items in ours]
    return {
        "model": name,
        "rows": rows,
        "pairs_of_a_row": pairs // rows,
        "bound_us": statistics.median(bound),
        "scoring_us": 1e6 * statistics.median(scoring(rows) for _ in range(ROUNDS)) / rows,
        "ours_us": statistics.median(totals),
        "items_us": {item: statistics.median(items[item] for items in ours) for item in OURS},
        "ratio": statistics.median(b / o for b, o in zip(bound, totals, strict=True)),
        "ratio_of_predict": statistics.median(b / o["predict"] for b, o in zip(bound, ours, strict=True)),
    }


def _shown(line: dict[str, Any]) -> str:
    cells = [line["model"], f"{line['rows']:,}", f"{line['pairs_of_a_row']:,}"]
    cells += [
        f"{us:.2f}" for us in (line["bound_us"], line["scoring_us"], line["ours_us"], line["items_us"]["predict"])
    ]
    cells += [f"{line[key]:.2f}" for key in ("ratio", "ratio_of_predict")]
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Runs the benchmark, prints the table, writes the results."""
    run_models(_HEAD, measure, _shown, RESULT)


if __name__ == "__main__":
    main()
