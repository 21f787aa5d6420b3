"""Columns of decoded tf.Examples, tolerant of rows that cannot be read."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tfx_bsl.coders import example_coder

from tfx_explain.explainer_gen.known_columns import parse_known

_WORTH_KNOWING, _HEAD = 128, 32
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
    """Decoded rows.

    Attributes:
      columns: those that hold at least one value, by (feature, kind of KINDS' values).
      readable: bool [rows].
      with_empty_list: int [m], rows that name the kind of a feature and give no value of it. They equal rows without
        that feature, and parsers do not all take them so.
    """

    columns: dict[tuple[str, str], Column]
    readable: np.ndarray
    with_empty_list: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def rows(self) -> int:
        """Number of rows, readable or not."""
        return len(self.readable)


def decode(raw: Sequence[bytes]) -> Columns:
    """Decodes serialised tf.Examples. A row that is no tf.Example is marked unreadable and holds nothing.

    What some of the rows hold is looked for in all of them; rows that hold anything else are decoded without knowing
    what is in them, as are few rows. Of these, a batch that cannot be decoded as one (a broken row, or a feature with
    two kinds) is halved until it can.
    """
    decoder, raw = example_coder.ExamplesToRecordBatchDecoder(), list(raw)
    if len(raw) < _WORTH_KNOWING:
        return _decode(decoder, raw)
    head = _decode(decoder, raw[:: -(-len(raw) // _HEAD)])
    layout = tuple(sorted(head.columns))
    if not layout or len({name for name, _ in layout}) < len(layout):
        return _decode(decoder, raw)
    parsed = parse_known(raw, layout)
    if parsed is None or 2 * np.count_nonzero(parsed[1]) < len(raw):
        return _decode(decoder, raw)
    columns = {}
    for key, (values, offsets) in zip(layout, parsed[0], strict=True):
        if len(values):
            single = len(values) == len(raw) and bool((np.diff(offsets) == 1).all())
            columns[key] = Column(_one_each(len(raw)) if single else offsets, values)
    found = Columns(columns, np.ones(len(raw), bool))
    if parsed[1].all():
        return found
    good, others = np.flatnonzero(parsed[1]), np.flatnonzero(~parsed[1])
    joined = _concatenate([_take(found, good), _decode(decoder, [raw[i] for i in others])])
    return _take(joined, np.argsort(np.concatenate([good, others])))


def _take(columns: Columns, rows: np.ndarray) -> Columns:
    """The given rows, int [n]."""
    taken = {key: column.take(rows) for key, column in columns.columns.items()}
    empty = np.zeros(columns.rows, bool)
    empty[columns.with_empty_list] = True
    held = {key: column for key, column in taken.items() if len(column.values)}
    return Columns(held, columns.readable[rows], np.flatnonzero(empty[rows]))


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
    empty = np.zeros(len(raw), bool)
    for name, array in sorted(zip(batch.schema.names, batch.columns, strict=True), key=lambda pair: pair[0]):
        if pa.types.is_null(array.type):
            continue
        values = array.flatten().to_numpy(zero_copy_only=False)
        if not array.null_count and len(values) == len(raw) and _is_single(array):
            columns[name, _kind(values)] = Column(_one_each(len(raw)), values)
            continue
        lengths = array.value_lengths()
        empty |= pc.equal(lengths, 0).fill_null(False).to_numpy(zero_copy_only=False)
        if len(values):
            offsets = np.concatenate([[0], np.cumsum(lengths.fill_null(0).to_numpy(zero_copy_only=False))])
            columns[name, _kind(values)] = Column(offsets.astype(np.int64), values)
    return Columns(columns, np.ones(len(raw), bool), np.flatnonzero(empty))


def _is_single(array: pa.Array) -> bool:
    """Whether every row of a list array, as long as its values, has one value."""
    offsets = array.offsets.to_numpy()
    return bool((np.diff(offsets) == 1).all())


@functools.lru_cache(maxsize=16)
def _one_each(rows: int) -> np.ndarray:
    """Offsets of columns with one value a row: one array for all of them, which is pickled once."""
    offsets = np.arange(rows + 1, dtype=np.int64)
    offsets.setflags(write=False)
    return offsets


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
    starts = np.cumsum([0, *(p.rows for p in parts)])
    empty = [part.with_empty_list + start for part, start in zip(parts, starts, strict=False)]
    return Columns(columns, np.concatenate([p.readable for p in parts]), np.concatenate(empty))
