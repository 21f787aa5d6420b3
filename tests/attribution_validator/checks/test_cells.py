import numpy as np
import pytest

from tfx_explain.attribution_validator.checks.base import judge
from tfx_explain.attribution_validator.checks.cells import largest, lower_bounds
from tfx_explain.engine.aggregates.intervals import bucket_draws, drawn, measure, measure_maximum


def shares(cells: int, rows: int, seed: int) -> np.ndarray:
    """[1 + draws, cells] of cells with the same true share."""
    rng = np.random.default_rng(seed)
    bucket, absolute = rng.integers(0, 64, rows), np.abs(rng.normal(size=(rows, cells)))
    sums = np.stack([np.bincount(bucket, weights=a, minlength=64) for a in absolute.T], axis=1)
    table = drawn(bucket_draws(seed), sums)
    return table / table.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("filled", [64, 20])
def test_of_one_slice_the_bounds_are_those_of_the_maximum(filled):
    table = shares(12, 2000, 1)
    (low,) = lower_bounds([table], [filled])
    assert low.max() == pytest.approx(measure_maximum(table, filled).low, abs=1e-15)


def test_bounds_of_several_slices_are_those_of_all_their_cells_together():
    one, other = shares(8, 2000, 1), shares(5, 500, 2)
    together = lower_bounds([np.concatenate([one, other], axis=1)], [64])[0]
    assert np.array_equal(np.concatenate(lower_bounds([one, other], [64, 64])), together)
    assert (lower_bounds([one, other], [64, 64])[0] <= lower_bounds([one], [64])[0]).all()


def test_a_slice_in_few_buckets_has_lower_bounds_and_leaves_others_as_they_are():
    one, other = shares(8, 2000, 1), shares(5, 500, 2)
    wide, usual = lower_bounds([one, other], [64, 10]), lower_bounds([one, other], [64, 64])
    assert np.array_equal(wide[0], usual[0])
    assert (wide[1] < usual[1]).all()


def test_what_cannot_be_measured_has_no_bound_and_spoils_no_other():
    one, other = shares(8, 2000, 1), shares(5, 500, 2)
    broken = other.copy()
    broken[7, 2] = np.nan
    low = lower_bounds([one, broken], [64, 64])
    assert np.isnan(low[1]).tolist() == [False, False, True, False, False]
    without = lower_bounds([one, other[:, [0, 1, 3, 4]]], [64, 64])
    assert np.array_equal(low[0], without[0])
    assert judge(largest(broken, low[1], 64)[1], 1.0) == "INCONCLUSIVE"


def test_a_pass_needs_the_upper_bound_of_the_drawn_maximum_and_so_of_every_cell():
    table = shares(12, 2000, 3)
    top, measured = largest(table, lower_bounds([table], [64])[0], 64)
    assert measured.high == measure(table.max(axis=1)).high
    assert measured.high >= max(measure(table[:, k]).high for k in range(12))
    assert (top, measured.value) == (int(np.argmax(table[0])), table[0].max())
    assert measured.low <= measured.value <= measured.high


def test_cells_without_any_spread_are_what_they_are():
    table = np.full((401, 3), 0.25)
    (low,) = lower_bounds([table], [64])
    assert low.tolist() == [0.25] * 3


def test_noise_among_many_cells_is_no_finding():
    """24 cells exactly at the threshold, in two slices: a percentile bound of the maximum would call most a finding."""
    found = naive = 0
    for seed in range(100):
        one, other = shares(12, 1000, seed), shares(12, 400, 1000 + seed)
        lows = lower_bounds([one, other], [64, 64])
        found += any(judge(largest(t, low, 64)[1], 1 / 12) == "FAIL" for t, low in zip((one, other), lows, strict=True))
        naive += measure(one.max(axis=1)).low > 1 / 12
    assert found <= 12  # 5 of 100 are expected
    assert naive > 60
