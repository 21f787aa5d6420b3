"""How elements travel between stages: pickled, serialised examples compressed, and their sizes told for nothing."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type

# Of zstd: the names of features shrink to next to nothing at any level, and numbers at none. Below 0 it is the faster.
_LEVEL = -5
_SCALAR = 8  # bytes that stand for whatever else an element holds

_T = TypeVar("_T", bound=type)


class ElementCoder(beam.coders.Coder):
    """Pickle, with an estimate of an element's size.

    Beam samples the sizes of the elements that every step gives, for its counters, and its own coder of Python objects
    finds a size by pickling: a large element was pickled three times for each time that it travelled.
    """

    def encode(self, value: Any) -> bytes:
        """One buffer."""
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def decode(self, encoded: bytes) -> Any:
        """The inverse of `encode`."""
        return pickle.loads(encoded)

    def estimate_size(self, value: Any) -> int:
        """About how many bytes the element's arrays and examples have."""
        return size_of(value)

    def is_deterministic(self) -> bool:
        """Not a key's coder."""
        return False


def travels(element: _T) -> _T:
    """Makes Beam code elements of this class by `ElementCoder`, wherever a step declares that it gives them."""
    beam.coders.registry.register_coder(element, ElementCoder)
    return element


def typed(elements: beam.PCollection, kind: Any) -> beam.PCollection:
    """The same elements, declared: Beam takes no types for tagged outputs."""
    elements.element_type = convert_to_beam_type(kind)
    return elements


def size_of(value: Any) -> int:
    """About how many bytes a value's arrays and strings have."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, bytes | str):
        return len(value)
    if dataclasses.is_dataclass(value):
        return sum(size_of(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, Mapping):
        return sum(map(size_of, value.values()))
    if isinstance(value, list | tuple) and value:  # rows are of much the same size
        return len(value) * size_of(value[0])
    return _SCALAR


class PackedInTransit:
    """A dataclass whose `raw`, a list of serialised examples, is pickled packed.

    Every stage that a runner holds or sends rows in between takes a third to a fourth of their bytes.
    """

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"raw": pack(self.__dict__["raw"])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"raw": unpack(*state["raw"])})


def pack(raw: Sequence[bytes]) -> tuple[bytes, np.ndarray]:
    """(all examples, one after the other, compressed; their lengths, int64 [n])."""
    lengths = np.fromiter(map(len, raw), np.int64, len(raw))
    return _codec().compress(b"".join(raw), asbytes=True), lengths


def unpack(data: bytes, lengths: np.ndarray) -> list[bytes]:
    """The inverse of `pack`."""
    ends = np.cumsum(lengths).tolist()
    if not ends or not ends[-1]:
        return [b""] * len(ends)
    joined = _codec().decompress(data, ends[-1], asbytes=True)
    return [joined[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _codec() -> pa.Codec:
    return pa.Codec("zstd", compression_level=_LEVEL)
