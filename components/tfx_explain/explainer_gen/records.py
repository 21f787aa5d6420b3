"""TFRecord files -> batches of serialised examples, without an element a record."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import apache_beam as beam
import crcmod.predefined
from apache_beam.io.filesystems import FileSystems

_HEADER, _FOOTER = struct.Struct("<QI"), struct.Struct("<I")
_CHUNK = 1 << 20  # bytes that are read at a time
_crc32c = crcmod.predefined.mkPredefinedCrcFun("crc-32c")


class ReadRecords(beam.PTransform):
    """-> (number, records) in batches, of all files that match numbered patterns; names say how files are compressed.

    One source for all patterns: what is flattened from several is held by some runners until all of it is there.
    """

    def __init__(self, patterns: Sequence[tuple[int, str]], batch_size: int):
        """Reads the files of (number, pattern), into batches of at most so many records."""
        super().__init__()
        self._patterns, self._batch_size = tuple(patterns), batch_size

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[tuple[int, list[bytes]]]:
        """Files are spread over the workers."""
        return (
            pipeline
            | "Patterns" >> beam.Create(self._patterns, reshuffle=False)
            | "Match" >> beam.FlatMapTuple(matching_files)
            | "SpreadFiles" >> beam.Reshuffle()
            | "ReadFile" >> beam.FlatMapTuple(functools.partial(read_file, self._batch_size))
        )


def matching_files(number: int, pattern: str) -> Iterator[tuple[int, str]]:
    """(number, path) of the files that match.

    Raises:
      ValueError: there is none.
    """
    (result,) = FileSystems.match([pattern])
    if not result.metadata_list:
        raise ValueError(f"a pattern of examples must match a file. Received: {pattern!r}, which matches none")
    for file in result.metadata_list:
        yield number, file.path


def read_file(batch_size: int, number: int, path: str) -> Iterator[tuple[int, list[bytes]]]:
    """(number, records) of one file, in batches."""
    with FileSystems.open(path) as stream:
        for batch in batches_of(stream, batch_size, path):
            yield number, batch


def batches_of(stream: BinaryIO, batch_size: int, name: str) -> Iterator[list[bytes]]:
    """Batches of the records of one open file.

    Args:
      stream: of bytes, uncompressed.
      batch_size: records of a batch; the last may have fewer.
      name: how an error calls the file.

    Raises:
      ValueError: the file is cut off, or a checksum does not fit.

    References:
      https://www.tensorflow.org/tutorials/load_data/tfrecord (the format).
    """
    batch: list[bytes] = []
    buffer, at = b"", 0
    while True:
        if len(buffer) - at < _HEADER.size:
            buffer, at = _filled(stream, buffer[at:], _HEADER.size), 0
            if not buffer:
                break
        if len(buffer) - at < _HEADER.size:
            raise _fault(name, "it ends within a record")
        length, mark = _HEADER.unpack_from(buffer, at)
        if _masked(buffer[at : at + 8]) != mark:
            raise _fault(name, "the checksum of a length does not fit")
        end = at + _HEADER.size + length
        if len(buffer) < end + _FOOTER.size:
            needed = end + _FOOTER.size - at
            buffer, at, end = _filled(stream, buffer[at:], needed), 0, end - at
            if len(buffer) < needed:
                raise _fault(name, "it ends within a record")
        record = buffer[at + _HEADER.size : end]
        if _masked(record) != _FOOTER.unpack_from(buffer, end)[0]:
            raise _fault(name, "the checksum of a record does not fit")
        at = end + _FOOTER.size
        batch.append(record)
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _filled(stream: BinaryIO, start: bytes, size: int) -> bytes:
    """`start` and what follows in the stream: at least `size` bytes, unless it ends."""
    parts, held = [start], len(start)
    while held < size:
        part = stream.read(max(_CHUNK, size - held))
        if not part:
            break
        parts.append(part)
        held += len(part)
    return b"".join(parts)


def _masked(data: bytes) -> int:
    """Checksum of some bytes as the format has it."""
    crc = _crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _fault(name: str, what: str) -> ValueError:
    return ValueError(f"examples must be whole TFRecord files. Received: {name!r}: {what}. Write the file again")
