"""Decoding by TensorFlow's parser, several times as fast as without knowing the features, and checked by size."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

_TYPES = {"i": tf.int64, "f": tf.float32, "b": tf.string}
_VARINT_ENDS = np.array([1 << 7 * k for k in range(1, 10)], np.uint64)

Layout = tuple[tuple[str, str], ...]
"""(feature, kind) pairs, sorted; a feature once."""
Parsed = list[tuple[np.ndarray, np.ndarray]]
"""(values, offsets [rows + 1]) of each pair."""


def parse_known(raw: Sequence[bytes], layout: Layout) -> tuple[Parsed, np.ndarray] | None:
    """Values of the known features, and bool [rows]: the row holds nothing else; None where the parser refuses a row.

    A row holds nothing else when it is as long as the encoding of what was found. So a feature that is not known, one
    that is given twice, or one with an empty list shows.

    Args:
      raw: serialised tf.Examples.
      layout: the features that are looked for.
    """
    try:
        flat = _parser(layout)(tf.constant(raw, tf.string))
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError):  # the latter where its message quotes the row
        return None
    parsed = [(values.numpy(), offsets.numpy()) for values, offsets in flat]
    size = np.zeros(len(raw), np.int64)
    for (name, kind), (values, offsets) in zip(layout, parsed, strict=True):
        size += _entry_size(len(name.encode()), kind, values, offsets)
    found = np.where(size > 0, _field(size), 0)
    return parsed, found == np.fromiter(map(len, raw), np.int64, len(raw))


@functools.lru_cache(maxsize=16)
def _parser(layout: Layout) -> Callable[[tf.Tensor], list[tuple[tf.Tensor, tf.Tensor]]]:
    spec = {name: tf.io.RaggedFeature(_TYPES[kind], row_splits_dtype=tf.int64) for name, kind in layout}

    def parse(raw: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        parsed = tf.io.parse_example(raw, spec)
        return [(parsed[name].values, parsed[name].row_splits) for name, _ in layout]

    return tf.function(parse, autograph=False).get_concrete_function(tf.TensorSpec([None], tf.string))


def _entry_size(name: int, kind: str, values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Bytes of a feature's entry in the map of each row, 0 where it has no value: int64 [rows], or [1] for all rows.

    Args:
      name: bytes of the feature's name.
      kind: `i`, `f` or `b`.
      values: [n].
      offsets: [rows + 1].
    """
    rows = len(offsets) - 1
    single = len(values) == rows and bool((offsets[1:] - offsets[:-1] == 1).all())
    if kind == "f" and single:
        return _float_size(name)
    if kind == "f":
        lists = _field(4 * np.diff(offsets))
    else:
        if kind == "i":
            each = _varint(values.view(np.uint64))
        else:
            each = _field(np.fromiter(map(len, values), np.int64, len(values)))
        if not single:
            ends = np.concatenate([[0], np.cumsum(each)])
            each = ends[offsets[1:]] - ends[offsets[:-1]]
        lists = _field(each) if kind == "i" else each
    entry = _field(_field(np.full(1, name)) + _field(_field(lists)))
    return entry if single else np.where(np.diff(offsets) > 0, entry, 0)


@functools.lru_cache(maxsize=1000)
def _float_size(name: int) -> np.ndarray:
    """Bytes of the entry of one float: int64 [1]."""
    return _field(_field(np.full(1, name)) + _field(_field(_field(np.full(1, 4)))))


def _field(size: np.ndarray | np.integer) -> np.ndarray:
    """Bytes of a field of so many bytes: its tag, its length and itself."""
    return 1 + _varint(np.asarray(size, np.uint64)) + size


def _varint(value: np.ndarray) -> np.ndarray:
    """Bytes of an unsigned integer."""
    return 1 + np.searchsorted(_VARINT_ENDS, value, side="right")
