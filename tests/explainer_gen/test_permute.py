"""Donors by side input and from block to block: every block gets the same arrays."""

import dataclasses

import numpy as np
import pytest

from tfx_explain.config import PermutationImportanceConfig
from tfx_explain.explainer_gen.permute import (
    DonorBlock,
    DonorTable,
    Given,
    donor_facts,
    joined,
    plan_permutation,
    send,
)
from tfx_explain.explainer_gen.strata import ALL, SlicePlan

pytestmark = pytest.mark.tf

ITEMS = (("x", ("x",)), ("text", ("text",)), ("both", ("x", "text")))
CONTENT = (7, 12345)


def blocks(rows, size, strata=None):
    """Fake rows in blocks of `size`: x is the rank, `text` has two arrays; the number of a block is no position."""
    rng = np.random.default_rng(0)
    rank = np.arange(rows)
    payloads = {
        "x": (rank.astype(np.float32)[:, None],),
        "text": (np.array([b"%d" % i for i in rank], object), rng.normal(size=(rows, 2)).astype(np.float32)),
    }
    weight, bucket, label = rng.uniform(1, 2, rows), rng.integers(0, 64, rows), rng.normal(size=rows)
    stratum = None if strata is None else np.array([b"%016d" % s for s in rng.integers(0, strata, rows)], "S16")
    none = np.zeros(0, np.int64)
    out = []
    for number, start in enumerate(range(0, rows, size)):
        at = slice(start, start + size)
        out.append(
            DonorBlock(
                index=3 * number + 1,
                raw=[],
                payloads={f: tuple(a[at] for a in arrays) for f, arrays in payloads.items()},
                weight=weight[at],
                bucket=bucket[at],
                label=label[at],
                stratum=None if stratum is None else stratum[at],
                member_row=none,
                member_place=none,
            )
        )
    return out


def slice_plan(sizes=(), required=()):
    keys = {(("g", i),): rows for i, rows in enumerate(sizes)}
    return SlicePlan(ALL, keys, {}, {("h",): (2, 3)}, 0, tuple((("g", i),) for i in required), ())


def plan_of(parts, slices=None, **settings):
    config = PermutationImportanceConfig(**{"repeats": 2} | settings)
    facts = [donor_facts(block) for block in reversed(parts)]
    return plan_permutation(None, facts, CONTENT, config, slices or slice_plan())


def by_table(parts, plan, item, repeat):
    """What each block gets with all donors in memory."""
    table = DonorTable(list(reversed(parts)))
    name, features = ITEMS[item]
    return {b.index: table.give(plan.of(plan.ranks(b.index), name), features)[repeat] for b in parts}


def by_blocks(parts, plan):
    """What each block gets from others: {(block, item, repeat): Given}."""
    sent = {}
    for block in reversed(parts):
        for target, given in send(block, plan, ITEMS):
            for (item, repeat), part in given.items():
                sent.setdefault((target, item, repeat), []).append(part)
    rows = {b.index: b.rows for b in parts}
    return {key: joined(given, rows[key[0]]) for key, given in sent.items()}


def assert_same(one: Given, other: Given):
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.bucket, other.bucket)
    np.testing.assert_array_equal(one.weight, other.weight)
    assert one.payload.keys() == other.payload.keys()
    for feature, arrays in one.payload.items():
        for mine, theirs in zip(arrays, other.payload[feature], strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("rows", "size", "strata"),
    [
        (10_000, 1024, None),
        (10_000, 1024, 30),
        (200_000, 10_000, None),
        (200_000, 10_000, 500),
        (5, 2, 3),
        (1, 4, None),
    ],
)
def test_both_plans_give_every_block_the_same_arrays(rows, size, strata):
    parts = blocks(rows, size, strata)
    settings = {} if strata is None else {"scheme": "within_strata", "strata": ("s",)}
    plan = plan_of(parts, **settings)
    assert plan.rows == rows
    sent = by_blocks(parts, plan)
    assert len(sent) == len(parts) * len(ITEMS) * 2
    weight = np.concatenate([b.weight for b in parts])
    for item in range(len(ITEMS)):
        for repeat in range(2):
            given = by_table(parts, plan, item, repeat)
            for block in parts:
                assert_same(given[block.index], sent[block.index, item, repeat])
            if "x" in ITEMS[item][1]:
                # Each row gives once; x is its rank, so that what it gives can be told.
                donors = np.concatenate([given[b.index].payload["x"][0][:, 0] for b in parts]).astype(int)
                assert np.array_equal(np.sort(donors), np.arange(rows))
                np.testing.assert_array_equal(weight[donors], np.concatenate([given[b.index].weight for b in parts]))
                if strata is not None:
                    stratum = np.concatenate([b.stratum for b in parts])
                    assert np.array_equal(stratum[donors], stratum)
                    kept = donors == np.arange(rows)
                    assert kept.sum() == plan.alone


def test_a_block_gives_to_few_others():
    parts = blocks(20_000, 1000)
    plan = plan_of(parts)
    for block in parts:
        targets = {(item, repeat): set() for item in range(3) for repeat in range(2)}
        for target, given in send(block, plan, ITEMS):
            for key in given:
                targets[key].add(target)
        assert max(map(len, targets.values())) <= 3


def test_a_block_without_labelled_rows_neither_gives_nor_gets():
    parts = blocks(100, 20)
    empty = dataclasses.replace(
        parts[2], payloads={}, weight=np.zeros(0), bucket=np.zeros(0, int), label=np.zeros(0), index=parts[2].index
    )
    parts[2] = empty
    plan = plan_of(parts)
    assert plan.rows == 80 and len(plan.ranks(empty.index)) == 0
    sent = by_blocks(parts, plan)
    assert empty.index not in {target for target, _, _ in sent}
    given = by_table(parts, plan, 2, 1)
    for block in parts:
        if block.rows:
            assert_same(given[block.index], sent[block.index, 2, 1])


def test_rows_that_get_nothing_or_twice_are_refused():
    parts = blocks(40, 10)
    plan = plan_of(parts)
    given = by_table(parts, plan, 0, 0)[1]
    with pytest.raises(ValueError, match="every one of the 11 rows must get one donor. Received: 10"):
        joined([given], 11)
    with pytest.raises(ValueError, match="Received: 20"):
        joined([given, given], 10)


def test_the_side_input_is_taken_up_to_its_limit():
    parts = blocks(100, 20)
    size = sum(b.payload_bytes for b in parts)
    # x: 4 bytes; text: 10 digits of one character, 90 of two, and two floats
    assert size == 100 * (4 + 8) + 10 + 2 * 90
    assert plan_of(parts, max_side_input_bytes=size).side_input
    assert not plan_of(parts, max_side_input_bytes=size - 1).side_input


def test_the_overall_the_required_and_the_largest_slices_are_permuted():
    slices = slice_plan(sizes=(50, 40, 30, 20, 10), required=(3,))
    assert plan_of(blocks(10, 5), slices, max_slices=2).places == {0, 1, 2, 4}
    assert plan_of(blocks(10, 5), slices, max_slices=0).places == {0, 4}
    # Remainders are not slices of their own.
    assert plan_of(blocks(10, 5), slices, max_slices=20).places == {0, 1, 2, 3, 4, 5}


def test_no_rows_at_all_have_a_plan():
    plan = plan_permutation(None, [], CONTENT, PermutationImportanceConfig(), slice_plan())
    assert (plan.rows, plan.alone) == (0, 0)
