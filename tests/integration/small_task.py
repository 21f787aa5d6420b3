"""A small task with exported models: rides with four features, and a fifth that gives the label away.

Every logit is a bent sum of one term a feature, so a feature's share of the attribution is about its weight's.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf
from tests.fixtures.exported_models.examples import serialise

COMPANIES = {"blue": 0.9, "green": -0.7, "red": 0.5, "yellow": -0.3}
HONEST = {"fare": 1.0, "miles": -0.9, "hour": 0.8}
LEAK = {"payment": 6.0}
EVAL_ROWS = 1200
"""Over the 1,000 effective rows that the gate asks for by default."""


@dataclasses.dataclass(frozen=True)
class Task:
    """Examples and models as ExampleGen and Trainer leave them.

    Attributes:
      root: holds `examples`, with two splits, and below `models` one folder a model.
    """

    root: Path

    @property
    def examples(self) -> str:
        """URI of the Examples."""
        return str(self.root / "examples")

    def model(self, name: str) -> str:
        """URI of a Model: `honest_1` to `honest_6` are retrains of each other, `leaky` leans on the leak."""
        return str(self.root / "models" / name)

    @classmethod
    def export(cls, root: Path) -> Task:
        """Writes everything."""
        task, random = cls(root), np.random.default_rng(0)
        _write_split(root / "examples" / "Split-train", 64, random)
        _write_split(root / "examples" / "Split-eval", EVAL_ROWS, random)
        for number in range(1, 7):
            noise = np.random.default_rng(number).normal(1, 0.05, len(HONEST))
            weights = {name: w * n for (name, w), n in zip(HONEST.items(), noise, strict=True)}
            _export(Path(task.model(f"honest_{number}")), weights)
        _export(Path(task.model("leaky")), HONEST | LEAK)
        return task


def _write_split(folder: Path, rows: int, random: np.random.Generator) -> None:
    """Two compressed shards."""
    folder.mkdir(parents=True)
    numbers = {name: random.normal(size=rows).astype(np.float32) for name in (*HONEST, *LEAK)}
    companies = random.choice(list(COMPANIES), size=rows)
    raw = [
        serialise({"company": [str(companies[i])]} | {name: [float(column[i])] for name, column in numbers.items()})
        for i in range(rows)
    ]
    for shard in range(2):
        with tf.io.TFRecordWriter(str(folder / f"data_tfrecord-{shard:05d}-of-00002.gz"), "GZIP") as writer:
            for example in raw[shard::2]:
                writer.write(example)


def _export(uri: Path, weights: dict[str, float]) -> None:
    """A model artifact whose `serving_default` parses serialised examples."""
    spec = {name: tf.io.FixedLenFeature([1], tf.float32) for name in weights}
    spec["company"] = tf.io.FixedLenFeature([1], tf.string)
    module = tf.Module()
    module.vocabulary = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(list(COMPANIES), tf.range(len(COMPANIES), dtype=tf.int64)), -1
    )
    module.weights = {name: tf.Variable(weight, dtype=tf.float32) for name, weight in weights.items()}
    module.effects = tf.Variable([[effect] for effect in COMPANIES.values()], dtype=tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        parsed = tf.io.parse_example(examples, spec)
        one_hot = tf.one_hot(module.vocabulary.lookup(parsed["company"][:, 0]), len(COMPANIES))
        total = tf.matmul(one_hot, module.effects)
        for name, weight in module.weights.items():
            total += weight * parsed[name]
        return {"outputs": tf.sigmoid(total + 0.3 * tf.tanh(total))}

    module.serve = serve
    tf.saved_model.save(module, str(uri / "Format-Serving"), signatures={"serving_default": serve})
