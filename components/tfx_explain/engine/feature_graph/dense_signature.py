"""Signatures that take features as tensors, put behind a parser of serialised tf.Examples.

A Keras model exported without a Transform graph, or beside one, is served with tensors. Rows come to us as tf.Examples,
so a parser is put before the signature, or another signature that makes its inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from tfx_explain.engine.feature_graph.errors import SignatureError

_PARSED_AS = {"float_list": tf.float32, "int64_list": tf.int64, "bytes_list": tf.string}
_IN_WORDS = {"float_list": "floats", "int64_list": "ints", "bytes_list": "strings"}
_PARSE_OPS = frozenset(
    {
        "DecodeProtoV2",
        "ParseExample",
        "ParseExampleV2",
        "ParseSequenceExample",
        "ParseSequenceExampleV2",
        "ParseSingleExample",
        "ParseSingleSequenceExample",
    }
)
_EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")


@dataclasses.dataclass(frozen=True)
class _Input:
    """How one raw feature, or one output of a preprocessing function, becomes inputs of a signature.

    Attributes:
        feature: its name.
        parser: how tf.io.parse_example reads it; None where it is not parsed.
        feed: its value -> the signature's inputs by name.
        padded: whether rows are filled up to the longest of their batch.
    """

    feature: str
    parser: Any
    feed: Callable[[Any], dict[str, tf.Tensor]]
    padded: bool = False


def takes_examples(signature: Any) -> bool:
    """Whether a signature (a ConcreteFunction) takes a batch of serialised tf.Examples: it has a parser of its own."""
    specs = list(_input_specs(signature).values())
    return len(specs) == 1 and specs[0].dtype == tf.string and _parses(signature)


class ExampleSignatures:
    """A SavedModel's signatures as functions of serialised tf.Examples, for rows that hold certain features."""

    def __init__(self, signatures: Mapping[str, Any], sample: Sequence[bytes] | np.ndarray) -> None:
        """Looks at which features the sample holds, and of which kind.

        Args:
            signatures: the ConcreteFunctions by name.
            sample: serialised tf.Examples; rows that are none are passed over.
        """
        self._signatures = signatures
        self._held = _features_held(sample)

    def get(
        self, name: str, preprocessing_function: str | None = None, input_features: Mapping[str, str] | None = None
    ) -> tuple[Any, tuple[str, ...]]:
        """The signature as a ConcreteFunction of one batch of serialised tf.Examples, and what was decided on the way.

        A signature that takes serialised tf.Examples is given back as it is. The features of any other are parsed as
        its inputs' shapes say, in the kind that the examples have, and cast. Where an inner dimension is open, rows are
        padded with zeros to the longest of the batch. Ragged and sparse inputs are made of the components that the
        signature exposes under numbered names: `x` and `x_1`; `x`, `x_1` and `x_2`.

        Args:
            name: of the signature.
            preprocessing_function: a signature of the model whose outputs are the inputs of `name`.
            input_features: by input of the signature the raw feature that it takes, where their names differ.

        Raises:
            SignatureError: if there is no such signature, or an input of it cannot be had from the examples.
        """
        if name not in self._signatures:
            raise SignatureError(
                f"signature must be one of {sorted(self._signatures)}. Received: signature={name!r}"
                f"{self._only_other(name, ())}"
            )
        signature, renamed = self._signatures[name], dict(input_features or {})
        specs = _input_specs(signature)
        unknown = sorted(set(renamed) - set(specs))
        if unknown:
            raise SignatureError(f"input_features must name inputs of {name!r}: {sorted(specs)}. Received: {unknown}")
        if takes_examples(signature):
            if preprocessing_function is not None:
                raise SignatureError(
                    f"preprocessing_function must be left out where the signature takes serialised tf.Examples, as "
                    f"{name!r} does. Received: preprocessing_function={preprocessing_function!r}"
                )
            return signature, ()
        if preprocessing_function is not None:
            return self._chained(name, signature, preprocessing_function, renamed)
        inputs = self._inputs(name, signature, renamed)
        return _wrapped(signature, inputs), tuple(_notes(name, specs, inputs))

    def _inputs(self, name: str, signature: Any, renamed: Mapping[str, str]) -> list[_Input]:
        specs = _input_specs(signature)
        groups = _components(specs, lambda key: renamed.get(key, key) in self._held)
        missing = sorted(key for key in groups if renamed.get(key, key) not in self._held)
        if missing:
            raise SignatureError(
                f"signature {name!r} takes tensors, {_described(specs)}, and each must be a feature of the examples. "
                f"Received: no feature {missing}; the examples have {sorted(self._held)}"
                f"{self._way_out(name, specs, missing)}."
            )
        inputs = []
        for key, members in sorted(groups.items()):
            feature = renamed.get(key, key)
            kind = _kind(feature, self._held[feature], specs[_values(members)])
            inputs.append(_parsed_input(feature, kind, members, specs))
        parsers: dict[str, Any] = {}
        for entry in inputs:
            if parsers.setdefault(entry.feature, entry.parser) != entry.parser:
                raise SignatureError(
                    f"inputs of one feature must have one shape. Received: two shapes of feature {entry.feature!r}"
                )
        return inputs

    def _chained(
        self, name: str, signature: Any, preprocessing_function: str, renamed: Mapping[str, str]
    ) -> tuple[Any, tuple[str, ...]]:
        """The signature behind another, of whose outputs it gets exactly those that it takes."""
        if preprocessing_function not in self._signatures:
            raise SignatureError(
                f"preprocessing_function must be one of {sorted(self._signatures)}. Received: "
                f"preprocessing_function={preprocessing_function!r}"
            )
        first, notes = self.get(preprocessing_function)
        outputs, specs = first.structured_outputs, _input_specs(signature)
        missing = sorted({renamed.get(key, key) for key in specs} - set(outputs))
        if missing:
            raise SignatureError(
                f"preprocessing_function must give every input of signature {name!r}. Received: "
                f"{preprocessing_function!r} without {missing}; it gives {sorted(outputs)}"
            )
        inputs = []
        for key, spec in sorted(specs.items()):
            feature = renamed.get(key, key)
            inputs.append(_Input(feature, None, _fitted(key, spec, feature, outputs[feature])))

        def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            transformed = first(examples)
            return dict(signature(**{k: v for i in inputs for k, v in i.feed(transformed[i.feature]).items()}))

        note = f"signature {name!r} is fed by {preprocessing_function!r}"
        return _concrete(serve), (*notes, note)

    def _way_out(self, name: str, specs: Mapping[str, tf.TensorSpec], missing: Collection[str]) -> str:
        makers = [
            other
            for other, signature in sorted(self._signatures.items())
            if other != name and takes_examples(signature) and set(missing) <= set(signature.structured_outputs)
        ]
        if makers:
            return f"; set preprocessing_function to one of {makers}, which makes them"
        return f"; input_features maps inputs to features of other names{self._only_other(name, specs)}"

    def _only_other(self, name: str, specs: Collection[str]) -> str:
        """Names the one other signature that could be explained; nothing where there is none, or a choice."""
        usable = []
        for other, signature in sorted(self._signatures.items()):
            outputs = signature.structured_outputs
            # What makes the inputs of the failing signature is a preprocessing function, no model.
            feeds = bool(specs) and set(specs) <= set(outputs)
            if other == name or feeds or not any(spec.dtype.is_floating for spec in outputs.values()):
                continue
            if takes_examples(signature) or self._can_feed(signature):
                usable.append(other)
        return f"; signature {usable[0]!r} can be used: set signature: {usable[0]}" if len(usable) == 1 else ""

    def _can_feed(self, signature: Any) -> bool:
        specs = _input_specs(signature)
        groups = _components(specs, self._held.__contains__)
        try:
            for key, members in groups.items():
                kind = _kind(key, self._held[key], specs[_values(members)])
                _parsed_input(key, kind, members, specs)
        except (KeyError, SignatureError):
            return False
        return True


