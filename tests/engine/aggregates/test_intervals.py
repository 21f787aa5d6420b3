import numpy as np
import pytest

from tfx_explain.engine.aggregates.intervals import bucket_draws, drawn, measure, seed_from


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
