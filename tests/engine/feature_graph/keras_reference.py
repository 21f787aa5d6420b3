"""Integrated gradients by tf.GradientTape on the bare Keras model, from its encoded inputs on."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf
from tests.fixtures.exported_models.export import ExportedModel

_ENCODINGS = ("CategoryEncoding", "Embedding")
_RAW_NAMES = {"number_bucket_xf": "number"}


@dataclasses.dataclass
class Reference:
    """The bare model cut where its inputs are numbers: behind one-hot and embedding layers.

    Attributes:
        features: raw feature of each input.
        encode: transformed features -> one tensor an input.
        head: those tensors -> logits [rows, targets].
    """

    features: list[str]
    encode: Any
    head: Any

    def attributions(self, x, b, target, nodes, weights) -> dict[str, np.ndarray]:
        """By raw feature, [rows]."""
        sums = [tf.zeros_like(tensor) for tensor in x]
        for node, weight in zip(nodes, weights, strict=True):
            points = [start + np.float32(node) * (end - start) for start, end in zip(b, x, strict=True)]
            with tf.GradientTape() as tape:
                tape.watch(points)
                value = tf.gather(self.head(points), target, axis=1, batch_dims=1)
            gradients = tape.gradient(value, points, unconnected_gradients="zero")
            sums = [total + np.float32(weight) * gradient for total, gradient in zip(sums, gradients, strict=True)]
        by_feature: dict[str, np.ndarray] = {}
        for feature, end, start, total in zip(self.features, x, b, sums, strict=True):
            part = tf.reshape((end - start) * total, [len(end), -1]).numpy().sum(axis=1)
            by_feature[feature] = by_feature.get(feature, 0) + part
        return by_feature


@functools.cache
def _dicts_are_sorted() -> bool:
    """Whether Keras hands a dict to a list of inputs sorted by key, as its earlier releases do, and not by their names.

    Trainer and signature call the model with a dict.
    """
    import keras

    first, second = keras.Input((1,), name="b"), keras.Input((1,), name="a")
    model = keras.Model([first, second], keras.layers.Subtract()([first, second]))
    return float(model({"a": tf.ones([1, 1]), "b": tf.zeros([1, 1])})[0, 0]) == 1


def reference(exported: ExportedModel) -> Reference:
    """Reads the bare Keras model of an export."""
    import keras

    model = exported.keras_model()
    entries = []
    for tensor in model.inputs:
        encodings = [layer for layer in model.layers if type(layer).__name__ in _ENCODINGS and layer.input is tensor]
        entries.append(encodings[0].output if encodings else tensor)
    last = [layer for layer in model.layers if type(layer).__name__ == "Dense"][-1]
    encoder = keras.Model(model.inputs, entries)
    body = keras.Model(entries, last.input)
    transform = exported.transform()
    names = [tensor.name for tensor in model.inputs]
    if isinstance(model.input, list) and _dicts_are_sorted():
        names = sorted(names)

    def encode(examples: list[bytes]) -> list[tf.Tensor]:
        transformed = transform(examples)
        inputs = [
            tf.cast(tf.reshape(transformed[name], [-1, 1]), tensor.dtype)
            for name, tensor in zip(names, model.inputs, strict=True)
        ]
        return [tf.cast(tensor, tf.float32) for tensor in encoder(inputs)]

    def head(points: list[tf.Tensor]) -> tf.Tensor:
        return body(points, training=False) @ last.kernel + last.bias

    return Reference([_RAW_NAMES.get(name, name.removesuffix("_xf")) for name in names], encode, head)