def _input_specs(signature: Any) -> dict[str, tf.TensorSpec]:
    return dict(signature.structured_input_signature[1])


def _features_held(sample: Sequence[bytes] | np.ndarray) -> dict[str, list[str]]:
    """By feature that some row has values of, the kinds in which it comes, sorted."""
    held: dict[str, set[str]] = {}
    for serialised in sample:
        try:
            example = tf.train.Example.FromString(serialised)
        except DecodeError:
            continue
        for name, feature in example.features.feature.items():
            kind = feature.WhichOneof("kind")
            if kind is not None and getattr(feature, kind).value:
                held.setdefault(name, set()).add(kind)
    return {name: sorted(kinds) for name, kinds in sorted(held.items())}


def _parses(signature: Any) -> bool:
    graph_def = signature.graph.as_graph_def()
    bodies = [graph_def.node, *(function.node_def for function in graph_def.library.function)]
    return any(node.op in _PARSE_OPS for body in bodies for node in body)


def _components(specs: Mapping[str, tf.TensorSpec], is_feature: Callable[[str], bool]) -> dict[str, tuple[str, ...]]:
    """By name of an input, the inputs that belong to it: itself, or the components of a sparse or ragged tensor."""
    groups: dict[str, tuple[str, ...]] = {}
    taken: set[str] = set()
    for key in sorted(specs):
        values, shape = f"{key}_1", f"{key}_2"
        if {values, shape} <= set(specs) and not is_feature(values):
            like_sparse = (
                _is(specs[key], (None, 2), tf.int64)
                and specs[values].shape.rank == 1
                and _is(specs[shape], (2,), tf.int64)
            )
            if like_sparse:
                groups[key] = (key, values, shape)
                taken.update(groups[key])
                continue
        if values in specs and not is_feature(values) and key not in taken:
            of_splits = _is(specs[values], (None,), tf.int64) or _is(specs[values], (None,), tf.int32)
            if of_splits and specs[key].shape.rank == 1:
                groups[key] = (key, values)
                taken.update(groups[key])
                continue
        if key not in taken:
            groups[key] = (key,)
    return groups


