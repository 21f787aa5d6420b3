"""Permutation importance of the job, against bare forward passes of the same network and scikit-learn's.

    .venv/bin/python -m benchmarks.permutation [--rows 10000] [--repeats 5]

Prints a Markdown table and writes benchmarks/results/permutation.json. All times are CPU time of this process for one
row, feature and repeat, one thread for TensorFlow on all sides; what is compared runs in turn; figures are medians.

- bound: a forward pass of the 100-64-64-1 network, nothing else, in one compiled function over rows in memory, at its
  best batch size. Permuting and scoring are not in it.
- job: what the items of permutation importance take in a whole job of 10 slices: rows are encoded up to the narrow cut,
  donors looked up, permuted rows predicted, losses and score histograms summed by slice, importances and their
  intervals (drops and ratios of three metrics, by slice) finished.
- scikit-learn: permutation_importance on the same network and fewer rows, log loss alone, without slices or intervals.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.inspection import permutation_importance

from benchmarks import job, network
from benchmarks.items import PERMUTATION

RESULT = pathlib.Path(__file__).parent / "results" / "permutation.json"
ROWS, REPEATS, PEER_ROWS, ROUNDS = 10_000, 5, 2048, 3
OURS = tuple(dict.fromkeys(item for item, _, _ in PERMUTATION))


class Network(ClassifierMixin, BaseEstimator):
    """The network as scikit-learn takes it."""

    def __init__(self, function: Any = None):
        self.function = function
        self.classes_ = np.array([0, 1])

    def fit(self, x: np.ndarray, y: np.ndarray) -> Network:
        """Nothing: the weights are there."""
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Probabilities of both classes."""
        p = 1 / (1 + np.exp(-self.function(tf.constant(x)).numpy()[:, 0].astype(np.float64)))
        return np.stack([1 - p, p], axis=1)


def measure(rows: int, repeats: int, rounds: int) -> dict[str, Any]:
    """All three in turn: CPU microseconds of a row, feature and repeat."""
    table = network.values(rows)
    pairs = rows * network.FEATURES * repeats
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        logit = network.export(str(folder / "model"))
        network.write_rows(folder / "rows", table)
        bares = {batch: network.forwards(logit, table, batch) for batch in network.BATCHES if batch <= rows}
        best = min(bares, key=lambda b: statistics.median(job.timed(bares[b]) for _ in range(5)) / (rows // b * b))
        covered = rows // best * best
        peer = Network(tf.function(lambda x: logit(x), autograph=False))
        few = table[:PEER_ROWS]
        label = (np.arange(len(few)) % 3 == 0).astype(int)
        peer.predict_proba(few)  # traces
        bound, ours, theirs = [], [], []
        for _ in range(rounds):
            bare = statistics.median(job.timed(bares[best]) for _ in range(9))
            bound.append(1e6 * bare / covered)
            spent = job.run_job(folder, folder / "rows", 10, rows, repeats, PERMUTATION)
            ours.append({item: 1e6 * spent.get(item, 0.0) / pairs for item in OURS})
            seconds = job.timed(
                lambda: permutation_importance(
                    peer, few, label, scoring="neg_log_loss", n_repeats=repeats, random_state=0
                )
            )
            theirs.append(1e6 * seconds / (len(few) * network.FEATURES * repeats))
    totals = [sum(items.values()) for items in ours]
    return {
        "rows": rows,
        "features": network.FEATURES,
        "repeats": repeats,
        "bound_batch": best,
        "bound_us": statistics.median(bound),
        "ours_us": statistics.median(totals),
        "items_us": {item: statistics.median(items[item] for items in ours) for item in OURS},
        "scikit_learn_us": statistics.median(theirs),
        "ratio": statistics.median(b / o for b, o in zip(bound, totals, strict=True)),
        "ratio_to_scikit_learn": statistics.median(t / o for t, o in zip(theirs, totals, strict=True)),
    }


def main() -> None:
    """Runs the benchmark, prints the table, writes the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--output", type=pathlib.Path, default=RESULT)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    figures = measure(options.rows, options.repeats, options.rounds)
    lines = [
        ("bare forward pass", figures["bound_us"]),
        *((f"ours: {item}", us) for item, us in figures["items_us"].items()),
        ("ours in all", figures["ours_us"]),
        ("scikit-learn", figures["scikit_learn_us"]),
    ]
    sys.stdout.write(
        f"{figures['rows']:,} rows, {figures['features']} features, {figures['repeats']} repeats; CPU-us of each\n\n"
        "| what | CPU-us |\n| --- | --- |\n"
        + "".join(f"| {name} | {us:.3f} |\n" for name, us in lines)
        + f"\nbound / ours {figures['ratio']:.2f}; scikit-learn / ours {figures['ratio_to_scikit_learn']:.2f}\n"
    )
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
