"""TFRecord files are read as TensorFlow writes them, and never in part."""

import gzip
import zlib

import apache_beam as beam
import pytest
import tensorflow as tf
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from tfx_explain.explainer_gen.records import ReadRecords, matching_files, read_file

pytestmark = pytest.mark.tf

ROWS = [b"", b"a", b"x" * 5000, b"\xff\x00" * 70_000, *(b"%d" % i for i in range(20))]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "rows"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in ROWS:
            writer.write(row)
    return path.read_bytes()


def records_of(path, size=7):
    return [record for _, batch in read_file(size, 0, str(path)) for record in batch]


@pytest.mark.parametrize("size", [1, 5, 24, 100])
def test_batches_hold_all_records_in_order(data, size, tmp_path):
    (tmp_path / "a").write_bytes(data)
    got = [batch for _, batch in read_file(size, 0, str(tmp_path / "a"))]
    assert [r for batch in got for r in batch] == ROWS
    assert [len(batch) for batch in got[:-1]] == [size] * (len(got) - 1)


def test_a_batch_of_many_rows_has_no_more_than_its_size(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "a")) as writer:
        for i in range(1000):
            writer.write(b"%d" % i)
    got = [batch for _, batch in read_file(300, 0, str(tmp_path / "a"))]
    assert [int(r) for batch in got for r in batch] == list(range(1000))
    assert all(150 < len(batch) <= 300 for batch in got[:-1])


def test_a_batch_of_large_rows_has_fewer_of_them(tmp_path):
    row = b"x" * 200_000
    with tf.io.TFRecordWriter(str(tmp_path / "a")) as writer:
        for _ in range(300):
            writer.write(row)
    got = [len(batch) for _, batch in read_file(4096, 0, str(tmp_path / "a"))]
    assert sum(got) == 300
    assert max(got) <= 8 * 2**20 / len(row) + 64


def test_a_file_without_records_has_no_batch(tmp_path):
    (tmp_path / "none").write_bytes(b"")
    assert records_of(tmp_path / "none") == []


@pytest.mark.parametrize("kept", [12, 15, -1])
def test_a_file_that_is_cut_off_is_refused(data, kept, tmp_path):
    (tmp_path / "part").write_bytes(data[:kept])
    with pytest.raises(ValueError, match="whole TFRecord files.*part"):
        records_of(tmp_path / "part")


@pytest.mark.parametrize("at", [0, 9, 17 + 12, -1])
def test_a_byte_that_changed_is_seen(data, at, tmp_path):
    broken = bytearray(data)
    broken[at] ^= 1
    (tmp_path / "broken").write_bytes(bytes(broken))
    with pytest.raises(ValueError, match="whole TFRecord files.*broken"):
        records_of(tmp_path / "broken")


def test_a_compressed_file_that_is_cut_off_is_refused(data, tmp_path):
    (tmp_path / "part.gz").write_bytes(gzip.compress(data)[:-20])
    with pytest.raises(ValueError, match="whole TFRecord files.*part"):
        records_of(tmp_path / "part.gz")


def test_files_are_compressed_as_their_names_say(tmp_path, data):
    (tmp_path / "a-0").write_bytes(data)
    (tmp_path / "a-1.gz").write_bytes(gzip.compress(data))
    (tmp_path / "a-2.zz").write_bytes(zlib.compress(data))
    files = list(matching_files(3, str(tmp_path / "a-*")))
    assert [number for number, _ in files] == [3, 3, 3]
    for _, path in files:
        assert records_of(path) == ROWS


def test_a_pattern_without_files_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must match a file.*none-\\*"):
        list(matching_files(0, str(tmp_path / "none-*")))


def test_records_keep_the_number_of_their_pattern(tmp_path, data):
    for name in ("train-0", "train-1", "eval-0"):
        (tmp_path / name).write_bytes(data)
    with TestPipeline() as pipeline:
        patterns = [(number, str(tmp_path / f"{name}-*")) for number, name in enumerate(("train", "eval"))]
        read = pipeline | ReadRecords(patterns, 9)
        found = read | beam.FlatMapTuple(lambda number, batch: ((number, record) for record in batch))
        expected = [(number, record) for number in (0, 0, 1) for record in ROWS]
        assert_that(found, equal_to(expected))
