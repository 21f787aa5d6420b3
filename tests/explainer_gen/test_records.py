"""TFRecord files are read as TensorFlow writes them, and never in part."""

import gzip
import io

import pytest
import tensorflow as tf

from tfx_explain.explainer_gen import records
from tfx_explain.explainer_gen.records import batches_of, matching_files, read_file

pytestmark = pytest.mark.tf

ROWS = [b"", b"a", b"x" * 5000, b"\xff" * 70_000, *(b"%d" % i for i in range(20))]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("records") / "rows")
    with tf.io.TFRecordWriter(path) as writer:
        for row in ROWS:
            writer.write(row)
    with open(path, "rb") as file:
        return file.read()


@pytest.mark.parametrize("chunk", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize("size", [1, 5, 24, 100])
def test_batches_hold_all_records_in_order(data, chunk, size, monkeypatch):
    monkeypatch.setattr(records, "_CHUNK", chunk)
    got = list(batches_of(io.BytesIO(data), size, "rows"))
    assert [r for batch in got for r in batch] == ROWS
    assert [len(batch) for batch in got[:-1]] == [size] * (len(got) - 1)


def test_streams_that_give_less_than_is_asked_for_are_read_to_the_end(data):
    compressed = io.BytesIO(gzip.compress(data))
    with gzip.GzipFile(fileobj=compressed) as stream:
        assert [r for batch in batches_of(stream, 3, "rows.gz") for r in batch] == ROWS


def test_no_bytes_are_no_batches():
    assert not list(batches_of(io.BytesIO(b""), 3, "rows"))


@pytest.mark.parametrize("kept", [1, 11, 12, 15, -1])
def test_a_file_that_is_cut_off_is_refused(data, kept):
    with pytest.raises(ValueError, match="whole TFRecord files.*'rows'.*ends within a record"):
        list(batches_of(io.BytesIO(data[:kept]), 3, "rows"))


@pytest.mark.parametrize("at, what", [(0, "length"), (9, "length"), (17 + 12, "record"), (-1, "record")])
def test_a_byte_that_changed_is_seen(data, at, what):
    broken = bytearray(data)
    broken[at] ^= 1
    with pytest.raises(ValueError, match=f"checksum of a {what} does not fit"):
        list(batches_of(io.BytesIO(bytes(broken)), 3, "rows"))


def test_files_are_compressed_as_their_names_say(tmp_path, data):
    (tmp_path / "a-0").write_bytes(data)
    (tmp_path / "a-1.gz").write_bytes(gzip.compress(data))
    files = sorted(matching_files(3, str(tmp_path / "a-*")))
    assert [number for number, _ in files] == [3, 3]
    for number, path in files:
        assert [(n, r) for n, batch in read_file(7, number, path) for r in batch] == [(3, r) for r in ROWS]


def test_a_pattern_without_files_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must match a file.*none-\\*"):
        list(matching_files(0, str(tmp_path / "none-*")))
