import dataclasses
import pickle

import numpy as np
import pytest
from tests.engine.aggregates.block_data import block
from tests.fixtures.synthetic import HONEST, PINNED_BINS, Additive

from tfx_explain.engine.aggregates.buckets import HISTOGRAM_SIZE, BucketStatistics, Rows, accumulate, histogram_bins
from tfx_explain.engine.aggregates.sketch import QuantileSketch, sketch_bins

FEATURES = tuple(HONEST)
SIZES = tuple(PINNED_BINS[f].size for f in FEATURES)


def take(rows: Rows, chosen: np.ndarray) -> Rows:
    fields = {f.name: getattr(rows, f.name) for f in dataclasses.fields(Rows)}
    per_row = {k: v[chosen] for k, v in fields.items() if isinstance(v, np.ndarray) and not k.startswith("failed")}
    return Rows(**(fields | per_row))


def test_sums_match_a_loop_over_rows():
    rows = dataclasses.replace(
        Additive(HONEST, rows=300).explained(), weight=np.random.default_rng(5).integers(1, 4, 300) * 1.0
    )
    got = accumulate(FEATURES, SIZES, rows, 0.5)
    a = rows.attributions.astype(float)
    for bucket in (0, 17, 63):
        here = rows.bucket == bucket
        w = rows.weight[here]
        assert got.scalars["weight"][bucket] == w.sum()
        assert got.scalars["weight_squared"][bucket] == (w**2).sum()
        np.testing.assert_allclose(got.sums["sum"][bucket], (w[:, None] * a[here]).sum(0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(got.sums["sum_absolute"][bucket], (w[:, None] * abs(a[here])).sum(0), rtol=1e-12)
        np.testing.assert_allclose(got.sums["sum_positive"][bucket], (w[:, None] * (a[here] > 0)).sum(0), rtol=1e-12)
        share = abs(a[here]) / abs(a[here]).sum(1, keepdims=True)
        np.testing.assert_allclose(got.sums["sum_row_share"][bucket], (w[:, None] * share).sum(0), rtol=1e-12)
        for j, start in enumerate(np.cumsum((0, *SIZES))[:-1]):
            for b in range(SIZES[j]):
                inside = here & (rows.bin_index[:, j] == b)
                assert got.bin_sums["bin_rows"][bucket, start + b] == inside.sum()
                assert got.bin_sums["bin_weight"][bucket, start + b] == rows.weight[inside].sum()
                want = (rows.weight[inside] * a[inside, j]).sum()
                assert got.bin_sums["bin_sum"][bucket, start + b] == pytest.approx(want, abs=1e-12)
                want = (rows.weight[inside] * rows.label[inside]).sum()
                assert got.bin_sums["bin_sum_label"][bucket, start + b] == want
    assert got.histogram.shape == (64, len(FEATURES), HISTOGRAM_SIZE)
    assert got.histogram.sum() == rows.weight.sum() * len(FEATURES)
    assert (got.scores["scores_positive"].sum() + got.scores["scores_negative"].sum()) == rows.weight.sum()
    assert got.scores["scores_positive"].sum() == (rows.weight * rows.label).sum()


def test_parts_add_up_to_the_whole():
    rows = Additive(HONEST, rows=400).explained()
    whole = accumulate(FEATURES, SIZES, rows, 1.0)
    half = np.arange(400) < 150
    parts = accumulate(FEATURES, SIZES, take(rows, half), 1.0) + accumulate(FEATURES, SIZES, take(rows, ~half), 1.0)
    for mine, theirs in zip(whole._arrays(), parts._arrays(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


def test_buckets_taken_apart_and_joined_are_the_same_bytes():
    whole = Additive(HONEST, rows=500).statistics()
    joined = BucketStatistics.join({b: whole.bucket(b) for b in reversed(range(64))})
    for mine, theirs in zip(whole._arrays(), joined._arrays(), strict=True):
        assert mine.tobytes() == theirs.tobytes()


def test_a_count_weighs_like_equal_rows():
    rows = Additive(HONEST, rows=200).explained()
    doubled = dataclasses.replace(rows, weight=rows.weight * 2)
    twice = accumulate(FEATURES, SIZES, rows, 1.0)
    twice = twice + twice
    once = accumulate(FEATURES, SIZES, doubled, 1.0)
    for name in ("sum_absolute", "sum", "sum_positive", "sum_row_share"):
        np.testing.assert_allclose(once.sums[name], twice.sums[name], rtol=1e-12, atol=1e-12)
    assert once.effective_rows == pytest.approx(200)
    assert twice.effective_rows == pytest.approx(400)


def test_statistics_of_other_features_do_not_add():
    with pytest.raises(ValueError, match="other features"):
        _ = BucketStatistics.empty(("a",), (2,)) + BucketStatistics.empty(("b",), (2,))


def test_failed_rows_count_apart():
    stats = Additive(HONEST, rows=999, failed=1).statistics()
    assert stats.failed_weight_fraction == pytest.approx(0.001)
    assert stats.total_weight == 999


def test_zero_is_not_positive():
    rows = Additive(HONEST, rows=100).explained()
    still = dataclasses.replace(rows, attributions=np.zeros_like(rows.attributions))
    assert not accumulate(FEATURES, SIZES, still, 1.0).sums["sum_positive"].any()


def test_filled_buckets_are_those_with_rows():
    rows = Additive(HONEST, rows=100).explained()
    assert accumulate(FEATURES, SIZES, rows, 1.0).filled_buckets == len(np.unique(rows.bucket)) < 64
    assert BucketStatistics.empty(FEATURES, SIZES).filled_buckets == 0


@pytest.mark.parametrize("weights", ["ones", "whole", "fractions"])
def test_shards_of_whole_buckets_give_the_bytes_of_the_whole(weights):
    rng = np.random.default_rng(8)
    weight = {"ones": np.ones(900), "whole": rng.integers(1, 4, 900) * 1.0, "fractions": rng.random(900)}[weights]
    rows = dataclasses.replace(Additive(HONEST, rows=900).explained(), weight=weight)
    whole = accumulate(FEATURES, SIZES, rows, 1.0)
    parts = [accumulate(FEATURES, SIZES, take(rows, rows.bucket // 16 == shard), 1.0) for shard in range(4)]
    for mine, theirs in zip(whole._arrays(), sum(parts[1:], parts[0])._arrays(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_bucket_of_many_rows_is_summed_like_few():
    rows = dataclasses.replace(Additive(HONEST, rows=3000).explained(), bucket=np.full(3000, 7))
    got = accumulate(FEATURES, SIZES, rows, 1.0)
    a = rows.attributions.astype(float)
    np.testing.assert_allclose(got.sums["sum"][7], (rows.weight[:, None] * a).sum(0), rtol=1e-10)
    assert got.histogram[7].sum() == rows.weight.sum() * len(FEATURES)
    assert not got.histogram[:7].any()


def test_bins_that_are_known_already_change_nothing():
    rows = Additive(HONEST, rows=500).explained()
    a = rows.attributions
    known = dataclasses.replace(rows, histogram_bin=histogram_bins(a, 0.3), sketch_bin=sketch_bins(a, 0.3))
    want, got = (accumulate(FEATURES, SIZES, r, 0.3) for r in (rows, known))
    np.testing.assert_array_equal(got.histogram, want.histogram)
    want, got = (QuantileSketch.of(a, rows.weight, 0.3, place) for place in (None, known.sketch_bin))
    np.testing.assert_array_equal(got.cell, want.cell)
    np.testing.assert_array_equal(got.weight, want.weight)


@pytest.mark.parametrize("kept", [slice(0, 64), slice(16, 20), slice(0, 0)])
def test_statistics_are_the_same_behind_a_pickle_and_travel_without_empty_buckets(kept):
    rows = Additive(HONEST, rows=3000).explained()
    whole = accumulate(FEATURES, SIZES, rows, 0.5)
    part = accumulate(FEATURES, SIZES, take(rows, np.isin(rows.bucket, np.arange(64)[kept])), 0.5)
    sent = pickle.dumps(part)
    got = pickle.loads(sent)
    assert (got.features, got.bin_sizes) == (FEATURES, SIZES)
    for mine, theirs in zip(got._arrays(), part._arrays(), strict=True):
        assert mine.dtype == theirs.dtype and np.array_equal(mine, theirs)
    assert len(sent) <= len(pickle.dumps(whole)) * (len(range(64)[kept]) + 2) / 64


def test_a_bucket_alone_survives_a_pickle():
    one = accumulate(FEATURES, SIZES, Additive(HONEST, rows=300).explained(), 0.5).bucket(3)
    got = pickle.loads(pickle.dumps(one))
    assert all(np.array_equal(a, b) for a, b in zip(got._arrays(), one._arrays(), strict=True))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_buckets_sums_have_the_same_bits_whatever_stands_beside_it(weighted):
    random = np.random.default_rng(3)
    weight = random.uniform(0.5, 2, 3000) if weighted else None
    rows = block(random.normal(size=(3000, 3)), random.integers(0, 4, (3000, 3)), weight)
    rows.bucket[:] = np.where(rows.bucket < 40, 7, rows.bucket)  # one bucket has many more rows than the others
    together = accumulate(("a", "b", "c"), (4, 4, 4), rows, 1.0)
    for bucket in (7, 50, 63):
        own = rows.bucket == bucket
        alone = accumulate(
            ("a", "b", "c"),
            (4, 4, 4),
            dataclasses.replace(
                rows,
                **{
                    name: getattr(rows, name)[own]
                    for name in ("bucket", "weight", "attributions", "converged", "prediction", "bin_index")
                },
            ),
            1.0,
        )
        for mine, theirs in zip(together.bucket(bucket)._arrays(), alone.bucket(bucket)._arrays(), strict=True):
            np.testing.assert_array_equal(mine, theirs)
