import random

import numpy as np
import pytest
from tests.explainer_gen.examples_data import serialise

from tfx_explain.config import Slices
from tfx_explain.explainer_gen.row_ids import ids_of
from tfx_explain.explainer_gen.sampling import (
    Candidates,
    ContentSum,
    SamplePlan,
    SmallestKeys,
    UnionOfIds,
    by_block,
    identify,
    make_block,
    part_of,
    take_rows,
)
from tfx_explain.explainer_gen.slicing import SliceAssigner, Slicing
from tfx_explain.explainer_gen.strata import SketchSlice, plan_slices, sketch_slices

pytestmark = pytest.mark.tf


def rows(count, start=0):
    return [serialise([("n", "i", [i]), ("x", "f", [i / 7])]) for i in range(start, start + count)]


def batches(raw, size, split=0):
    return [identify(raw[i : i + size], split, 0) for i in range(0, len(raw), size)]


def blocks(raw_batches, max_examples, block_rows):
    combine = SmallestKeys(max_examples + 1)
    partial = [combine.add_input(combine.create_accumulator(), b.keys) for b in raw_batches]
    keys = combine.extract_output(combine.merge_accumulators(partial))
    slices = plan_slices(None, keys, [], [], max_examples, Slices(), ())
    sample = [take_rows(b, *slices.taken(b)) for b in raw_batches]
    union = UnionOfIds()
    ids = union.merge_accumulators([union.add_input(union.create_accumulator(), ids_of(b.keys)) for b in sample])
    plan = SamplePlan.of(ids, keys, max_examples, block_rows)
    groups = {}
    for batch in sample:
        for index, part in by_block(batch, plan):
            groups.setdefault(index, []).append(part)
    return plan, [make_block(i, groups[i]) for i in sorted(groups)]


def as_bytes(found):
    return [(b.index, b.ids.tobytes(), b.probability.tobytes(), b.count.tobytes(), b.raw) for b in found]


def test_blocks_do_not_depend_on_batches_or_order():
    raw = rows(700)
    _, want = blocks(batches(raw, 1000), 300, 64)
    assert [len(b.ids) for b in want] == [64, 64, 64, 64, 44]
    for size in (1, 7, 200):
        shuffled = random.Random(size).sample(raw, len(raw))
        assert as_bytes(blocks(batches(shuffled, size), 300, 64)[1]) == as_bytes(want)


def test_the_sample_is_the_smallest_keys():
    raw = rows(500)
    whole = identify(raw, 0, 0)
    plan, found = blocks(batches(raw, 50), 120, 64)
    want = np.sort(ids_of(np.sort(whole.keys)[:120]))
    assert (np.concatenate([b.ids for b in found]) == want).all()
    assert plan.rows == 120
    assert all((np.diff(b.ids.view("u1").reshape(-1, 16).astype(int), axis=0) != 0).any(axis=1).all() for b in found)


def test_a_smaller_sample_lies_within_a_larger_one():
    raw = rows(500)
    small = {i for b in blocks(batches(raw, 50), 100, 64)[1] for i in b.ids.tolist()}
    large = {i for b in blocks(batches(raw, 50), 300, 64)[1] for i in b.ids.tolist()}
    assert small < large


def test_equal_rows_are_one_row_with_a_count():
    raw = rows(100)
    _, once = blocks(batches(raw, 30), 1000, 64)
    _, thrice = blocks(batches(raw + raw + raw, 30), 1000, 64)
    assert [b.ids.tobytes() for b in once] == [b.ids.tobytes() for b in thrice]
    assert {c for b in thrice for c in b.count.tolist()} == {3}


def test_counts_stay_exact_in_a_sample():
    raw = rows(400)
    repeated = raw + raw[::2]
    _, found = blocks(batches(repeated, 13), 100, 64)
    double = set(ids_of(identify(raw[::2], 0, 0).keys).tolist())
    for block in found:
        for name, count in zip(block.ids.tolist(), block.count.tolist(), strict=True):
            assert count == (2 if name in double else 1)


def test_a_row_in_two_splits_stands_under_the_first():
    raw = rows(50)
    _, found = blocks(batches(raw, 10, split=1) + batches(raw[:20], 10, split=0), 1000, 64)
    total = sum((b.split == 0).sum() for b in found)
    assert total == 20


def test_the_content_sum_knows_order_and_shards_from_content():
    combine = ContentSum()

    def total(parts):
        partial = [combine.add_input(combine.create_accumulator(), p.keys) for p in parts]
        return combine.extract_output(combine.merge_accumulators(partial))

    raw = rows(300)
    assert total(batches(raw, 7)) == total(batches(raw[::-1], 100))
    assert total(batches(raw, 7)) != total(batches(raw[:-1], 7))
    assert total(batches(raw, 7)) != total(batches(raw + raw[:1], 7))
    by_hand = sum(int.from_bytes(i.ljust(16, b"\0"), "big") for i in ids_of(identify(raw, 0, 0).keys).tolist())
    assert total(batches(raw, 7)) == (300, by_hand % 2**128)


def test_no_rows_make_no_blocks():
    plan, found = blocks([], 10, 4)
    assert (plan.rows, plan.blocks, found) == (0, 0, [])


@pytest.mark.parametrize("size", [1, 7, 250])
def test_what_no_candidate_is_cannot_be_in_the_sample(size):
    raw = [serialise([("n", "i", [i]), ("group", "i", [i % 40 % 9])]) for i in range(700)]
    assigner = SliceAssigner(Slicing(((("group",), ()),)), "")
    parts = [identify(raw[i : i + size], 0, 0, assigner=assigner) for i in range(0, len(raw), size)]
    max_examples, per_slice = 60, 30

    def sample(batches):
        combine, sketch = SmallestKeys(max_examples + 1), SketchSlice(per_slice + 1)
        first, sketches = combine.create_accumulator(), {}
        for batch in parts:
            first = combine.add_input(first, batch.keys)
            for key, part in sketch_slices(batch, per_slice + 1):
                sketches[key] = sketch.add_input(sketches.get(key, sketch.create_accumulator()), part)
        settings = Slices(min_rows_per_slice=per_slice)
        plan = plan_slices(None, combine.extract_output(first), sketches.items(), [], max_examples, settings, ())
        taken = [take_rows(b, *plan.taken(b)) for b in batches]
        order = np.argsort(np.concatenate([t.keys for t in taken]))
        return [
            np.concatenate([t.keys for t in taken])[order].tobytes(),
            np.concatenate([t.probability for t in taken])[order].tobytes(),
            [[r for t in taken for r in t.raw][i] for i in order],
        ]

    candidates = Candidates(max_examples, per_slice)
    kept = [part_of(batch, candidates.of(batch)) for batch in parts]
    assert sample(kept) == sample(parts)
    assert sum(len(b.keys) for b in kept) < 700


def test_keys_that_come_in_parts_are_the_same_set():
    keys = np.concatenate([b.keys for b in batches(rows(500), 500)] * 2)
    rng = np.random.default_rng(0)
    for k in (1, 100, 499, 500, 2000):
        combine = SmallestKeys(k)
        state = combine.create_accumulator()
        for part in np.array_split(rng.permutation(keys), 37):
            state = combine.add_input(state, part)
        np.testing.assert_array_equal(combine.extract_output(state), np.unique(keys)[:k])
        merged = combine.merge_accumulators([state, combine.create_accumulator(), state])
        np.testing.assert_array_equal(combine.extract_output(merged), np.unique(keys)[:k])
