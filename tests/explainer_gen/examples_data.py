"""Serialised examples in several disguises."""

from __future__ import annotations

import numpy as np


def _varint(n: int) -> bytes:
    out = bytearray()
    while True:
        out.append(n & 0x7F | (0x80 if n > 0x7F else 0))
        n >>= 7
        if not n:
            return bytes(out)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def serialise(features: list[tuple[str, str, list]]) -> bytes:
    """A tf.Example written by hand, its features in just this order: (name, kind, values); kind `-` is unset."""
    entries = b""
    for name, kind, values in features:
        if kind == "f":
            value = _field(2, _field(1, np.asarray(values, "<f4").tobytes()) if values else b"")
        elif kind == "i":
            value = _field(3, _field(1, b"".join(_varint(v % 2**64) for v in values)) if values else b"")
        elif kind == "b":
            value = _field(1, b"".join(_field(1, v) for v in values))
        else:
            value = b""
        entries += _field(1, _field(1, name.encode()) + _field(2, value))
    return _field(1, entries)


BROKEN = b"\xff\xff not an example"
