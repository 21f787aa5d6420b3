"""Shards of slices, and rows on their way to them."""

import numpy as np
import pytest
from tests.engine.aggregates.block_data import block as rows_of

from tfx_explain.engine.aggregates.bins import FeatureBins
from tfx_explain.engine.aggregates.buckets import accumulate
from tfx_explain.explainer_gen import shards
from tfx_explain.explainer_gen.aggregate import Scale, slice_parts, sum_shard, take
from tfx_explain.explainer_gen.explain import ExplainedBlock
from tfx_explain.explainer_gen.job_spec import ModelFacts
from tfx_explain.explainer_gen.outcome import SliceSums
from tfx_explain.explainer_gen.profiles import FeatureProfile
from tfx_explain.explainer_gen.shards import ROWS_OF_A_SHARD, shard_count, shards_of
from tfx_explain.explainer_gen.strata import ALL, SlicePlan
from tfx_explain.names import NUM_BUCKETS

pytestmark = pytest.mark.pipeline  # loads Beam

LARGE, SMALL = (("g", 1),), (("g", 2),)
NAMES = ("a", "b")


def plan(overall, thresholds=None):
    rows = {LARGE: 64 * ROWS_OF_A_SHARD, SMALL: ROWS_OF_A_SHARD}
    return SlicePlan(overall, rows, thresholds or {}, {}, 0, (), ())


def test_shards_follow_the_rows_that_a_slice_has_in_the_sample():
    everything = 128 * ROWS_OF_A_SHARD
    assert shard_count(plan(ALL), 0, everything) == NUM_BUCKETS
    assert shard_count(plan(ALL), 1, everything) == 64
    assert shard_count(plan(ALL), 2, everything) == 1
    assert shard_count(plan(2**60), 1, everything) == 4
    assert shard_count(plan(2**60, {LARGE: 2**62}), 1, everything) == 16
    assert shard_count(plan(ALL), 1, ROWS_OF_A_SHARD) == 1


def test_a_remainder_is_summed_as_if_it_held_the_whole_sample():
    few = SlicePlan(2**60, {}, {}, {("g",): (5, 100)}, 0, (), ())
    assert shard_count(few, 1, 8 * ROWS_OF_A_SHARD) == 8


def sizes(*rows):
    return SlicePlan(ALL, {(("g", i),): n for i, n in enumerate(rows)}, {}, {}, 0, (), ())


def test_small_slices_share_a_shard_until_it_is_full():
    most = shards.BYTES_OF_A_SHARD // (shards.BYTES_OF_AN_ATTRIBUTION * 100)
    found = shards_of(sizes(most // 2, most // 2, most // 2, 3 * most, most // 4, most), 100 * most, 100)
    assert found.count.tolist() == [64, 1, 1, 1, 4, 1, 1]
    assert found.first.tolist() == [0, 64, 64, 65, 66, 65, 70]


def test_the_wider_the_rows_the_fewer_share_a_shard():
    wide, narrow = (len(set(shards_of(sizes(*[1000] * 200), 1000, f).first.tolist())) for f in (2000, 20))
    assert wide == 201 and narrow == 2


def test_every_bucket_of_a_large_slice_has_one_shard():
    found = shards_of(sizes(10**6), 10**6, 100)
    number = found.of(np.zeros(NUM_BUCKETS, int), np.arange(NUM_BUCKETS))
    assert np.all(np.diff(number) >= 0)
    assert set(number) == set(range(found.count[0]))
    assert not set(number) & set(found.of(np.ones(NUM_BUCKETS, int), np.arange(NUM_BUCKETS)))


def explained(index, seed):
    """300 rows and 40 failed ones, at random in three slices beside the overall one."""
    random = np.random.default_rng(seed)
    rows = rows_of(
        random.normal(size=(300, 2)), random.integers(0, 3, (300, 2)), random.integers(1, 4, 300) * 1.0, seed
    )
    object.__setattr__(rows, "failed_bucket", random.integers(0, NUM_BUCKETS, 40))
    object.__setattr__(rows, "failed_weight", np.ones(40))
    members, failed = (np.argwhere(np.c_[np.ones(n, bool), random.random((n, 3)) < 0.4]) for n in (300, 40))
    zeros = np.zeros(300, int)
    return ExplainedBlock(
        index, ModelFacts(features=NAMES), np.zeros(300, "S16"), zeros, zeros, zeros, zeros * 1.0, zeros, rows,
        members[:, 0], members[:, 1], failed[:, 0], failed[:, 1], {}, {}, 0.0,
    )  # fmt: skip


def sums_by_slice(blocks, layout):
    scale = Scale(1.0, 1.0, (), None, NAMES, (), None)
    profiles = [FeatureProfile(name, "f", (0.0,), FeatureBins(edges=(0.0,))) for name in NAMES]
    by_shard, by_slice = {}, {}
    for block in blocks:
        for shard, part in slice_parts(block, layout, 900, scale):
            by_shard.setdefault(shard, []).append(part)
    for element in by_shard.items():
        for place, sums in sum_shard(element, shards_of(layout, 900, len(NAMES)), profiles, None, scale):
            by_slice.setdefault(place, []).append(sums)
    return {place: SliceSums.of_shards(sums) for place, sums in by_slice.items()}, len(by_shard)


@pytest.mark.parametrize("megabytes, count", [(16, 1), (0.004, 10)])
def test_sums_are_those_of_each_slice_alone_whatever_the_shards(monkeypatch, megabytes, count):
    monkeypatch.setattr(shards, "BYTES_OF_A_SHARD", int(megabytes * 2**20))
    monkeypatch.setattr(shards, "_FEWEST_ROWS", 10)
    blocks = [explained(index, seed) for index, seed in enumerate((5, 6, 7))]
    found, shards_used = sums_by_slice(blocks[::-1], sizes(360, 360, 360))
    assert sorted(found) == [0, 1, 2, 3]
    assert shards_used == count
    for place, sums in found.items():
        alone = None
        for block in blocks:
            own = block.member_row[block.member_place == place]
            failed = block.failed_member_row[block.failed_member_place == place]
            part = accumulate(NAMES, (2 + 1,) * 2, take(block.rows, own, failed), 1.0)
            alone = part if alone is None else alone + part
        for mine, theirs in zip(sums.statistics._arrays(), alone._arrays(), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)
        weight = sum(block.rows.weight[block.member_row[block.member_place == place]].sum() for block in blocks)
        assert sums.sketch.total_weight == sums.statistics.total_weight == weight
