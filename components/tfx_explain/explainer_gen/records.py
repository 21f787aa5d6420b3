"""TFRecord files -> batches of serialised examples, without an element a record."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import apache_beam as beam
import crcmod.predefined
from apache_beam.io import fileio
from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.filesystems import FileSystems

_HEADER, _FOOTER = struct.Struct("<QI"), struct.Struct("<I")
_CHUNK = 1 << 20  # bytes that are read at a time
_crc32c = crcmod.predefined.mkPredefinedCrcFun("crc-32c")


class ReadRecords(beam.PTransform):
    """-> the records of all files that match, in batches; files are compressed as their names say."""

    def __init__(self, pattern: str, batch_size: int):
        """Reads the files of a pattern, of which there must be one, into batches of at most so many records."""
        super().__init__()
        self._pattern, self._batch_size = pattern, batch_size

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[list[bytes]]:
        """Files are spread over the workers."""
        return (
            pipeline
            | "Match" >> fileio.MatchFiles(self._pattern, empty_match_treatment=fileio.EmptyMatchTreatment.DISALLOW)
            | "SpreadFiles" >> beam.Reshuffle()
            | "ReadFile" >> beam.ParDo(ReadFile(self._batch_size))
        )


class ReadFile(beam.DoFn):
    """A file -> batches of its records."""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size

    def process(self, file: FileMetadata) -> Iterator[list[bytes]]:
        """Reads one file."""
        with FileSystems.open(file.path) as stream:
            yield from batches_of(stream, self._batch_size, file.path)


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
