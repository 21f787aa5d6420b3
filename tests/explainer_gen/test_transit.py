"""Elements between stages: rows are packed, and the same when they arrive; sizes cost nothing."""

import pickle
import types
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type
from hypothesis import given
from hypothesis import strategies as st

from tfx_explain.config import ExplainConfig
from tfx_explain.engine.aggregates.permuted_rows import PermutedRows
from tfx_explain.explainer_gen import transit
from tfx_explain.explainer_gen.aggregate import MemberRows
from tfx_explain.explainer_gen.columns import Columns
from tfx_explain.explainer_gen.examples import write_example
from tfx_explain.explainer_gen.explain import ExplainedBlock
from tfx_explain.explainer_gen.job import explain_examples
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.outcome import SliceOutcome, SliceSums
from tfx_explain.explainer_gen.permute import DonorBlock
from tfx_explain.explainer_gen.profiles import FeatureValues
from tfx_explain.explainer_gen.sampling import Block, RowBatch
from tfx_explain.explainer_gen.slicing import Slicing
from tfx_explain.explainer_gen.transit import ElementCoder, pack, unpack

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


@pytest.mark.parametrize("make", [batch, block, donors])
def test_a_size_is_estimated_without_pickling(make, monkeypatch):
    element = make(examples(500))
    coder = ElementCoder()
    assert coder.decode(coder.encode(element)).raw == element.raw

    def refuse(*_):
        raise AssertionError("an estimate must not pickle")

    monkeypatch.setattr(transit, "pickle", types.SimpleNamespace(dumps=refuse, loads=refuse, HIGHEST_PROTOCOL=5))
    whole = sum(map(len, element.raw))
    assert whole <= coder.estimate_size(element) <= 2 * whole


def test_sizes_add_up_over_what_an_element_holds():
    element = {"a": np.zeros(10), "b": [b"xy"] * 5, "c": (3, None), "d": []}
    assert transit.size_of(element) == 80 + 10 + 2 * transit.size_of(3) + transit.size_of([])


LARGE_EDGES = {
    "Identify": {RowBatch},
    "TakeSample": {RowBatch},
    "ByBlock": {tuple[int, RowBatch]},
    "MakeBlocks": {Block},
    "FeatureValues": {tuple[str, FeatureValues]},
    "Explain": {ExplainedBlock, DonorBlock, Any},  # rows of elements are few
    "SliceParts": {tuple[int, MemberRows]},
    "SumShard": {tuple[int, tuple[int, SliceSums]], SliceOutcome},
    "PermuteBySideInput": {tuple[DonorBlock, PermutedRows]},
    "PermuteByBlock": {tuple[DonorBlock, PermutedRows]},
    "PermutedParts": {tuple[tuple[int, int], tuple[int, PermutedRows]]},
}


def test_what_is_large_travels_by_this_coder():
    pipeline = beam.Pipeline()
    spec = JobSpec("model", ExplainConfig.make({}), Slicing(()), fingerprint="model")
    explain_examples(pipeline, [(0, "examples")], spec, "staging", 1000)
    found: dict[str, set[Any]] = {}

    class Types(beam.pipeline.PipelineVisitor):
        def visit_value(self, value, producer):
            found.setdefault(producer.full_label.split("/")[0], set()).add(value.element_type)

    pipeline.visit(Types())
    for label, kinds in LARGE_EDGES.items():
        assert found[label] == {convert_to_beam_type(kind) for kind in kinds}, label
    for kind in (RowBatch, Block, FeatureValues, ExplainedBlock, DonorBlock, MemberRows, SliceSums, PermutedRows):
        assert isinstance(beam.coders.registry.get_coder(kind), ElementCoder), kind
