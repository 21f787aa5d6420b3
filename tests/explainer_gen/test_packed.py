"""Rows between stages are packed: smaller by far, and the same when they arrive."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_explain.explainer_gen.columns import Columns
from tfx_explain.explainer_gen.examples import write_example
from tfx_explain.explainer_gen.packed import pack, unpack
from tfx_explain.explainer_gen.permute import DonorBlock
from tfx_explain.explainer_gen.sampling import Block, RowBatch

pytestmark = pytest.mark.tf


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_what_is_packed_is_the_same_when_unpacked(raw):
    assert unpack(*pack(raw)) == raw


@pytest.mark.parametrize("raw", [[], [b""], [b"", b""], [b"", b"a", b""], [b"\x00" * 3_000_000, b"b"]])
def test_empty_and_large_rows_are_the_same_when_unpacked(raw):
    assert unpack(*pack(raw)) == raw


def examples(rows: int) -> list[bytes]:
    values = np.random.default_rng(0).normal(size=(rows, 20)).astype(np.float32)
    return [write_example({f"feature_{j}": ("f", (float(v),)) for j, v in enumerate(row)}) for row in values]


def batch(raw: list[bytes]) -> RowBatch:
    keys = np.zeros(len(raw), "S24")
    return RowBatch(keys, raw, np.zeros(len(raw), np.int16))


def block(raw: list[bytes]) -> Block:
    rows = len(raw)
    ids, count = np.zeros(rows, "S16"), np.ones(rows, np.int64)
    return Block(3, ids, raw, np.zeros(rows, np.int16), count, np.ones(rows), Columns({}, np.ones(rows, bool)))


def donors(raw: list[bytes]) -> DonorBlock:
    numbers, none = np.zeros(len(raw)), np.zeros(0, np.int64)
    return DonorBlock(5, raw, {}, numbers, numbers.astype(int), numbers, None, none, none)


@pytest.mark.parametrize("make", [batch, block, donors])
def test_elements_with_rows_are_pickled_packed(make):
    raw = examples(500)
    element = make(raw)
    pickled = pickle.dumps(element, pickle.HIGHEST_PROTOCOL)
    again = pickle.loads(pickled)
    assert again.raw == raw and type(again) is type(element)
    numbers_alone = len(pickle.dumps(make([b""] * 500), pickle.HIGHEST_PROTOCOL))
    assert len(pickled) - numbers_alone < sum(map(len, raw)) / 2
    assert element.raw is raw, "pickling must leave the element as it is"
