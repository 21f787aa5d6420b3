import numpy as np
import pytest

from tfx_explain.engine.methods.noise import normals

SEEDS = np.arange(1000, dtype=np.uint64) * np.uint64(7919)


def test_the_numbers_are_standard_normal():
    values = np.sort(normals(SEEDS, (50,), "a").reshape(-1))
    assert np.isfinite(values).all()
    assert values.mean() == pytest.approx(0, abs=5 / np.sqrt(len(values)))
    assert values.var() == pytest.approx(1, abs=5 * np.sqrt(2 / len(values)))
    # Quantiles of the standard normal distribution.
    for probability, quantile in ((0.025, -1.959964), (0.25, -0.674490), (0.75, 0.674490), (0.975, 1.959964)):
        assert np.mean(values < quantile) == pytest.approx(probability, abs=0.01)


def test_places_rows_and_streams_are_independent():
    one, other = normals(SEEDS, (50,), "a", "0"), normals(SEEDS, (50,), "a", "1")
    for a, b in (
        (one, other),
        (one[:, 1:], one[:, :-1]),
        (one[1:], one[:-1]),
        (one**2, other**2),
        (one[:, 1:] ** 2, one[:, :-1] ** 2),
    ):
        assert abs(np.corrcoef(a.reshape(-1), b.reshape(-1))[0, 1]) < 0.025


def test_a_number_belongs_to_its_row_place_and_stream():
    whole = normals(SEEDS, (4, 3), "a")
    order = np.random.default_rng(0).permutation(1000)
    np.testing.assert_array_equal(normals(SEEDS[order], (4, 3), "a"), whole[order])
    np.testing.assert_array_equal(normals(SEEDS[17:18], (4, 3), "a"), whole[17:18])
    np.testing.assert_array_equal(normals(SEEDS[:7], (9, 5), "a")[:, :4, :3], whole[:7])


def test_one_number_a_row():
    assert normals(SEEDS, (), "a").shape == (1000,)
    assert normals(SEEDS, (0,), "a").shape == (1000, 0)
    assert len(np.unique(normals(SEEDS, (), "a"))) == 1000


@pytest.mark.parametrize("seeds", [np.arange(3), np.zeros((2, 2), np.uint64)])
def test_refuses_what_is_no_seed(seeds):
    with pytest.raises(ValueError, match="row_seeds must be uint64"):
        normals(seeds, (2,), "a")
