"""Random small models over tf.Examples: drawn preprocessing, a drawn smooth network, and what they stand for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st
from tests.engine.feature_graph.small_models import save
from tests.fixtures.exported_models.examples import serialise

SMOOTH = ("raw", "z_score", "log1p", "integer")
ENCODINGS = (*SMOOTH, "clip", "buckets", "hash", "filled", "raw_and_buckets", "unread")
CLIP = (-1.0, 1.5)
_BOUNDARIES = (-0.7, 0.0, 0.8)
_HASH_BUCKETS = 5
_WORDS = ("red", "green", "blue", "black", "white", "pink")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A drawn model.

    Attributes:
        encodings: what becomes of the features f0, f1, ...
        cross: the features (numbers) whose buckets are crossed and hashed, or None.
        activation: of the hidden layers.
        width: units of a hidden layer.
        blocks: hidden layers after the first: `dense`, `residual`, `product` or `batch_norm`.
        seed: of weights and rows.
    """

    encodings: tuple[str, ...]
    cross: tuple[int, int] | None
    activation: str
    width: int
    blocks: tuple[str, ...]
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """The raw features."""
        return tuple(f"f{index}" for index in range(len(self.encodings)))

    def features(self, *encodings: str) -> list[str]:
        """The raw features that are encoded in one of these ways."""
        return [name for name, encoding in zip(self.names, self.encodings, strict=True) if encoding in encodings]


@st.composite
def recipes(draw: Callable) -> Recipe:
    """Models that read at least two features apart from the cross."""
    encodings = draw(st.lists(st.sampled_from(ENCODINGS), min_size=2, max_size=5))
    encodings += ["raw", "buckets"][: max(0, 2 - sum(encoding != "unread" for encoding in encodings))]
    numbers = [index for index, encoding in enumerate(encodings) if encoding not in ("hash", "filled", "integer")]
    pairs = [(a, b) for a in numbers for b in numbers if a < b]
    return Recipe(
        encodings=tuple(encodings),
        cross=draw(st.none() | st.sampled_from(pairs)) if pairs else None,
        activation=draw(st.sampled_from(("tanh", "swish", "gelu"))),
        width=draw(st.integers(3, 9)),
        blocks=tuple(draw(st.lists(st.sampled_from(("dense", "residual", "product", "batch_norm")), max_size=3))),
        seed=draw(st.integers(0, 2**16)),
    )


