"""A network as TFX would have it: an exported SavedModel and serialised tf.Examples, every raw number a feature."""

from __future__ import annotations

import pathlib

import numpy as np
import tensorflow as tf

from benchmarks.engine.networks import Inputs, Network
from benchmarks.engine.peers.tf_network import build, keras


def export(network: Network, folder: pathlib.Path) -> keras.Model:
    """Saves the network behind `serving_default`, with a sigmoid; returns the bare one, columns -> logits."""
    model = build(network)
    module = tf.Module()
    module.model = model
    module.words = tf.Variable(network.words, trainable=False)
    spec = {name: tf.io.FixedLenFeature(_shape(network, name), tf.float32) for name in network.features}
    if network.words.size:
        spec["word"] = tf.io.FixedLenFeature([], tf.string)
        keys = tf.constant([word_of(i).decode() for i in range(len(network.words))])
        values = tf.range(len(network.words), dtype=tf.int64)
        module.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, spec)
        parts = [parsed[name] for name in network.features if name != "word"]
        if network.words.size:
            parts.insert(0, tf.gather(module.words, module.table.lookup(parsed["word"])))
        columns = [tf.reshape(part, [-1, int(np.prod(part.shape[1:]))]) for part in parts]
        columns = tf.concat(columns, axis=1) if len(columns) > 1 else columns[0]
        return {"outputs": tf.sigmoid(model(columns))}

    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    return model


def serialise(network: Network, inputs: Inputs) -> list[bytes]:
    """Rows as tf.Examples: one pattern of bytes in which the numbers, and the word, are replaced."""
    rows = len(inputs.columns)
    numbers = inputs.columns[:, network.words.shape[1] :]  # [rows, numbers]
    marks = np.arange(numbers.shape[1], dtype=np.float32) + np.float32(12345.5)
    floats = [name for name in network.features if name != "word"]
    example = tf.train.Example()
    for name, values in zip(floats, marks.reshape(len(floats), -1), strict=True):
        example.features.feature[name].float_list.value.extend(values.tolist())
    if inputs.word is not None:
        example.features.feature["word"].bytes_list.value.append(b"w####")
    pattern = example.SerializeToString(deterministic=True)
    table = np.tile(np.frombuffer(pattern, np.uint8), (rows, 1))  # [rows, bytes]
    for mark, column in zip(marks, numbers.T, strict=True):
        at = _place(pattern, mark.tobytes())
        table[:, at : at + 4] = np.ascontiguousarray(column)[:, None].view(np.uint8)
    if inputs.word is not None:
        at = _place(pattern, b"w####")
        words = b"".join(word_of(word) for word in inputs.word)
        table[:, at : at + 5] = np.frombuffer(words, np.uint8).reshape(rows, 5)
    return [row.tobytes() for row in table]


def baseline(network: Network) -> list[bytes]:
    """The input baseline as a tf.Example: zeros, and the word of the zero vector."""
    word = np.zeros(1, np.int64) if network.words.size else None
    return serialise(network, Inputs(np.zeros((1, network.num_columns), np.float32), word))


def word_of(index: int) -> bytes:
    """The word of that index, always of one length."""
    return b"w%04d" % index


def _place(pattern: bytes, mark: bytes) -> int:
    if pattern.count(mark) != 1:
        raise ValueError(f"a mark must be in the pattern once. Received: {pattern.count(mark)} times")
    return pattern.index(mark)


def _shape(network: Network, name: str) -> list[int]:
    return list(network.shape) if name == "image" else [1]