def _is(spec: tf.TensorSpec, shape: tuple[int | None, ...], dtype: tf.DType) -> bool:
    return spec.dtype == dtype and spec.shape.rank == len(shape) and tuple(spec.shape) == shape


def _values(members: Sequence[str]) -> str:
    """The input that holds the values: of a sparse tensor the second component, else the first."""
    return members[1] if len(members) == 3 else members[0]


def _kind(feature: str, kinds: Sequence[str], spec: tf.TensorSpec) -> str:
    """The kind in which the feature is parsed: the one of `kinds` that can become the input's type."""
    if spec.dtype == tf.string:
        fitting = ["bytes_list"]
    elif spec.dtype.is_floating:
        fitting = ["float_list", "int64_list"]
    elif spec.dtype.is_integer or spec.dtype == tf.bool:
        fitting = ["int64_list"]
    else:
        fitting = []
    found = next((kind for kind in fitting if kind in kinds), None)
    if found is None:
        raise SignatureError(
            f"feature {feature!r} must come as {' or '.join(_IN_WORDS[k] for k in fitting) or 'numbers or strings'} to "
            f"be an input of type {spec.dtype.name}. Received: {', '.join(_IN_WORDS[k] for k in kinds)}"
        )
    return found


def _parsed_input(feature: str, kind: str, members: Sequence[str], specs: Mapping[str, tf.TensorSpec]) -> _Input:
    parsed = _PARSED_AS[kind]
    if len(members) == 3:
        indices, values, shape = members
        dtype = specs[values].dtype
        return _Input(
            feature,
            tf.io.VarLenFeature(parsed),
            lambda sparse: {indices: sparse.indices, values: _cast(sparse.values, dtype), shape: sparse.dense_shape},
        )
    (key, *rest), spec = members, specs[members[0]]
    if rest:
        splits = rest[0]
        return _Input(
            feature,
            tf.io.RaggedFeature(parsed, row_splits_dtype=specs[splits].dtype),
            lambda ragged: {key: _cast(ragged.values, spec.dtype), splits: ragged.row_splits},
        )
    if not spec.shape.rank or spec.shape[0] is not None:
        raise SignatureError(
            f"input {key!r} must have a first dimension that is open, for the rows. Received: shape {spec.shape}"
        )
    inner = spec.shape[1:]
    padded = not inner.is_fully_defined()
    if padded and not inner[1:].is_fully_defined():
        raise SignatureError(
            f"input {key!r} may have one open dimension beside the rows, the first of a row. Received: shape "
            f"{spec.shape}"
        )
    parser = tf.io.FixedLenFeature(inner.as_list(), parsed)
    if padded:
        parser = tf.io.FixedLenSequenceFeature(inner[1:].as_list(), parsed, allow_missing=True)
    return _Input(feature, parser, lambda dense: {key: _cast(dense, spec.dtype)}, padded)


