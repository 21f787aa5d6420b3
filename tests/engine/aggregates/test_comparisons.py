import dataclasses
import tracemalloc

import numpy as np
import pytest
from tests.fixtures.synthetic import HONEST, PINNED_BINS, Additive

from tfx_explain.engine.aggregates.buckets import BucketStatistics, accumulate
from tfx_explain.engine.aggregates.comparisons import (
    Profiles,
    direction_flips,
    log_scale,
    moved_inputs,
    profile_changes,
    share_changes,
)
from tfx_explain.engine.aggregates.intervals import bucket_draws

ONE = np.ones((1, 64))
COMMON = tuple(HONEST)


def profiles(weights: dict[str, float], **kwargs) -> Profiles:
    return Profiles.of(Additive(weights, **kwargs).statistics(), ONE)


def test_shares_are_those_of_the_mean_absolute_attribution():
    got = profiles(HONEST, rows=50_000)
    total = sum(abs(w) for w in HONEST.values())
    want = np.array([abs(w) / total for w in HONEST.values()])
    np.testing.assert_allclose(got.shares(COMMON)[0], want, atol=0.004)
    np.testing.assert_allclose(got.shares(("a", "b"))[0].sum(), 1.0)


def test_a_model_is_at_no_distance_from_itself():
    one = profiles(HONEST)
    for distance in (share_changes, profile_changes, direction_flips):
        np.testing.assert_allclose(distance(one, one, COMMON), 0.0, atol=1e-12)
    assert log_scale(one, one)[0] == 0.0


def test_a_tenfold_model_changes_scale_alone():
    ten = {f: 10 * w for f, w in HONEST.items()}
    assert log_scale(profiles(ten), profiles(HONEST))[0] == pytest.approx(np.log(10), abs=1e-6)
    np.testing.assert_allclose(share_changes(profiles(ten), profiles(HONEST), COMMON), 0.0, atol=1e-6)


def test_a_flipped_feature_flips_by_its_share():
    flipped = HONEST | {"a": -HONEST["a"]}
    now, before = profiles(flipped), profiles(HONEST)
    flips = direction_flips(now, before, COMMON)[0]
    assert flips[0] == pytest.approx(now.shares(COMMON)[0, 0], abs=0.005)  # r is -1
    np.testing.assert_allclose(flips[1:], 0.0, atol=1e-9)
    np.testing.assert_allclose(share_changes(now, before, COMMON), 0.0, atol=1e-9)
    # twice its mean |attribution| along the profile: |x - (-x)| = 2 |x|
    assert profile_changes(now, before, COMMON)[0, 0] == pytest.approx(2 * before.shares(COMMON)[0, 0], rel=0.05)


def test_a_profile_ignores_an_offset():
    """Moving the input baseline adds a constant to a feature's attribution: no change of its profile."""
    stats = Additive(HONEST).statistics()
    rows = Additive(HONEST).explained()
    shifted = dataclasses.replace(rows, attributions=rows.attributions + np.float32(0.3))
    moved = accumulate(COMMON, tuple(PINNED_BINS[f].size for f in COMMON), shifted, 1.0)
    got = profile_changes(Profiles.of(moved, ONE), Profiles.of(stats, ONE), COMMON)
    np.testing.assert_allclose(got, 0.0, atol=1e-6)


def test_direction_needs_four_shared_bins():
    sizes = (4,)  # three categories and missing: two would be enough for a correlation, and say nothing

    def categorical(sign: float) -> Profiles:
        rows = dataclasses.replace(
            Additive({"a": sign}, rows=900).explained(),
            bin_index=(np.arange(900) % 3)[:, None],
            attributions=(sign * (np.arange(900) % 3 - 1)).astype(np.float32)[:, None],
        )
        return Profiles.of(accumulate(("a",), sizes, rows, 1.0), ONE)

    assert direction_flips(categorical(1.0), categorical(-1.0), ("a",))[0, 0] == 0.0
    assert profile_changes(categorical(1.0), categorical(-1.0), ("a",))[0, 0] > 0.9


@pytest.mark.parametrize("side", [0, 1])
def test_a_bin_whose_rows_weigh_nothing_is_left_out(side):
    """Example weights may be 0 for a whole category: a mean of it is no number, and hides none of the other bins."""
    both = [Additive(HONEST | {"a": -HONEST["a"]}).statistics(), Additive(HONEST).statistics()]
    place = COMMON.index("a") * both[0].bin_sizes[0] + 3
    for name in ("bin_weight", "bin_sum"):
        both[side].bin_sums[name][:, place] = 0
    now, before = (Profiles.of(statistics, ONE) for statistics in both)
    assert direction_flips(now, before, COMMON)[0, 0] == pytest.approx(now.shares(COMMON)[0, 0], abs=0.005)
    assert profile_changes(now, before, COMMON)[0, 0] == pytest.approx(2 * before.shares(COMMON)[0, 0], rel=0.1)
    assert np.isfinite(profile_changes(before, before, COMMON)).all()


def test_a_direction_that_is_no_number_is_not_kept():
    now = profiles(HONEST)
    broken = dataclasses.replace(now, bin_sum=np.full_like(now.bin_sum, np.nan))
    assert np.isnan(direction_flips(now, broken, COMMON)).all()


def test_many_features_are_compared_without_all_draws_of_all_bins():
    """With 10,000 features and five required slices these were 5 GB."""
    count, size = 600, 11
    statistics = BucketStatistics.empty(tuple(f"f{i:03d}" for i in range(count)), (size,) * count)
    for name in ("rows", "weight"):
        statistics.scalars[name][:] = 55.0
    statistics.sums["sum_absolute"][:] = 55.0
    for name in ("bin_rows", "bin_weight"):
        statistics.bin_sums[name][:] = 5.0
    statistics.bin_sums["bin_sum"][:] = np.tile(np.arange(size), count)
    draws = bucket_draws(1)
    tracemalloc.start()
    now, before = Profiles.of(statistics, draws), Profiles.of(statistics, ONE)
    for distance in (profile_changes, direction_flips):
        assert distance(now, before, statistics.features).max() == 0.0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(draws) * count * size * 8


def test_inputs_that_moved_are_named_and_others_are_not():
    before = Additive(HONEST, seed=1).statistics()
    assert max(moved_inputs(Additive(HONEST, seed=2).statistics(), before).values()) < 1
    moved = moved_inputs(Additive(HONEST, seed=2, shift={"c": 1.0}).statistics(), before)
    assert {f for f, size in moved.items() if size > 1} == {"c"}


def test_a_dead_model_has_no_shares():
    dead = Profiles.of(BucketStatistics.empty(("a", "b"), (2, 2)), ONE)
    assert np.isnan(dead.shares(("a", "b"))).all()
