"""Signatures that take a dict of dense tensors, put behind a parser of serialised tf.Examples.

A Keras model exported without a Transform graph, or beside one, is served with tensors. Rows come to us as tf.Examples,
so a parser is put before the signature, with a fixed-length feature for each input.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfx_explain.engine.feature_graph.errors import SignatureError

_PARSERS = frozenset({"ParseExample", "ParseExampleV2", "ParseSingleExample", "DecodeProtoV2"})


def takes_examples(signature: Any) -> bool:
    """Whether a signature (a ConcreteFunction) takes a batch of serialised tf.Examples: it has a parser of its own."""
    inputs = _inputs(signature)
    one_string = len(inputs) == 1 and next(iter(inputs.values())).dtype == tf.string
    return one_string and bool(_PARSERS & _op_types(signature.graph))


def behind_parser(signature: Any, name: str) -> Any:
    """The signature as a ConcreteFunction of serialised tf.Examples, bytes [rows].

    An input [rows] or [rows, ...] is read from the feature of its name; one whose second dimension is open is padded
    with zeros (empty strings) to the longest row of the batch. Ints of any size are read as int64 and floats as
    float32, as a tf.Example has them, and cast.

    Args:
        signature: with dense inputs.
        name: of the signature, for errors.

    Raises:
        SignatureError: if an input cannot be a feature of a tf.Example.
    """
    inputs = _inputs(signature)
    spec = {key: _feature(key, value, name) for key, value in sorted(inputs.items())}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples: tf.Tensor) -> Mapping[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, spec)
        return signature(**{key: _cast(parsed[key], value.dtype) for key, value in inputs.items()})

    return serve.get_concrete_function()


def behind_transform(signature: Any, name: str, transform: Any, transform_name: str) -> Any:
    """The signature, fed by another that maps serialised tf.Examples to transformed features.

    Args:
        signature: with dense inputs.
        name: of the signature, for errors.
        transform: the other, a ConcreteFunction of serialised tf.Examples.
        transform_name: its name.

    Raises:
        SignatureError: if the other takes no examples, or lacks a feature that the signature wants.
    """
    if not takes_examples(transform):
        raise SignatureError(
            f"preprocessing_function must take serialised tf.Examples. Received: {transform_name!r} with the inputs "
            f"{sorted(_inputs(transform))}"
        )
    inputs, given = _inputs(signature), transform.structured_outputs
    missing = sorted(set(inputs) - set(given))
    if missing:
        raise SignatureError(
            f"preprocessing_function must give every input of signature {name!r}. Received: {transform_name!r} without "
            f"{missing}; it gives {sorted(given)}"
        )
    (examples_name,) = _inputs(transform)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples: tf.Tensor) -> Mapping[str, tf.Tensor]:
        transformed = transform(**{examples_name: examples})
        fed = {}
        for key, value in inputs.items():
            tensor = _cast(transformed[key], value.dtype)
            inner = value.shape[1:]
            if inner.is_fully_defined():  # [rows] and [rows, 1] are one feature
                tensor = tf.reshape(tensor, [-1, *inner])
            fed[key] = tensor
        return signature(**fed)

    return serve.get_concrete_function()


def check_names(inputs: Collection[str], examples: Sequence[bytes], name: str, functions: Sequence[str]) -> None:
    """Checks that the examples have features of the signature's names.

    Args:
        inputs: names of the signature's dense inputs.
        examples: serialised tf.Examples.
        name: of the signature.
        functions: signatures of the model that map examples to other features.

    Raises:
        SignatureError: naming the inputs that no example has.
    """
    found: set[str] = set()
    for example in examples:
        try:
            found.update(tf.train.Example.FromString(example).features.feature)
        except Exception:
            continue
    missing = sorted(set(inputs) - found)
    if not missing:
        return
    way_out = f"; set preprocessing_function to one of {sorted(functions)} if it makes them" if functions else ""
    raise SignatureError(
        f"signature {name!r} takes tensors, and each must be a feature of the examples. Received: no feature "
        f"{missing}; the examples have {sorted(found)}{way_out}."
    )


def dense_inputs(signature: Any) -> tuple[str, ...]:
    """Names of the signature's inputs, sorted."""
    return tuple(sorted(_inputs(signature)))


def _inputs(signature: Any) -> dict[str, tf.TensorSpec]:
    return dict(signature.structured_input_signature[1])


def _op_types(graph: Any) -> set[str]:
    definition = graph.as_graph_def()
    types = {node.op for node in definition.node}
    return types | {node.op for function in definition.library.function for node in function.node_def}


def _feature(key: str, spec: Any, name: str) -> Any:
    if not isinstance(spec, tf.TensorSpec) or spec.shape.rank is None or spec.shape.rank < 1:
        raise SignatureError(
            f"an input of signature {name!r} must be a dense tensor with rows. Received: {key!r}, {spec}. Export a "
            "signature that takes serialised tf.Examples."
        )
    if spec.dtype == tf.string:
        dtype = tf.string
    elif spec.dtype.is_floating:
        dtype = tf.float32
    elif spec.dtype.is_integer or spec.dtype == tf.bool:
        dtype = tf.int64
    else:
        raise SignatureError(
            f"an input of signature {name!r} must hold floats, ints, booleans or strings. Received: {key!r}, "
            f"{spec.dtype.name}"
        )
    inner = list(spec.shape[1:])
    if None not in inner:
        return tf.io.FixedLenFeature(inner, dtype)
    if None in inner[1:]:
        raise SignatureError(
            f"an input of signature {name!r} may have one open dimension beside the rows. Received: {key!r}, "
            f"{spec.shape}. Export a signature that takes serialised tf.Examples."
        )
    return tf.io.FixedLenSequenceFeature(inner[1:], dtype, allow_missing=True)


def _cast(tensor: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return tensor if tensor.dtype == dtype else tf.cast(tensor, dtype)
