"""Donors of permuted features: bijections that keep to their strata and do not depend on the cut into blocks."""

import pickle

import numpy as np
import pytest

from tfx_explain.engine.methods.permutation import Donors, offset

STRATA = np.random.default_rng(0).integers(-1, 12, 500)
SINGLE = np.concatenate([STRATA, [90, 91, 92]])  # three rows alone in their strata
CASES = {
    "marginal": Donors.marginal(500),
    "strata": Donors.within(STRATA),
    "alone": Donors.within(SINGLE),
    "two": Donors.marginal(2),
}


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("repeat", [0, 1, 7])
def test_donors_are_a_bijection_whose_inverse_are_the_receivers(name, repeat):
    donors = CASES[name]
    ranks = np.arange(donors.size)
    got = donors.of(ranks, "content", "x", repeat)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(np.sort(got), ranks)
    np.testing.assert_array_equal(donors.receivers(got, "content", "x", repeat), ranks)
    np.testing.assert_array_equal(
        donors.of(donors.receivers(ranks, "content", "x", repeat), "content", "x", repeat), ranks
    )
    assert np.count_nonzero(got == ranks) == donors.alone


def test_rows_alone_are_counted_and_are_their_own_donors():
    donors = CASES["alone"]
    assert donors.alone == 3
    np.testing.assert_array_equal(donors.of(np.array([500, 501, 502]), "c", "x", 3), [500, 501, 502])
    assert (CASES["strata"].alone, CASES["marginal"].alone, Donors.marginal(1).alone) == (0, 0, 1)
    np.testing.assert_array_equal(Donors.marginal(1).of(np.array([0]), "c", "x", 0), [0])


def test_strata_are_never_left():
    ranks = np.arange(len(SINGLE))
    for feature in ("x", "y"):
        got = CASES["alone"].of(ranks, "content", feature, 2)
        np.testing.assert_array_equal(SINGLE[got], SINGLE[ranks])


def test_one_stratum_is_the_marginal_shift():
    ranks = np.arange(500)
    one = Donors.within(np.full(500, 7))
    want = CASES["marginal"].of(ranks, "content", "x", 4)
    np.testing.assert_array_equal(one.of(ranks, "content", "x", 4), want)
    np.testing.assert_array_equal(want, (ranks + offset("content", "x", 4, 500)) % 500)


def test_a_stratum_is_shifted_by_its_own_cycle():
    donors = Donors.within(np.array([5, 2, 5, 2, 5, 5]))
    step = offset("c", "x", 1, 4)
    cycle = [0, 2, 4, 5]
    np.testing.assert_array_equal(donors.of(np.array(cycle), "c", "x", 1), np.roll(cycle, -step))
    np.testing.assert_array_equal(donors.of(np.array([1, 3]), "c", "x", 1), [3, 1])


@pytest.mark.parametrize("name", list(CASES))
def test_donors_do_not_depend_on_the_cut_or_the_process(name):
    donors = pickle.loads(pickle.dumps(CASES[name]))
    ranks = np.random.default_rng(1).permutation(donors.size)
    whole = CASES[name].of(ranks, "content", "x", 1)
    cut = [donors.of(part, "content", "x", 1) for part in np.array_split(ranks, 9)]
    np.testing.assert_array_equal(np.concatenate(cut), whole)


def test_repeats_pair_every_row_with_other_rows():
    for size in (6, 7, 50):
        donors = Donors.within(np.arange(3 * size) % 3)
        pairs = [donors.of(np.arange(3 * size), "content", "x", r) for r in range(size - 1)]
        assert all(len(set(row)) == size - 1 for row in np.stack(pairs, axis=1))


def test_offsets_spread_over_all_of_the_cycle():
    got = np.array([offset("content", f"feature {i}", 0, 11) for i in range(2000)])
    assert (got.min(), got.max()) == (1, 10)
    counts = np.bincount(got, minlength=11)[1:]
    assert np.abs(counts - 200).max() < 5 * np.sqrt(200)
    assert offset("content", "x", 0, 10**6) != offset("other", "x", 0, 10**6)
    assert (offset("content", "x", 3, 1), offset("content", "x", 3, 2)) == (0, 1)


def test_offsets_stay_what_they_are():
    """They decide the values of stored artifacts."""
    assert [offset("content", "x", r, 1000) for r in range(3)] == [766, 767, 768]


def test_no_rows_have_no_donors():
    for donors in (Donors.marginal(0), Donors.within(np.zeros(0, np.int64))):
        assert donors.of(np.zeros(0, np.int64), "c", "x", 0).shape == (0,)
        assert donors.alone == 0


def test_refusals():
    with pytest.raises(ValueError, match=r"ranks must be in \[0, 500\). Received: ranks from 3 to 500"):
        CASES["marginal"].of(np.array([3, 500]), "c", "x", 0)
    with pytest.raises(ValueError, match="repeat must be >= 0. Received: repeat=-1"):
        CASES["strata"].of(np.array([3]), "c", "x", -1)
    with pytest.raises(ValueError, match="size must be >= 1. Received: size=0"):
        offset("c", "x", 0, 0)
    with pytest.raises(ValueError, match="size must be >= 0"):
        Donors.marginal(-1)
    with pytest.raises(ValueError, match="one integer code a row"):
        Donors.within(np.array([0.5, 1.0]))
