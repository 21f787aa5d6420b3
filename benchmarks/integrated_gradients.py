"""Integrated gradients through an exported graph, against a bare tape loop over the Keras network behind it.

    .venv/bin/python benchmarks/integrated_gradients.py

Prints CPU time of both in turn, and the ratio bare / ours pair by pair: above 1, ours is faster. Both run 50 nodes on
the same rows and agree; ours starts from encoded examples, and also gives predictions, deltas and sums to raw features.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.methods.quadrature import gauss_legendre

FEATURES, ROWS, NODES, PAIRS, FUSED_ROWS = 30, 1024, 50, 9, 2048


def export(folder: str) -> keras.Model:
    """A 30-64-64-1 ReLU network that reads serialised tf.Examples of 30 floats."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(64, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((FEATURES,)), *layers, keras.layers.Dense(1, activation="sigmoid")])
    names = [f"f{i:02d}" for i in range(FEATURES)]
    spec = {name: tf.io.FixedLenFeature([1], tf.float32) for name in names}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, spec)
        return {"outputs": model(tf.concat([parsed[name] for name in names], axis=1))}

    tf.saved_model.save(model, folder, signatures={"serving_default": serve})
    return model


def serialise(row: np.ndarray) -> bytes:
    """One row as a tf.Example."""
    features = {f"f{i:02d}": tf.train.Feature(float_list=tf.train.FloatList(value=[v])) for i, v in enumerate(row)}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def main() -> None:
    """Runs the pairs and prints the table."""
    rows = np.random.default_rng(0).normal(size=(ROWS, FEATURES)).astype(np.float32)
    nodes, weights = gauss_legendre(NODES)
    with tempfile.TemporaryDirectory() as folder:
        model = export(folder)
        examples = [serialise(row) for row in rows]
        ours = FeatureModel.load(folder, sample=examples[:16])
        encoded = ours.encode(examples)
        baseline = ours.encode([serialise(np.zeros(FEATURES))])
        logits = keras.Model(model.inputs, model.layers[-1].output)
        logits.layers[-1].activation = keras.activations.linear
        x = tf.constant(rows)
        steps = FUSED_ROWS // ROWS

        @tf.function(autograph=False)
        def gradient(points: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(points)
                value = logits(points)
            return tape.gradient(value, points)

        def bare() -> np.ndarray:
            total = tf.zeros_like(x)
            for start in range(0, NODES, steps):
                at, by = (tf.constant(v[start : start + steps], tf.float32) for v in (nodes, weights))
                points = tf.reshape(at[:, None, None] * x[None], [-1, FEATURES])  # [steps * rows, features]
                total += tf.tensordot(by, tf.reshape(gradient(points), [-1, ROWS, FEATURES]), 1)
            return (x * total).numpy()

        def engine() -> np.ndarray:
            return ours.path_gradients(encoded, baseline, 0, nodes, weights).attributions

        difference = np.abs(engine() - bare()).max()
        times = {bare: [], engine: []}
        for _ in range(PAIRS):
            for run, spent in times.items():
                start = time.process_time()
                run()
                spent.append(time.process_time() - start)
    ratios = [b / o for b, o in zip(times[bare], times[engine], strict=True)]
    sys.stdout.write(
        f"{ROWS} rows x {NODES} nodes, {FEATURES}-64-64-1 ReLU; largest difference {difference:.1e}\n"
        f"bare tape loop {statistics.median(times[bare]):.3f} CPU-s, "
        f"tfx-explain {statistics.median(times[engine]):.3f} CPU-s; "
        f"ratio median {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})\n"
    )


if __name__ == "__main__":
    main()
