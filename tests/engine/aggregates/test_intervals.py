import numpy as np
import pytest

from tfx_explain.engine.aggregates import intervals
from tfx_explain.engine.aggregates.intervals import (
    bucket_draws,
    drawn,
    measure,
    measure_columns,
    seed_from,
    small_sample_factor,
)


def test_every_draw_takes_as_many_buckets_as_there_are():
    draws = bucket_draws(7)
    assert (draws[0] == 1).all()
    assert (draws.sum(axis=1) == 64).all()
    assert len(draws) >= 201


def test_draws_belong_to_the_seed():
    assert (bucket_draws(3) == bucket_draws(3)).all()
    assert (bucket_draws(3) != bucket_draws(4)).any()
    assert seed_from("a", "bc") != seed_from("ab", "c")


def test_intervals_of_a_mean_cover_it():
    """A 90 % interval of a heavy-tailed mean covers it in about 90 % of samples."""
    rng = np.random.default_rng(0)
    covered = 0
    for i in range(300):
        values, bucket = rng.exponential(size=1000), rng.integers(0, 64, 1000)
        sums = np.bincount(bucket, weights=values, minlength=64), np.bincount(bucket, minlength=64).astype(float)
        draws = bucket_draws(i)
        got = measure(drawn(draws, sums[0]) / drawn(draws, sums[1]))
        assert got.low <= got.value <= got.high
        covered += got.low <= 1.0 <= got.high
    assert 0.85 <= covered / 300 <= 0.95


def test_what_is_not_finite_has_no_interval():
    got = measure(np.array([1.0, np.nan, 2.0]))
    assert got.value == 1.0
    assert np.isnan(got.low) and np.isnan(got.high)


def test_drawn_keeps_the_other_axes():
    sums = np.random.default_rng(0).normal(size=(64, 3, 5))
    draws = bucket_draws(0)
    np.testing.assert_allclose(drawn(draws, sums), np.tensordot(draws, sums, 1), rtol=1e-9, atol=1e-9)
    assert drawn(draws, sums)[0] == pytest.approx(sums.sum(axis=0))


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_drawn_does_not_depend_on_the_order_of_its_terms(scale):
    rng = np.random.default_rng(1)
    sums = rng.normal(size=(64, 50)) * 10.0 ** rng.integers(-6, 6, (64, 50)) * scale
    draws, order = bucket_draws(0), rng.permutation(64)
    got = drawn(draws, sums)
    np.testing.assert_array_equal(got, drawn(draws[:, order], sums[order]))
    exact = (draws.astype(np.longdouble)[:, :, None] * sums.astype(np.longdouble)).sum(axis=1)
    assert (np.abs(got - exact) <= 1e-12 * np.abs(sums).max(axis=0)).all()


def test_whole_numbers_are_drawn_exactly():
    sums = np.random.default_rng(2).integers(0, 2**40, (64, 20)).astype(float)
    draws = bucket_draws(0)
    np.testing.assert_array_equal(drawn(draws, sums), draws.astype(np.int64) @ sums.astype(np.int64))


def test_a_sum_that_is_not_finite_spoils_its_own_column_alone():
    sums = np.ones((64, 3))
    sums[5, 1] = np.inf
    with np.errstate(invalid="ignore"):
        got = drawn(bucket_draws(0), sums)
    assert (got[:, [0, 2]] == 64).all()
    assert not np.isfinite(got[0, 1])


@pytest.mark.parametrize("draws", [1, 2, 199, 200, 400])
def test_bounds_are_numpys_quantiles(draws):
    table = np.random.default_rng(draws).normal(size=(1 + draws, 3, 4))
    value, low, high = measure_columns(table)
    want = np.quantile(table[1:], [0.05, 0.95], axis=0, method="weibull")
    factor = small_sample_factor(64)  # about the value, which the interval always holds
    np.testing.assert_array_equal(low, value - factor * (value - np.minimum(want[0], value)))
    np.testing.assert_array_equal(high, value + factor * (np.maximum(want[1], value) - value))


@pytest.mark.parametrize("columns", [1, 2, 10, 11, 21, 300])
def test_no_product_is_shared_among_threads(columns, monkeypatch):
    """OpenBLAS shares products of more than 2^18 multiplications, and those with a vector much earlier."""
    draws, sums = bucket_draws(1), np.random.default_rng(0).normal(size=(64, columns))
    want = drawn(draws, sums)
    asked = []

    def matmul(a, b, out=None):
        asked.append((*a.shape, b.shape[1]))
        found = np.einsum("db,bc->dc", a, b)
        if out is not None:
            out[...] = found
        return found

    monkeypatch.setattr(intervals.np, "matmul", matmul)
    np.testing.assert_array_equal(drawn(draws, sums), want)  # the products are exact: in any order
    assert asked and all(n >= 2 and m * k * n <= 1 << 18 for m, k, n in asked)
