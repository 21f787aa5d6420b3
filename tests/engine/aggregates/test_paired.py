"""Two linear models on the same rows: every number has a closed form."""

import numpy as np
import pytest

from tfx_explain.engine.aggregates.buckets import Rows, accumulate
from tfx_explain.engine.aggregates.intervals import bucket_draws
from tfx_explain.engine.aggregates.paired import (
    ModelRows,
    PairedRows,
    PairedStatistics,
    compare,
    share_drifts,
)

DRAWS = bucket_draws(7)
N = 4096


def values(rows=N, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)


def side(x, weights, target=None, explained=None):
    """A model that is linear: attribution of feature j is weights[j] x_j."""
    a = x[:, : len(weights)] * np.array(weights, np.float32)
    n = len(x)
    return ModelRows(
        a,
        a.sum(axis=1).astype(np.float64),
        np.zeros(n, int) if target is None else target,
        np.ones(n, bool) if explained is None else explained,
    )


def rows_of(candidate, reference, weight=None):
    n = len(candidate.explained)
    bucket = np.arange(n) % 64
    return PairedRows(bucket, np.ones(n) if weight is None else weight, candidate, reference)


def test_share_differences_of_two_linear_models():
    x = np.sign(values())  # |a| is the weight itself, so shares are exact in every draw
    pair = PairedStatistics.of(("a", "b"), ("b", "c"), rows_of(side(x, (3.0, 1.0)), side(x, (1.0, 3.0))))
    assert pair.features == ("a", "b", "c")
    found = compare(pair, DRAWS)
    for name, ours, theirs in (("a", 0.75, 0.0), ("b", 0.25, 0.25), ("c", 0.0, 0.75)):
        one = found.of(name)
        assert one.candidate_share.value == pytest.approx(ours, abs=1e-12)
        assert one.reference_share.value == pytest.approx(theirs, abs=1e-12)
        for bound in (one.share_difference.value, one.share_difference.low, one.share_difference.high):
            assert bound == pytest.approx(ours - theirs, abs=1e-12)
    assert (found.of("a").absent_from, found.of("b").absent_from, found.of("c").absent_from) == (
        "reference", "", "candidate",
    )  # fmt: skip
    assert (found.of("b").candidate_rank, found.of("b").reference_rank, found.of("b").rank_change) == (2, 2, 0)
    assert (found.of("a").candidate_rank, found.of("a").reference_rank, found.of("a").rank_change) == (1, None, None)
    assert np.isnan(found.of("a").correlation.value)
    assert found.of("a").mean_absolute_difference.value == pytest.approx(3.0, abs=1e-12)
    assert found.features[0].feature == "a" and found.features[-1].feature == "b"


def test_paired_intervals_are_narrower_than_each_share():
    """What both models share of the rows' noise cancels."""
    x = values(seed=3)
    pair = PairedStatistics.of(("a", "b"), ("a", "b"), rows_of(side(x, (1.0, 1.0)), side(x, (1.2, 1.0))))
    one = compare(pair, DRAWS).of("a")
    width = one.share_difference.high - one.share_difference.low
    assert 0 < width < 0.2 * (one.candidate_share.high - one.candidate_share.low)
    assert one.share_difference.high < 0


def test_the_same_model_differs_in_nothing():
    x = values()
    found = compare(PairedStatistics.of(("a", "b"), ("a", "b"), rows_of(side(x, (1, 2)), side(x, (1, 2)))), DRAWS)
    for one in found.features:
        assert (one.share_difference.value, one.share_difference.low, one.share_difference.high) == (0, 0, 0)
        assert one.correlation.value == pytest.approx(1, abs=1e-12)
        assert one.mean_absolute_difference.value == 0
        assert not one.sign_changed
    assert found.absolute_prediction_difference.value == 0
    assert found.rows == N and found.effective_rows == pytest.approx(N)


