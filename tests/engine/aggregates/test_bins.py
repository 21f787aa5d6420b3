import numpy as np
import pytest

from tfx_explain.engine.aggregates.bins import FeatureBins, category_bins, quantile_bins


def test_deciles_are_exact_and_hold_a_tenth_each():
    values = np.random.default_rng(0).permutation(1000).astype(float)
    bins = quantile_bins(values, np.ones(1000))
    counts = np.bincount(bins.assign(values, np.ones(1000, bool)), minlength=bins.size)
    assert bins.edges == tuple(float(i * 100 - 1) for i in range(1, 10))
    assert counts.tolist() == [99] + [100] * 8 + [101] + [0]


def test_weights_count_like_repeated_values():
    values, weights = np.array([1.0, 2.0, 3.0, 4.0]), np.array([5, 1, 3, 1])
    assert quantile_bins(values, weights) == quantile_bins(np.repeat(values, weights), np.ones(10))


def test_the_order_of_values_does_not_matter():
    rng = np.random.default_rng(1)
    values = rng.choice([0.0, 0.5, 7.0, -3.0], 500)
    assert quantile_bins(values, np.ones(500)) == quantile_bins(rng.permutation(values), np.ones(500))


def test_categories_are_the_commonest_with_ties_by_bytes():
    values = np.array([b"b", b"a", b"c", b"c"] + [b"x%02d" % i for i in range(40)], object)
    bins = category_bins(values, np.ones(len(values)))
    assert bins.categories[:3] == (b"c", b"a", b"b")
    assert len(bins.categories) == 30
    got = bins.assign(np.array([b"c", b"x39", b"", b"a"], object), np.array([True, True, False, True]))
    assert got.tolist() == [0, 30, 31, 1]


def test_missing_has_a_bin_of_its_own_and_a_constant_has_two():
    bins = quantile_bins(np.full(10, 3.0), np.ones(10))
    assert bins.edges == (3.0,)
    assert bins.assign(np.array([3.0, 0.0]), np.array([True, False])).tolist() == [1, 2]


@pytest.mark.parametrize(
    "bins",
    [
        FeatureBins(edges=(0.1, 1e300)),
        FeatureBins(edges=()),
        FeatureBins(categories=(b"\xff\x00", b"a")),
        FeatureBins(categories=(3, -1)),
    ],
)
def test_bins_survive_json(bins):
    assert FeatureBins.from_dict(bins.to_dict()) == bins
    assert len(bins.labels) == bins.size


@pytest.mark.parametrize(
    ("bins", "words"),
    [
        (FeatureBins(edges=()), ["any number"]),
        (FeatureBins(edges=(0.25,)), ["below 0.25", "0.25 and more"]),
        # Ids have all their digits, and no two bins read alike.
        (
            FeatureBins(edges=(-1.0, 17031242100.0, 17031242101.0)),
            ["below -1", "-1 to below 17031242100", "17031242100 to below 17031242101", "17031242101 and more"],
        ),
        (
            FeatureBins(edges=(1234567.25, 1234567.5)),
            ["below 1234567.25", "1234567.25 to below 1234567.5", "1234567.5 and more"],
        ),
        (FeatureBins(edges=(1e-9, 1e300)), ["below 1e-09", "1e-09 to below 1e+300", "1e+300 and more"]),
        (FeatureBins(categories=("größe".encode(), b"\xff")), ["größe", "\\xff", "other"]),
        (FeatureBins(categories=(3, -1)), ["3", "-1", "other"]),
    ],
)
def test_bins_in_words(bins, words):
    assert bins.labels == [*words, "missing"]


def test_both_kinds_or_neither_is_refused():
    with pytest.raises(ValueError, match="exactly one of edges and categories"):
        FeatureBins()
