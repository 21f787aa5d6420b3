"""Which tensors have one row, of one shape, for each example, whatever the other examples are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.flat_graph import FlatGraph
from tfx_explain.engine.feature_graph.raw_segments import put_together, take_apart
from tfx_explain.engine.feature_graph.rounding import TOLERANCE, relative_difference
from tfx_explain.engine.feature_graph.sources import Sources

_CANNOT_BE_FED = (tf.variant, tf.resource)


def row_bytes(
    flat: FlatGraph, tensors: Mapping[str, Collection[str]], sources: Sources, sample: np.ndarray
) -> dict[str, int]:
    """Tries out which tensors belong to the examples row by row.

    Such a tensor has as many rows as the batch, and a row's value goes with its example: into a batch of one, and to
    another place in the batch. A sparse feature with exactly one value in every row of the sample looks the same, so
    it is also looked at with that feature missing from every other row and, where the graph does not tell the width,
    with its values given twice.

    Args:
        flat: the graph.
        tensors: by tensor name, the raw features that it depends on.
        sources: the parsers of the graph.
        sample: serialised tf.Examples, bytes [rows].

    Returns:
        By name of those that do, in the order of `tensors`, the bytes of a row; for strings, how many there are.
    """
    varying = {name for name, outputs in sources.features.items() if _varies(outputs)}
    pieces = {tensor.name for name in varying for tensor in sources.features[name]}
    names = [name for name in tensors if name not in pieces and flat.tensor(name).dtype not in _CANNOT_BE_FED]
    if not names:
        return {}
    function = flat.function(flat.input_names, names)

    def run(rows: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, (value.numpy() for value in function(tf.constant(rows))), strict=True))

    together, alone, backwards = run(sample), run(sample[:1]), run(sample[::-1])
    of_rows = {}
    for name, values in together.items():
        if not np.ndim(values) or len(values) != len(sample) or np.shape(alone[name]) != (1, *values.shape[1:]):
            continue
        if _same(values[:1], alone[name]) and _same(values[::-1], backwards[name]):
            of_rows[name] = values
    for feature in sorted(varying):
        _keep_of_varying_feature(of_rows, feature, flat, tensors, sample)
    return {
        name: values[:1].size * (1 if values.dtype == object else values.itemsize) for name, values in of_rows.items()
    }


def shapes_that_vary(flat: FlatGraph, names: Sequence[str], sources: Sources, sample: np.ndarray) -> set[str]:
    """Names of tensors whose shape changes with how many values the rows have, whatever the lengths in the sample.

    The features that may have any number of values are taken out of every other row, and given twice; all at once, and
    one by one where the model refuses that.

    Args:
        flat: the graph.
        names: of tensors that are fed or fetched, each [rows, ...] on the sample.
        sources: the parsers of the graph.
        sample: serialised tf.Examples, bytes [rows].
    """
    varying = [name for name, outputs in sources.features.items() if _varies(outputs)]
    if not varying or not names:
        return set()
    function = flat.function(flat.input_names, names)
    shapes = [value.shape for value in function(tf.constant(sample))]
    changed: set[str] = set()

    def tried(rows: np.ndarray) -> bool:
        try:
            values = function(tf.constant(rows))
        except tf.errors.InvalidArgumentError:
            return False  # the model does not take such rows
        changed.update(name for name, v, shape in zip(names, values, shapes, strict=True) if v.shape != shape)
        return True

    for vary in (_without_every_other, _with_all_twice):
        if not tried(vary(sample, varying)) and len(varying) > 1:
            for feature in varying:
                tried(vary(sample, [feature]))
    return changed


def _without_every_other(sample: np.ndarray, features: Sequence[str]) -> np.ndarray:
    rest, segments = take_apart(sample, features)
    for values in segments.values():
        values[::2] = b""
    return put_together(rest, list(segments.values()))


def _with_all_twice(sample: np.ndarray, features: Sequence[str]) -> np.ndarray:
    rows = sample
    for feature in features:
        rest, segments = take_apart(rows, [feature])
        rows = _twice(rest, segments[feature], feature)
    return rows


def _varies(outputs: Sequence[tf.Tensor]) -> bool:
    """Whether a feature may have any number of values: the parser gives it in pieces, or with an open width."""
    if len({tensor.op for tensor in outputs}) < len(outputs):
        return True
    return not all(tensor.shape[1:].is_fully_defined() for tensor in outputs)


def _keep_of_varying_feature(
    of_rows: dict[str, np.ndarray],
    feature: str,
    flat: FlatGraph,
    tensors: Mapping[str, Collection[str]],
    sample: np.ndarray,
) -> None:
    """Takes out what does not keep its shape when rows have none of the feature's values, or more."""
    rest, segments = take_apart(sample, [feature])
    every_other = segments[feature].copy()
    every_other[::2] = b""
    open_width = [name for name in of_rows if not flat.tensor(name).shape[1:].is_fully_defined()]
    tried = [
        ([name for name in of_rows if feature in tensors[name]], put_together(rest, [every_other])),
        ([name for name in open_width if feature in tensors[name]], _twice(rest, segments[feature], feature)),
    ]
    for names, rows in tried:
        names = [name for name in names if name in of_rows]
        if not names:
            continue
        try:
            values = flat.function(flat.input_names, names)(tf.constant(rows))
        except tf.errors.InvalidArgumentError:
            continue  # the model does not take such rows
        for name, value in zip(names, values, strict=True):
            if value.shape != of_rows[name].shape:
                del of_rows[name]


def _twice(rest: np.ndarray, segments: np.ndarray, feature: str) -> np.ndarray:
    """The rows, every feature's list of values followed by itself."""
    doubled = np.empty(len(segments), dtype=object)
    for row, segment in enumerate(segments):
        example = tf.train.Example.FromString(segment)
        if segment:
            values = example.features.feature[feature]
            values.MergeFrom(tf.train.Feature.FromString(values.SerializeToString()))
        doubled[row] = example.SerializeToString(deterministic=True)
    return put_together(rest, [doubled])


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return relative_difference(a, b) <= TOLERANCE
