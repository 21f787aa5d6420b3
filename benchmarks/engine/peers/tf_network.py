"""A network in TensorFlow's Keras, 2 or 3."""

from __future__ import annotations

import tensorflow as tf

from benchmarks.engine.networks import Network

keras = tf.keras


class Log1p(keras.layers.Layer):
    """log(1 + x)."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Same shape."""
        return tf.math.log1p(inputs)


def build(network: Network) -> keras.Model:
    """Rows float32 [rows, columns] -> logits [rows, 1]."""
    inputs = keras.Input((network.num_columns,))
    value = keras.layers.Reshape(network.shape)(inputs) if len(network.shape) > 1 else inputs
    made = []
    for layer in network.layers:
        if layer.kind == "dense":
            step = keras.layers.Dense(layer.kernel.shape[1], activation=layer.activation)
        elif layer.kind == "conv":
            height, width, _, filters = layer.kernel.shape
            step = keras.layers.Conv2D(filters, (height, width), layer.stride, "valid", activation=layer.activation)
        else:
            step = Log1p() if layer.kind == "log1p" else keras.layers.Flatten()
        value = step(value)
        made.append(step)
    for step, layer in zip(made, network.layers, strict=True):
        if len(layer.bias):
            step.set_weights([layer.kernel, layer.bias])
    return keras.Model(inputs, value)
