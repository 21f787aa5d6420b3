"""Columns of decoded tf.Examples, tolerant of rows that cannot be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from tfx_bsl.coders import example_coder

KINDS = {"int64_list": "i", "float_list": "f", "bytes_list": "b"}


@dataclasses.dataclass(frozen=True)
class Column:
    """The values of one feature, row after row.

    Attributes:
      offsets: int64 [rows + 1]; row i holds values[offsets[i]:offsets[i + 1]].
      values: int64, float32, or object (bytes) [n].
    """

    offsets: np.ndarray
    values: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Number of values of each row: int64 [rows]."""
        return np.diff(self.offsets)

    def take(self, rows: np.ndarray) -> Column:
        """The given rows, int [n]."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return Column(offsets, self.values[np.repeat(self.offsets[:-1][rows], lengths) + within])

    def first(self) -> tuple[np.ndarray, np.ndarray]:
        """(first value of each row, bool: the row has one); what stands where there is none means nothing."""
        present = self.lengths > 0
        if not len(self.values):
            return np.zeros(len(present), self.values.dtype), present
        return self.values[np.minimum(self.offsets[:-1], len(self.values) - 1)], present


@dataclasses.dataclass(frozen=True)
class Columns:
    """Decoded rows: the columns that hold at least one value, by (feature, kind of KINDS' values)."""

    columns: dict[tuple[str, str], Column]
    readable: np.ndarray  # bool [rows]

    @property
    def rows(self) -> int:
        """Number of rows, readable or not."""
        return len(self.readable)


def decode(raw: Sequence[bytes]) -> Columns:
    """Decodes serialised tf.Examples. A row that is no tf.Example is marked unreadable and holds nothing.

    A batch that cannot be decoded as one (a broken row, or a feature with two kinds) is halved until it can: the usual
    case stays one call.
    """
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    return _decode(decoder, list(raw))


def _decode(decoder: example_coder.ExamplesToRecordBatchDecoder, raw: list[bytes]) -> Columns:
    if not raw:
        return Columns({}, np.zeros(0, bool))
    try:
        batch = decoder.DecodeBatch(raw)
    except Exception:  # tfx-bsl raises RuntimeError or ValueError, by version
        if len(raw) == 1:
            return Columns({}, np.zeros(1, bool))
        middle = len(raw) // 2
        return _concatenate([_decode(decoder, raw[:middle]), _decode(decoder, raw[middle:])])
    columns = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        column = _column(array)
        if column is not None:
            columns[name, _kind(column.values)] = column
    return Columns(columns, np.ones(len(raw), bool))


def _column(array: pa.Array) -> Column | None:
    if pa.types.is_null(array.type):
        return None
    values = array.flatten()
    if not len(values):
        return None
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return Column(offsets, values.to_numpy(zero_copy_only=False))
    return Column(offsets, values.to_numpy(zero_copy_only=False))


def _kind(values: np.ndarray) -> str:
    return {"i": "i", "f": "f", "O": "b"}[values.dtype.kind]


def _concatenate(parts: list[Columns]) -> Columns:
    """Rows of several parts, one after the other."""
    columns: dict[tuple[str, str], Column] = {}
    for key in sorted({k for p in parts for k in p.columns}):
        lengths, values = [], []
        for part in parts:
            column = part.columns.get(key)
            lengths.append(np.zeros(part.rows, np.int64) if column is None else column.lengths)
            if column is not None:
                values.append(column.values)
        columns[key] = Column(
            np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64), np.concatenate(values)
        )
    return Columns(columns, np.concatenate([p.readable for p in parts]))
