"""A ReLU network of 100 numbers, untrained but fixed: as a SavedModel, as rows in a TFRecord, and as the bare bound."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfx_explain.engine.methods.quadrature import gauss_legendre
from tfx_explain.explainer_gen.examples import write_example

FEATURES, NODES = 100, 50
HIDDEN = (64, 64)
LABEL, PLACE, HOUR = "label", "place", "hour"
BATCHES = (512, 1024, 2048, 4096)
_AT_ONCE = 10_000  # rows that are made together
_MARK = 1e4  # in the pattern, feature i holds _MARK + i

Run = Callable[[], object]


def names(features: int = FEATURES) -> list[str]:
    """Of the features that the network reads."""
    return [f"f{i:03d}" for i in range(features)]


def values(rows: int, features: int = FEATURES) -> np.ndarray:
    """What the rows hold: float32 [rows, features], standard normal."""
    return np.random.default_rng(0).standard_normal((rows, features), np.float32)


def export(folder: str, features: int = FEATURES, hidden: Sequence[int] = HIDDEN) -> keras.Model:
    """Writes the network as a SavedModel that takes serialised tf.Examples; gives its layers up to the logit."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(width, activation="relu") for width in hidden]
    logit = keras.Sequential([keras.Input((features,)), *layers, keras.layers.Dense(1)])
    spec = {name: tf.io.FixedLenFeature([1], tf.float32) for name in names(features)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, spec)
        return {"outputs": tf.sigmoid(logit(tf.concat([parsed[name] for name in spec], axis=1)))}

    holder = tf.Module()
    holder.network, holder.serve = logit, serve
    tf.saved_model.save(holder, folder, signatures={"serving_default": serve})
    return logit


def write_rows(path: pathlib.Path, table: np.ndarray, places: int = 5, hours: int = 4) -> None:
    """Writes rows [n, F] as tf.Examples with a label and two features to slice on: bytes of one pattern, replaced."""
    count = table.shape[1]
    features = {name: ("f", (_MARK + i,)) for i, name in enumerate(names(count))}
    pattern = np.frombuffer(
        write_example({**features, LABEL: ("i", (98,)), HOUR: ("i", (99,)), PLACE: ("b", (b"p####",))}), np.uint8
    )
    text = pattern.tobytes()
    at = np.array([text.index(np.float32(_MARK + i).tobytes()) for i in range(count)])[:, None] + np.arange(4)
    label_at, hour_at = (text.index(name.encode() + b"\x12") + len(name) + 6 for name in (LABEL, HOUR))
    place_at = text.index(b"p####") + 1
    if (text[label_at], text[hour_at]) != (98, 99):
        raise ValueError("the pattern must hold one byte an integer. Received: another layout of tf.Example")
    with tf.io.TFRecordWriter(str(path)) as writer:
        for start in range(0, len(table), _AT_ONCE):
            part = table[start : start + _AT_ONCE]
            number = np.arange(start, start + len(part))
            out = np.tile(pattern, (len(part), 1))  # [rows, bytes]
            out[:, at] = part.view(np.uint8).reshape(len(part), count, 4)
            out[:, label_at], out[:, hour_at] = number % 3 == 0, number % hours
            digits = number[:, None] % places // 10 ** np.arange(3, -1, -1) % 10
            out[:, place_at : place_at + 4] = digits + ord("0")
            for row in out:
                writer.write(row.tobytes())


def gradients(logit: keras.Model, table: np.ndarray, batch: int) -> Run:
    """The bound: gradients of every row at all nodes, summed, in one compiled function, `batch` points at a time."""
    nodes, weights = (tf.constant(v, tf.float32) for v in gauss_legendre(NODES))

    @tf.function(autograph=False)
    def integrate(x: tf.Tensor) -> tf.Tensor:
        def step(index: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            points = nodes[index] * x
            return index + 1, total + weights[index] * tf.gradients(logit(points), points)[0]

        return x * tf.while_loop(lambda i, _: i < NODES, step, (0, tf.zeros_like(x)), parallel_iterations=1)[1]

    return _in_batches(integrate, table, batch)


def forwards(logit: keras.Model, table: np.ndarray, batch: int) -> Run:
    """The bound of permutations: one forward pass of every row, `batch` rows at a time."""
    return _in_batches(tf.function(lambda x: logit(x), autograph=False), table, batch)


def _in_batches(function: Callable[[tf.Tensor], tf.Tensor], table: np.ndarray, batch: int) -> Run:
    """Calls a function on full batches; the rest of the rows is left out."""
    parts = [tf.constant(table[start : start + batch]) for start in range(0, len(table) - batch + 1, batch)]
    if not parts:
        raise ValueError(f"rows must fill a batch. Received: {len(table)} rows, batch={batch}")
    function(parts[0])  # traces

    def run() -> np.ndarray:
        for part in parts:
            out = function(part).numpy()
        return out

    return run
