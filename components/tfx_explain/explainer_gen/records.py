"""TFRecord files -> batches of serialised examples, without an element a record; TensorFlow reads."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import apache_beam as beam
import tensorflow as tf

BATCH_SIZE = 4096
"""Most rows of a batch: what is done once a batch (a pipeline's element) is little beside that."""

_COMPRESSION = {".gz": "GZIP", ".zz": "ZLIB"}
"""How files whose names end so are compressed; the others are not."""
_BATCH_BYTES = 8 << 20  # from here on a batch of large rows takes no more of them
_AT_ONCE = 64  # records that TensorFlow gives at a time


class ReadRecords(beam.PTransform):
    """-> (number, records) in batches, of all files that match numbered patterns.

    An element is a file and then a batch: Beam's own source makes one of each record, at a cost that exceeds a small
    network's. Files are read where the model is: whatever file system holds one has to be known to TensorFlow. One
    source serves all patterns, since what is flattened from several is held by some runners until all of it is there.
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
    paths = tf.io.gfile.glob(pattern)
    if not paths:
        raise ValueError(f"a pattern of examples must match a file. Received: {pattern!r}, which matches none")
    for path in sorted(paths):
        yield number, path


def read_file(batch_size: int, number: int, path: str) -> Iterator[tuple[int, list[bytes]]]:
    """(number, records) of one file, in batches, of fewer rows where they are large; its name tells its compression.

    Raises:
      ValueError: the file is cut off within a record, or a checksum does not fit. One that is cut off within the length
        of a record ends there, for the trainer's readers too.
    """
    compression = next((kind for ending, kind in _COMPRESSION.items() if path.endswith(ending)), "")
    records = tf.data.TFRecordDataset(path, compression_type=compression)
    parts = records.batch(min(batch_size, _AT_ONCE)).as_numpy_iterator()
    batch: list[bytes] = []
    size = 0
    while True:
        try:
            part = next(parts, None)
        except tf.errors.DataLossError as error:
            raise ValueError(
                f"examples must be whole TFRecord files. Received: {path!r}: {error.message}. Write the file again"
            ) from error
        if batch and (part is None or size >= _BATCH_BYTES or len(batch) + len(part) > batch_size):
            yield number, batch
            batch, size = [], 0
        if part is None:
            return
        batch += part.tolist()
        size += sum(map(len, part))