class RandomModel:
    """What a recipe makes.

    Attributes:
        recipe: of the model.
        rows: raw rows, {feature: values}.
        baseline: the input baseline, a raw row that has every feature.
    """

    def __init__(self, recipe: Recipe, rows: int) -> None:
        self.recipe = recipe
        rng = np.random.default_rng(recipe.seed)
        self.rows = [self._row(rng) for _ in range(rows)]
        self.baseline = self._row(rng, missing=0.0)
        self._network = _network(recipe, rng)
        self.spec = {name: _SPECS.get(encoding, _FLOAT) for name, encoding in self._encoded()}

    def save(self, path: Any) -> str:
        """Exports `serving_default`: serialised tf.Examples -> score [rows, 1]."""
        module = tf.Module()
        module.network = self._network
        return save(path, lambda parsed, _: {"score": self.score(self.encode(parsed))}, self.spec, module)

    def encode(self, parsed: Mapping[str, Any]) -> dict[tuple[str, str], tf.Tensor]:
        """The first numbers of each column: raw where only smooth maps follow, else one-hot or filled up.

        Returns:
            By (attributed column, encoding), float32 [rows, n].
        """
        columns = {}
        for name, encoding in self._encoded():
            if encoding == "integer":
                columns[name, encoding] = tf.cast(parsed[name], tf.float32)
            elif encoding in (*SMOOTH, "clip", "raw_and_buckets"):
                columns[name, encoding] = parsed[name]
            elif encoding == "filled":
                filled = parsed[name]
                shape = [filled.dense_shape[0], 1]
                columns[name, encoding] = tf.sparse.to_dense(tf.SparseTensor(filled.indices, filled.values, shape), 0.5)
            elif encoding == "hash":
                bucket = tf.strings.to_hash_bucket_fast(parsed[name], _HASH_BUCKETS)
                columns[name, encoding] = tf.one_hot(bucket[:, 0], _HASH_BUCKETS)
            if encoding in ("buckets", "raw_and_buckets"):
                bucket = tf.raw_ops.Bucketize(input=parsed[name], boundaries=list(_BOUNDARIES))
                columns[name, "buckets"] = tf.one_hot(bucket[:, 0], len(_BOUNDARIES) + 1)
        if self.recipe.cross:
            pair = [self.recipe.names[index] for index in self.recipe.cross]
            buckets = [tf.raw_ops.Bucketize(input=parsed[name], boundaries=list(_BOUNDARIES)) for name in pair]
            joined = tf.strings.join([tf.strings.as_string(bucket) for bucket in buckets], "_")
            crossed = tf.strings.to_hash_bucket_fast(joined, _HASH_BUCKETS)
            columns[" x ".join(pair), "cross"] = tf.one_hot(crossed[:, 0], _HASH_BUCKETS)
        return columns

    def score(self, columns: Mapping[tuple[str, str], tf.Tensor]) -> tf.Tensor:
        """The network on encoded columns, [rows, 1]."""
        inputs = []
        for (_, encoding), tensor in columns.items():
            if encoding == "z_score":
                tensor = (tensor - 0.3) / 1.4
            elif encoding == "log1p":
                tensor = tf.math.log1p(tf.square(tensor))
            elif encoding == "clip":
                tensor = tf.clip_by_value(tensor, *CLIP)
            inputs.append(tensor)
        return self._network(tf.concat(inputs, 1))

    def integrated_gradients(
        self, examples: Sequence[bytes], baseline: bytes, nodes: np.ndarray, weights: np.ndarray
    ) -> dict[str, np.ndarray]:
        """By a tape on the encoded columns; by attributed column, [rows]."""
        x, b = (self.encode(tf.io.parse_example(list(rows), self.spec)) for rows in (examples, [baseline]))
        totals = {key: tf.zeros_like(tensor) for key, tensor in x.items()}
        for node, weight in zip(nodes.astype(np.float32), weights.astype(np.float32), strict=True):
            points = {key: b[key] + node * (x[key] - b[key]) for key in x}
            with tf.GradientTape() as tape:
                tape.watch(points)
                score = self.score(points)
            for key, gradient in tape.gradient(score, points, unconnected_gradients="zero").items():
                totals[key] += weight * gradient
        summed: dict[str, np.ndarray] = {}
        for (column, encoding), total in totals.items():
            part = tf.reduce_sum((x[column, encoding] - b[column, encoding]) * total, 1).numpy()
            summed[column] = summed.get(column, 0) + part
        return summed

    def examples(self) -> list[bytes]:
        """The rows, serialised."""
        return [serialise(row) for row in self.rows]

    def _encoded(self) -> list[tuple[str, str]]:
        return list(zip(self.recipe.names, self.recipe.encodings, strict=True))

    def _row(self, rng: np.random.Generator, missing: float = 0.3) -> dict[str, list[Any]]:
        row: dict[str, list[Any]] = {}
        for name, encoding in self._encoded():
            if encoding == "hash":
                row[name] = [_WORDS[rng.integers(len(_WORDS))]]
            elif encoding == "integer":
                row[name] = [int(rng.integers(-2, 3))]
            elif encoding == "filled" and rng.random() < missing:
                row[name] = []
            else:
                row[name] = [float(np.float32(rng.normal()))]
        return row


_FLOAT = tf.io.FixedLenFeature([1], tf.float32)
_SPECS = {
    "hash": tf.io.FixedLenFeature([1], tf.string),
    "integer": tf.io.FixedLenFeature([1], tf.int64),
    "filled": tf.io.VarLenFeature(tf.float32),
}


def _network(recipe: Recipe, rng: np.random.Generator) -> keras.Model:
    widths = dict.fromkeys(SMOOTH, 1) | {"clip": 1, "filled": 1, "unread": 0, "hash": _HASH_BUCKETS}
    widths |= {"buckets": len(_BOUNDARIES) + 1, "raw_and_buckets": len(_BOUNDARIES) + 2}
    width = sum(widths[encoding] for encoding in recipe.encodings) + (_HASH_BUCKETS if recipe.cross else 0)
    layers = keras.layers
    inputs = keras.Input((width,))
    hidden = layers.Dense(recipe.width, activation=recipe.activation)(inputs)
    for block in recipe.blocks:
        if block == "batch_norm":
            hidden = layers.BatchNormalization()(hidden)
            continue
        new = layers.Dense(recipe.width, activation=recipe.activation)(hidden)
        hidden = {"dense": new, "residual": new + hidden, "product": new * hidden}[block]
    network = keras.Model(inputs, layers.Dense(1)(hidden))
    for weight in network.weights:
        values = rng.normal(size=weight.shape, scale=0.7)
        positive = weight.path.endswith(("moving_variance", "gamma"))
        weight.assign(np.abs(values) + 0.5 if positive else values)
    return network