def test_weighted_correlation_and_prediction_differences():
    rng = np.random.default_rng(1)
    x, weight = values(seed=1), rng.integers(1, 5, N).astype(float)
    noisy = x + 0.7 * rng.normal(size=x.shape).astype(np.float32) + 3
    found = compare(
        PairedStatistics.of(("a", "b"), ("a", "b"), rows_of(side(x, (1, 2)), side(noisy, (-2, 1)), weight)), DRAWS
    )
    for j, (name, a, b) in enumerate((("a", 1, -2), ("b", 2, 1))):
        p, q = a * x[:, j].astype(float), b * noisy[:, j].astype(float)
        expected = np.cov(p, q, aweights=weight)
        one = found.of(name)
        assert one.correlation.value == pytest.approx(
            expected[0, 1] / np.sqrt(expected[0, 0] * expected[1, 1]), abs=1e-6
        )
        assert one.correlation.low < one.correlation.value < one.correlation.high
        assert one.mean_absolute_difference.value == pytest.approx(np.average(abs(p - q), weights=weight), rel=1e-6)
    gap = (x[:, 0] + 2 * x[:, 1]) - (-2 * noisy[:, 0] + noisy[:, 1])
    assert found.prediction_difference.value == pytest.approx(np.average(gap, weights=weight), abs=1e-5)
    assert found.absolute_prediction_difference.value == pytest.approx(np.average(abs(gap), weights=weight), rel=1e-5)


def test_a_constant_attribution_has_no_correlation():
    x, weight = np.full((N, 3), 0.1, np.float32), np.random.default_rng(2).random(N)
    names = ("a", "b", "c")
    pair = PairedStatistics.of(names, names, rows_of(side(x, (1, 2, 3)), side(x, (0.7, 1.1, 3.3)), weight))
    assert all(np.isnan(one.correlation.value) for one in compare(pair, DRAWS).features)


def test_a_sign_changes_only_when_both_means_are_known():
    x = values() + 1.0
    turned = compare(PairedStatistics.of(("a", "b"), ("a", "b"), rows_of(side(x, (1, 2)), side(x, (-1, 2)))), DRAWS)
    assert turned.of("a").sign_changed and not turned.of("b").sign_changed
    centred = values()
    unsure = compare(
        PairedStatistics.of(("a", "b"), ("a", "b"), rows_of(side(centred, (1, 2)), side(centred, (-1, 2)))), DRAWS
    )
    assert not unsure.of("a").sign_changed


def test_rows_pair_only_with_the_same_target_and_the_others_are_counted():
    x = np.ones((64, 2), np.float32)
    target = np.zeros(64, int)
    target[:10] = 1
    ours, theirs = np.ones(64, bool), np.ones(64, bool)
    ours[20:24], theirs[30:36] = False, False
    broken = x.copy()
    broken[20:24] = np.nan
    pair = PairedStatistics.of(
        ("a", "b"),
        ("a", "b"),
        rows_of(side(broken, (1, 3), target, ours), side(x, (1, 1), explained=theirs), np.full(64, 2.0)),
    )
    found = compare(pair, DRAWS)
    assert (found.rows, found.weight) == (64 - 10 - 4 - 6, 88.0)
    assert (found.other_target_rows, found.reference_only_rows, found.candidate_only_rows) == (10, 4, 6)
    assert pair.total("other_target_weight") == 20 and pair.total("reference_only_weight") == 8
    assert pair.candidate["sum_absolute"].sum(0).tolist() == [88.0, 264.0]
    assert pair.candidate["own_absolute"].sum(0).tolist() == [120.0, 360.0]
    assert pair.reference["own_absolute"].sum(0).tolist() == [116.0, 116.0]


def test_parts_add_up_to_the_whole():
    x = np.round(values() * 8) / 8  # sums of such numbers are exact
    whole = rows_of(side(x, (1, 2)), side(x, (2, 0.5)))
    total = PairedStatistics.of(("a", "b"), ("b", "a"), whole)
    parts = [whole.take(np.arange(start, N, 3)) for start in range(3)]
    sums = [PairedStatistics.of(("a", "b"), ("b", "a"), p) for p in parts]
    added = sums[0] + sums[1] + sums[2]
    joined = PairedStatistics.of(("a", "b"), ("b", "a"), PairedRows.concatenate(parts))
    for group in ("scalars", "candidate", "reference", "pairs"):
        for name, expected in getattr(total, group).items():
            np.testing.assert_array_equal(getattr(added, group)[name], expected)
            np.testing.assert_array_equal(getattr(joined, group)[name], expected)
    with pytest.raises(ValueError, match="other features"):
        _ = total + PairedStatistics.empty(("a",), ("b", "a"))


