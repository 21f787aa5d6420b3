import numpy as np
import pytest

from tfx_explain.engine.aggregates.buckets import Rows, accumulate
from tfx_explain.engine.aggregates.groups import GroupStatistics
from tfx_explain.engine.aggregates.sketch import QuantileSketch
from tfx_explain.explainer_gen.outcome import SliceSums
from tfx_explain.names import NUM_BUCKETS

FEATURES, BINS, GROUPS = ("a", "b"), (3, 2), (("both", ("a", "b")),)


def shard(number, shards):
    """Rows of some whole buckets, with weights whose sums round."""
    rng = np.random.default_rng(number)
    n, width = 500, NUM_BUCKETS // shards
    rows = Rows(
        bucket=number * width + rng.integers(0, width, n),
        weight=rng.random(n),
        attributions=rng.normal(size=(n, 2)).astype(np.float32),
        converged=rng.random(n) < 0.9,
        prediction=rng.normal(size=n),
        bin_index=rng.integers(0, 2, (n, 2)).astype(np.int32),
        failed_bucket=np.array([number * width]),
        failed_weight=np.array([0.3]),
    )
    return number, SliceSums(
        accumulate(FEATURES, BINS, rows, 1.0),
        QuantileSketch.of(rows.attributions, rows.weight, 1.0),
        GroupStatistics.of(GROUPS, FEATURES, rows),
    )


def test_the_order_of_shards_changes_no_bit():
    shards = [shard(i, 8) for i in range(8)]
    total = shards[0][1]
    for _, sums in shards[1:]:
        total = total + sums
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(8)
        joined = SliceSums.of_shards(shards[i] for i in order)
        for name in ("cell", "weight", "total_weight", "weight_squared"):
            np.testing.assert_array_equal(getattr(joined.sketch, name), getattr(total.sketch, name))
        np.testing.assert_array_equal(joined.statistics.histogram, total.statistics.histogram)
        for part in ("scalars", "sums", "bin_sums", "scores"):
            for name, values in getattr(total.statistics, part).items():
                np.testing.assert_array_equal(getattr(joined.statistics, part)[name], values, err_msg=name)
        np.testing.assert_array_equal(joined.groups.sum_joint, total.groups.sum_joint)
        np.testing.assert_array_equal(joined.groups.sum_apart, total.groups.sum_apart)


def test_shards_are_asked_for_once():
    assert SliceSums.of_shards(iter([shard(2, 8)])).statistics.scalars["rows"].sum() == 500


def test_a_slice_without_shards_is_refused():
    with pytest.raises(ValueError, match="at least one shard. Received: none"):
        SliceSums.of_shards([])
