"""Sums over permuted pairs: histograms on edges against their definition, and the shortcuts that sums take."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_explain.engine.aggregates.permuted_rows import PermutedRows
from tfx_explain.engine.aggregates.permuted_scores import Places, coarse_edges, on_coarse_edges, score_edges
from tfx_explain.engine.aggregates.permuted_sums import accumulate


def shares(edges, score):
    """What a score gives to each edge, by interpolation: [n, K]."""
    clipped = np.clip(score, edges[0], edges[-1])
    return np.stack([np.interp(clipped, edges, one) for one in np.eye(len(edges))], axis=1)


edge_sets = st.lists(st.floats(-9, 9), min_size=15, max_size=80).map(
    lambda found: np.unique(np.concatenate([np.linspace(-10, 10, 16), np.round(found, 6)]))
)


@given(edges=edge_sets, seed=st.integers(0, 1000))
def test_scores_lie_between_their_edges_and_are_shared_in_proportion(edges, seed):
    rng = np.random.default_rng(seed)
    score = np.concatenate([edges, np.nextafter(edges, 99), np.nextafter(edges, -99), rng.normal(0, 5, 200), [-50, 50]])
    places = Places.of(edges, score)
    want = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, len(edges) - 2)
    np.testing.assert_array_equal(places.fine, want)
    got = np.zeros((len(score), len(edges)))
    got[np.arange(len(score)), places.fine] = 1 - places.part
    got[np.arange(len(score)), places.fine + 1] += places.part
    np.testing.assert_allclose(got, shares(edges, score), atol=1e-8)
    coarse, part = places.coarse(edges)
    few = edges[coarse_edges(len(edges))]
    direct = np.zeros((len(score), len(few)))
    direct[np.arange(len(score)), coarse] = 1 - part
    direct[np.arange(len(score)), coarse + 1] += part
    np.testing.assert_allclose(direct, shares(few, score), atol=1e-8)
    np.testing.assert_allclose(on_coarse_edges(edges, got), direct, atol=1e-12)


def binary_rows(donor_bucket, weight=None, n=3000, features=2, repeats=3):
    rng = np.random.default_rng(1)
    base = rng.normal(size=(n, 1)).astype(np.float32)
    permuted = base + 0.4 * rng.normal(size=(features, repeats, n, 1)).astype(np.float32)
    donors = donor_bucket(rng, (features, repeats, n))
    return PermutedRows.of(
        "binary",
        "logit",
        (rng.random(n) < 0.3).astype(float),
        base,
        permuted,
        np.arange(n) * 64 // n,
        np.ones(n) if weight is None else weight(rng, n),
        donors,
        None if weight is None else weight(rng, donors.shape),
    )


def in_runs(rng, shape):
    start = rng.integers(0, shape[2], shape[:2])[..., None]
    return (start + np.arange(shape[2])) % shape[2] * 64 // shape[2]


def anyhow(rng, shape):
    return rng.integers(0, 64, shape)


def in_one(rng, shape):
    """No repeat ends where its donors' bucket does."""
    return np.full(shape, 7)


def slowly(rows, edges):
    """The sums by bucket and in all, pair by pair."""
    features, repeats, n = rows.donor_bucket.shape
    coarse = edges[coarse_edges(len(edges))]
    losses = np.zeros((64, features, 5))
    histograms = np.zeros((64, features, 2, 2, len(coarse)))
    totals = np.zeros((features, repeats, 2, 2, len(edges)))
    score = rows.permuted[..., 0].astype(float)
    base = rows.base[:, 0].astype(float)

    def metrics(s):
        return (s > 0) == (rows.label == 1), np.logaddexp(0, s) - rows.label * s

    for f, r in np.ndindex(features, repeats):
        weight = rows.weight * (rows.weight if rows.donor_weight is None else rows.donor_weight[f, r])
        (accuracy, loss), (own_accuracy, own_loss) = metrics(score[f, r]), metrics(base)
        values = np.stack([np.ones(n), own_accuracy, accuracy, own_loss, loss], axis=1) * weight[:, None]
        for side, s in enumerate((score[f, r], base)):
            np.add.at(totals[f, r, :, side], rows.label.astype(int), shares(edges, s) * weight[:, None])
        for bucket in (rows.bucket, rows.donor_bucket[f, r]):
            np.add.at(losses[:, f], bucket, values)
            for side, s in enumerate((score[f, r], base)):
                at = bucket, rows.label.astype(int)
                np.add.at(histograms[:, f, :, side], at, shares(coarse, s) * weight[:, None])
    return losses, histograms, totals


@pytest.mark.parametrize("donors", [in_runs, in_one, anyhow])
@pytest.mark.parametrize("weight", [None, lambda rng, shape: rng.integers(1, 4, shape).astype(float)])
def test_sums_are_those_of_all_pairs(donors, weight):
    rows = binary_rows(donors, weight)
    edges = score_edges(np.histogram(rows.base, 1000, (-10, 10))[0].astype(float))
    got = accumulate(["a", "b"], rows, edges)
    losses, histograms, totals = slowly(rows, edges)
    np.testing.assert_allclose(got.loss_buckets, losses, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got.score_buckets, histograms, atol=1e-6 * histograms.max())
    np.testing.assert_allclose(got.score_totals, totals, atol=1e-6 * totals.max())
    np.testing.assert_allclose(got.loss_totals.sum(axis=1), losses.sum(axis=0) / 2, rtol=1e-9)


def test_runs_of_donors_are_summed_as_single_pairs_are():
    """In the order of hashes donors have runs, otherwise none: the sums are those of the same pairs."""
    rows = binary_rows(in_runs)
    edges = np.linspace(-10, 10, 40)
    shuffled = rows.take(np.random.default_rng(2).permutation(len(rows)))
    for name, values in accumulate(["a", "b"], rows, edges).arrays().items():
        other = accumulate(["a", "b"], shuffled, edges).arrays()[name]
        np.testing.assert_allclose(values, other, atol=1e-11 * np.abs(values).max(), err_msg=name)


def test_a_failed_pair_leaves_the_others_of_its_row():
    rows = binary_rows(in_runs)
    failed = dataclasses.replace(rows, permuted=rows.permuted.copy())
    failed.permuted[1, 2, 5] = np.nan
    edges = np.linspace(-10, 10, 40)
    whole, less = (accumulate(["a", "b"], r, edges) for r in (rows, failed))
    assert less.failed_pairs.tolist() == [0, 1]
    np.testing.assert_allclose(less.loss_totals[0], whole.loss_totals[0], rtol=1e-12)
    assert (whole.loss_totals[1, :, 0] - less.loss_totals[1, :, 0]).tolist() == [0, 0, 1]
