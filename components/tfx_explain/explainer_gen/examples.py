"""tf.Examples written canonically: equal content is equal bytes in every process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

Values = tuple[str, Sequence[float | int | bytes]]
"""(kind, values): kind is `i`, `f` or `b`."""

_FIELDS = {"i": "int64_list", "f": "float_list", "b": "bytes_list"}


def write_example(features: Mapping[str, Values]) -> bytes:
    """Serialises features; names are written in order, empty features left out."""
    example = tf.train.Example()
    for name in sorted(features):
        kind, values = features[name]
        if len(values):
            getattr(example.features.feature[name], _FIELDS[kind]).value.extend(values)
    return example.SerializeToString(deterministic=True)


def read_example(raw: bytes) -> dict[str, Values]:
    """The inverse of `write_example`, for a tf.Example of any origin."""
    out: dict[str, Values] = {}
    for name, feature in tf.train.Example.FromString(raw).features.feature.items():
        for kind, field in _FIELDS.items():
            values = getattr(feature, field).value
            if len(values):
                out[name] = kind, tuple(values)
    return out


def canonical(raw: bytes) -> bytes:
    """The same content in canonical bytes; a record that is no tf.Example stays as it is."""
    try:
        return write_example(read_example(raw))
    except Exception:  # protobuf's DecodeError has no public home common to its versions
        return raw
