"""A signature whose output is the name of a class, as one that gives the class's number."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from tfx_explain.engine.feature_graph.loading import LoadedSignature

UNKNOWN = -1
"""Number of a name that is none of the classes'."""


def with_numbered_classes(loaded: LoadedSignature, output: str | None, class_names: Sequence[str]) -> LoadedSignature:
    """The signature with its one string a row as int64 [rows], UNKNOWN for other names; others as they are.

    Args:
        loaded: a signature of serialised tf.Examples.
        output: the one that is asked for; None where every output is of strings and there is one alone.
        class_names: of the numbers 0, 1, ...
    """
    outputs = loaded.signature.structured_outputs
    asked = output if output is not None or len(outputs) > 1 else next(iter(outputs), None)
    key = str(asked)
    spec = outputs.get(asked)
    if spec is None or spec.dtype != tf.string or spec.shape.rank not in (1, 2) or spec.shape[1:].num_elements() != 1:
        return loaded
    names = tf.constant(list(class_names))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")], autograph=False)
    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        found = loaded.signature(examples)[key]
        same = tf.equal(tf.reshape(found, [-1, 1]), names)  # [rows, classes]
        number = tf.argmax(tf.cast(same, tf.int32), axis=1, name="number_of_class")
        return {key: tf.where(tf.reduce_any(same, axis=1), number, tf.constant(UNKNOWN, tf.int64))}

    note = f"output {key!r} is told by the numbers of class_names, {UNKNOWN} where it is none of them"
    return dataclasses.replace(loaded, signature=serve.get_concrete_function(), notes=(*loaded.notes, note))
