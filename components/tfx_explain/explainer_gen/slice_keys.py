"""Slice keys as TFMA's files hold them: the value's type belongs to the key, floats have 32 bits."""

from __future__ import annotations

import numpy as np

from tfx_explain.names import SliceKey

TypedSliceKey = tuple[tuple[str, str, str | int | float], ...]
"""(column, type, value) triples: keys that are equal as TFMA writes them, and that sort."""


def typed_key(key: SliceKey) -> TypedSliceKey:
    """A slice key by which two results are joined and sorted.

    In Python 1 equals 1.0, in TFMA `hour=1` of an int column and of a float column are two slices. TFMA's files hold
    float values in 32 bits, so a float is rounded as they round it. Not-a-number equals itself here.

    Raises:
      TypeError: a value is no str, int or float.
    """
    return tuple((str(column), *_typed(column, value)) for column, value in key)


def plain_key(key: SliceKey) -> SliceKey:
    """The same key with Python's own types, which TFMA's serialisation insists on."""
    return tuple((str(column), value.item() if isinstance(value, np.generic) else value) for column, value in key)


def _typed(column: str, value: str | int | float) -> tuple[str, str | int | float]:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return "str", value
    if isinstance(value, int) and not isinstance(value, bool):
        return "int", value
    if isinstance(value, float):
        if np.isnan(value):
            return "nan", "nan"
        with np.errstate(over="ignore"):
            return "float", float(np.float32(value))
    raise TypeError(f"a slice's value must be a str, int or float. Received: {column}={value!r}")
