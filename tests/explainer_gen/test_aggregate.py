"""Shards of slices, and rows on their way to them."""

import pytest

from tfx_explain.explainer_gen.aggregate import ROWS_OF_A_SHARD, shard_count
from tfx_explain.explainer_gen.strata import ALL, SlicePlan
from tfx_explain.names import NUM_BUCKETS

pytestmark = pytest.mark.pipeline  # loads Beam

LARGE, SMALL = (("g", 1),), (("g", 2),)


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
    assert shard_count(plan(2**60), 3, 8 * ROWS_OF_A_SHARD) == 8
