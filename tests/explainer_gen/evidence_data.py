"""A planted linear model, rows for it, runs of the Beam job on them, and what its artifact holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from tests.fixtures.exported_models.examples import serialise

from tfx_explain.artifacts.manifest import read_manifest, verify
from tfx_explain.config import CostConfig, ExplainConfig
from tfx_explain.engine.methods.permutation import Donors
from tfx_explain.explainer_gen.columns import decode
from tfx_explain.explainer_gen.cost import COST_FILE
from tfx_explain.explainer_gen.job import release_models
from tfx_explain.explainer_gen.row_ids import hexadecimal, row_ids
from tfx_explain.explainer_gen.run import EXAMPLES_FILE, Request, run

RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
NAMES = ("a", "b", "c")
WEIGHTS = (1.5, -1.0, 0.5)

Row = Mapping[str, Sequence[Any]]


def planted(path: Path, sigmoid: bool) -> str:
    """Exports 1.5 a - b + 0.5 c, behind a sigmoid or bare; `transformed_features` gives the whole part of a."""
    examples = [tf.TensorSpec([None], tf.string, name="examples")]
    spec = {name: tf.io.FixedLenFeature([1], tf.float32) for name in NAMES}
    module = tf.Module()

    @tf.function(input_signature=examples)
    def serve(examples):
        parsed = tf.io.parse_example(examples, spec)
        score = tf.matmul(tf.concat([parsed[n] for n in NAMES], 1), tf.constant(WEIGHTS, tf.float32)[:, None])
        return {"outputs": tf.sigmoid(score) if sigmoid else score}

    @tf.function(input_signature=examples)
    def transform(examples):
        return {"band": tf.cast(tf.floor(tf.io.parse_example(examples, spec)["a"]), tf.int64)}

    module.serve, module.transform = serve, transform
    tf.saved_model.save(
        module, str(path), signatures={"serving_default": module.serve, "transformed_features": module.transform}
    )
    return str(path)


def config(**settings: Any) -> ExplainConfig:
    """Few nodes (the model is linear), a baseline of zeros, no forecast: only what a test is about."""
    given = {
        "batch_size": 256,
        "integrated_gradients": {"num_steps": 4},
        "input_baseline": dict.fromkeys(NAMES, 0.0),
        "permutation_importance": {"repeats": 0},
        "cost": CostConfig(forecast=False),
    }
    return ExplainConfig(**(given | settings))


def write_examples(path: Path, rows: Iterable[Row]) -> str:
    """One TFRecord file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            writer.write(serialise(row))
    return str(path)


def explain(
    output: Path,
    model: str,
    examples: str,
    config: ExplainConfig,
    workers: int = 1,
    read_batch_size: int = 1000,
    evaluation: str | None = None,
) -> dict[str, Any]:
    """Runs the job; its summary."""
    arguments = [RUNNER]
    if workers > 1:
        arguments += ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    request = Request(
        output=str(output),
        model_uri="the model",
        serving_path=model,
        patterns=[(0, examples)],
        config=config,
        evaluation=evaluation,
        read_batch_size=read_batch_size,
    )
    summary = run(request, lambda: beam.Pipeline(options=PipelineOptions(arguments)))
    release_models()
    assert summary == json.loads((output / "summary.json").read_text())
    return summary


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a finished artifact but those that tell how long the job took, and on which files."""
    manifest = read_manifest(str(folder), "ModelAttributions")
    verify(manifest)
    return {path: digest for path, digest in manifest.sha256.items() if path not in (COST_FILE, EXAMPLES_FILE)}


def row_table(folder: Path) -> pd.DataFrame:
    """The row files, by rising id."""
    files = [p for p in read_manifest(str(folder), "ModelAttributions").sha256 if p.startswith("Split-")]
    table = pd.concat([pq.read_table(folder / path).to_pandas() for path in files])
    return table.sort_values("id").reset_index(drop=True)


def table(folder: Path, name: str) -> pd.DataFrame:
    """One of the artifact's tables."""
    return pq.read_table(folder / name).to_pandas()


def statistics(folder: Path) -> pd.DataFrame:
    """slice_statistics.parquet by (slice, feature, statistic)."""
    return table(folder, "slice_statistics.parquet").set_index(["slice", "feature", "statistic"]).sort_index()


def in_slice(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Bool [rows]: which rows say that they belong to a slice."""
    return np.array([name in slices for slices in rows["slice"]])


class Permuted:
    """Permutation importance by brute force: examples are spliced, and the untouched signature predicts them.

    Attributes:
      rows: the distinct labelled rows, by rising id, which is their rank.
      label, weight: float64 [n].
      ids: hexadecimal [n].
    """

    def __init__(self, model: str, rows: Sequence[Row], label: str, weight: str | None, strata: str | None = None):
        raw = [serialise(row) for row in rows]
        ids = hexadecimal(row_ids(decode(raw), raw))
        self._content = f"{len(ids)}:{sum(int(i, 16) for i in ids) % 2**128:032x}"
        distinct = {i: row for i, row in zip(ids, rows, strict=True) if label in row}
        self.ids = sorted(distinct)
        self.rows = [distinct[i] for i in self.ids]
        count = np.array([ids.count(i) for i in self.ids], float)
        self.label = np.array([row[label][0] for row in self.rows], float)
        own = np.ones(len(count)) if weight is None else np.array([np.float32(row[weight][0]) for row in self.rows])
        self.weight = count * own
        self._donors = Donors.marginal(len(self.rows))
        if strata is not None:
            _, codes = np.unique([row[strata][0] for row in self.rows], return_inverse=True)
            self._donors = Donors.within(codes)
        self._model = tf.saved_model.load(model)

    def predict(self, rows: Sequence[Row]) -> np.ndarray:
        """The signature's output [n]."""
        raw = tf.constant([serialise({n: row[n] for n in NAMES}) for row in rows])
        return self._model.signatures["serving_default"](raw)["outputs"].numpy()[:, 0].astype(np.float64)

    def scores(self, item: str, features: Sequence[str], repeats: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(untouched predictions [n], permuted ones [R, n], weights of the pairs [R, n])."""
        permuted, weight = [], []
        for repeat in range(repeats):
            donor = self._donors.of(np.arange(len(self.rows)), self._content, item, repeat)
            spliced = [
                {**row, **{f: self.rows[d][f] for f in features}} for row, d in zip(self.rows, donor, strict=True)
            ]
            permuted.append(self.predict(spliced))
            weight.append(self.weight * self.weight[donor])
        return self.predict(self.rows), np.array(permuted), np.array(weight)