def _cast(values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    if values.dtype.is_integer and dtype in (tf.float16, tf.bfloat16):
        # Paths between ints are walked in float32, then rounded as any other float of the model's.
        values = tf.cast(values, tf.float32)
    return values if values.dtype == dtype else tf.cast(values, dtype)


def _fitted(key: str, spec: tf.TensorSpec, feature: str, output: Any) -> Callable[[Any], dict[str, tf.Tensor]]:
    """Casts an output of the preprocessing function to an input of the signature, and gives [rows] a last dimension."""
    if not isinstance(output, tf.TensorSpec):
        raise SignatureError(
            f"output {feature!r} of the preprocessing function must be dense to become input {key!r}. Received: "
            f"{type(output).__name__}"
        )
    numbers = (
        output.dtype.is_floating or output.dtype.is_integer or output.dtype == tf.bool
    ) and spec.dtype.is_floating
    if output.dtype != spec.dtype and not (numbers or (output.dtype.is_integer and spec.dtype.is_integer)):
        raise SignatureError(
            f"output {feature!r} of the preprocessing function must fit input {key!r} of type {spec.dtype.name}. "
            f"Received: {output.dtype.name}"
        )
    widen = output.shape.rank == 1 and spec.shape.rank == 2
    narrow = output.shape.rank == 2 and spec.shape.rank == 1 and output.shape[1] == 1

    def feed(value: tf.Tensor) -> dict[str, tf.Tensor]:
        value = value[:, None] if widen else value[:, 0] if narrow else value
        return {key: _cast(value, spec.dtype)}

    return feed


def _wrapped(signature: Any, inputs: Sequence[_Input]) -> Any:
    parsers = {entry.feature: entry.parser for entry in inputs}

    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, parsers)
        # Keras binds by position where a dict has one key too many: the signature gets its own inputs, no others.
        return dict(signature(**{k: v for entry in inputs for k, v in entry.feed(parsed[entry.feature]).items()}))

    return _concrete(serve)


def _concrete(serve: Callable[[tf.Tensor], dict[str, tf.Tensor]]) -> Any:
    return tf.function(serve, autograph=False, input_signature=[_EXAMPLES]).get_concrete_function()


def _described(specs: Mapping[str, tf.TensorSpec]) -> dict[str, str]:
    return {key: f"{spec.dtype.name} {spec.shape}" for key, spec in sorted(specs.items())}


def _notes(name: str, specs: Mapping[str, tf.TensorSpec], inputs: Sequence[_Input]) -> list[str]:
    features = [entry.feature for entry in inputs]
    notes = [f"signature {name!r} takes tensors: they are read from the features {features} by its inputs' shapes"]
    if len(specs) == 1 and next(iter(specs.values())).dtype == tf.string:
        notes.append(
            f"input {next(iter(specs))!r} is taken for the string feature {inputs[0].feature!r}, since the signature "
            "parses no tf.Examples itself"
        )
    padded = sorted({entry.feature for entry in inputs if entry.padded})
    if padded:
        notes.append(f"features of any length, padded with zeros or empty strings to the longest of a batch: {padded}")
    return notes