def stored(x, weights):
    """What an artifact keeps of a linear model on its own rows."""
    a = x[:, : len(weights)] * np.array(weights, np.float32)
    n = len(a)
    return accumulate(
        ("a", "b"),
        (1, 1),
        Rows(
            bucket=np.arange(n) % 64,
            weight=np.ones(n),
            attributions=a,
            converged=np.ones(n, bool),
            prediction=a.sum(axis=1).astype(float),
            bin_index=np.zeros((n, 2), np.int32),
            failed_bucket=np.zeros(0, int),
            failed_weight=np.zeros(0),
        ),
        1.0,
    )


def test_only_the_data_changed():
    """The same model on rows where x_a is three times as large."""
    before = np.sign(values())
    after = before * np.array([3, 1, 1], np.float32)
    pair = PairedStatistics.of(("a", "b"), ("a", "b"), rows_of(side(after, (1, 1)), side(after, (1, 1))))
    drift = share_drifts(pair, DRAWS, stored(before, (1, 1)), bucket_draws(8))
    assert drift["a"].then.value == pytest.approx(0.5, abs=1e-12)
    assert drift["a"].now.value == pytest.approx(0.75, abs=1e-12)
    for bound in (drift["a"].difference.value, drift["a"].difference.low, drift["a"].difference.high):
        assert bound == pytest.approx(0.25, abs=1e-12)
    assert compare(pair, DRAWS).of("a").share_difference.value == 0


def test_only_the_model_changed():
    """Another model on the rows of the reference's time: with the same draws the data part is 0, interval and all."""
    x = values()
    pair = PairedStatistics.of(("a", "b"), ("a", "b"), rows_of(side(x, (5, 1)), side(x, (1, 1))))
    drift = share_drifts(pair, DRAWS, stored(x, (1, 1)), DRAWS)
    for one in drift.values():
        assert (one.difference.value, one.difference.low, one.difference.high) == (0, 0, 0)
    assert compare(pair, DRAWS).of("a").share_difference.value > 0.3
    independent = share_drifts(pair, DRAWS, stored(x, (1, 1)), bucket_draws(8))["a"].difference
    assert independent.low < 0 < independent.high


def test_both_parts_add_up_to_what_is_seen():
    before, after = values(seed=1), values(seed=2) * np.array([2, 1, 1], np.float32)
    pair = PairedStatistics.of(("a", "b"), ("a", "b"), rows_of(side(after, (1, 4)), side(after, (1, 1))))
    found, drift = compare(pair, DRAWS), share_drifts(pair, DRAWS, stored(before, (1, 1)), bucket_draws(8))
    for name in ("a", "b"):
        seen = found.of(name).candidate_share.value - drift[name].then.value
        assert found.of(name).share_difference.value + drift[name].difference.value == pytest.approx(seen, abs=1e-12)


def test_few_buckets_widen_intervals_and_no_rows_measure_nothing():
    x = values(64)
    one_bucket = PairedRows(np.zeros(64, int), np.ones(64), side(x, (1, 2)), side(x, (1, 1)))
    few = PairedStatistics.of(("a", "b"), ("a", "b"), one_bucket)
    assert np.isnan(compare(few, DRAWS).of("a").share_difference.low)
    none = compare(PairedStatistics.empty(("a",), ("a",)), DRAWS)
    assert none.rows == 0 and np.isnan(none.of("a").share_difference.value)


def test_columns_must_be_the_features():
    x = values(4)
    with pytest.raises(ValueError, match="one column a feature, 1"):
        PairedStatistics.of(("a",), ("a", "b"), rows_of(side(x, (1, 2)), side(x, (1, 2))))
