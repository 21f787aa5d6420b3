import dataclasses

import numpy as np
import pytest
from scipy.stats import spearmanr
from tests.engine.aggregates.block_data import block
from tests.fixtures.synthetic import HONEST, Additive

from tfx_explain.engine.aggregates.buckets import BucketStatistics, Rows, accumulate
from tfx_explain.engine.aggregates.intervals import bucket_draws, drawn, measure
from tfx_explain.engine.aggregates.sketch import QuantileSketch
from tfx_explain.engine.aggregates.statistics import (
    STATISTICS,
    SliceStatistics,
    directions,
    shares_known,
    slice_statistics,
    total_attribution,
)

DRAWS = bucket_draws(11)


def published(rows: Rows, bins: int = 2, ordered: bool = True, floor: float = 0.0) -> SliceStatistics:
    count = rows.attributions.shape[1]
    features = tuple("abcdefgh"[:count])
    statistics = accumulate(features, (bins,) * count, rows, 1.0)
    sketch = QuantileSketch.of(rows.attributions, rows.weight, 1.0)
    return slice_statistics(statistics, sketch, DRAWS, [ordered] * count, floor)


def test_values_match_their_definitions():
    rng = np.random.default_rng(1)
    a, w = rng.standard_t(5, (800, 3)).astype(np.float32), rng.integers(1, 4, 800).astype(float)
    got = published(block(a, weight=w))
    a = a.astype(float)
    mean = (w @ a) / w.sum()
    want = {
        "share": (w @ abs(a)) / (w @ abs(a)).sum(),
        "mean_absolute": (w @ abs(a)) / w.sum(),
        "mean": mean,
        "row_share": (w @ (abs(a) / abs(a).sum(1, keepdims=True))) / w.sum(),
        "standard_deviation": np.sqrt((w @ (a - mean) ** 2) / w.sum()),
        "fraction_positive": (w @ (a > 0)) / w.sum(),
    }
    for name, values in want.items():
        np.testing.assert_allclose(got.value[:, STATISTICS.index(name)], values, rtol=1e-10)
    repeated = np.repeat(a, w.astype(int), axis=0)
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        np.testing.assert_allclose(
            got.value[:, STATISTICS.index(f"quantile_{q}")],
            np.quantile(repeated, q, axis=0, method="inverted_cdf"),
            rtol=0.0251,
        )
    assert got.rows == 800 and got.filled_buckets == 64
    assert got.effective_rows == pytest.approx(w.sum() ** 2 / (w**2).sum())


def test_every_value_lies_within_its_interval():
    got = published(block(np.random.default_rng(2).normal(size=(300, 4)), np.arange(1200).reshape(300, 4) // 4 % 6), 7)
    assert np.isfinite(got.value).all()
    assert ((got.low < got.value) & (got.value < got.high)).all()
    one = got.measured("b", "share")
    assert (one.value, one.low, one.high) == (got.value[1, 0], got.low[1, 0], got.high[1, 0])


def test_one_feature_has_all_of_the_share():
    got = published(block(np.random.default_rng(3).normal(size=(200, 1)))).measured("a", "share")
    assert (got.value, got.low, got.high) == (1.0, 1.0, 1.0)


def test_shares_of_two_and_three_features_add_up():
    for count in (2, 3):
        got = published(block(np.random.default_rng(count).normal(size=(200, count)) * np.arange(1, count + 1)))
        assert got.value[:, 0].sum() == pytest.approx(1.0, abs=1e-12)
        assert (np.diff(got.value[:, 0]) > 0).all()
        assert (got.low[:, 0] < got.value[:, 0]).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_model_that_attributes_nothing_has_no_shares(count):
    got = published(block(np.zeros((200, count))))
    for name in ("share", "row_share"):
        at = STATISTICS.index(name)
        assert np.isnan([got.value[:, at], got.low[:, at], got.high[:, at]]).all()
    for name in ("mean_absolute", "mean", "standard_deviation", "fraction_positive", "quantile_0.5"):
        at = STATISTICS.index(name)
        assert not np.any([got.value[:, at], got.low[:, at], got.high[:, at]])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shares_below_the_floor_are_not_known(count):
    rows = block(np.random.default_rng(4).choice([-0.5, 0.5], (200, count)))
    total = 0.5 * count
    assert np.isfinite(published(rows, floor=total).value[:, 0]).all()
    below = published(rows, floor=total * 1.001)
    assert np.isnan(below.value[:, 0]).all() and np.isnan(below.high[:, STATISTICS.index("row_share")]).all()
    assert (below.value[:, STATISTICS.index("mean_absolute")] == 0.5).all()


def test_shares_are_known_from_the_floor_on():
    assert shares_known(0.1, 0.1) and shares_known(0.1, 0.0)
    assert not shares_known(0.0999, 0.1)
    assert not shares_known(0.0, 0.0) and not shares_known(float("nan"), 0.0)
    assert np.isnan(total_attribution(BucketStatistics.empty(("a",), (2,))))
    assert total_attribution(accumulate(("a",), (2,), block(np.full((10, 1), -0.5)), 1.0)) == 0.5


def test_a_constant_does_not_vary():
    got = published(block(np.full((1000, 1), 0.1)))
    assert got.measured("a", "standard_deviation").high == 0.0
    assert got.measured("a", "mean").low == pytest.approx(0.1)


def test_direction_is_spearmans_over_bins_of_equal_weight():
    rng = np.random.default_rng(5)
    for _ in range(20):
        means = rng.integers(0, 6, 8).astype(float)  # with ties
        got = directions([9], np.ones((1, 9)), np.append(means, 100.0)[None, :], [True])
        assert got[0, 0] == pytest.approx(spearmanr(np.arange(8), means).statistic, abs=1e-12)


def test_direction_is_spearmans_over_rows_when_bins_weigh_differently():
    weight, means = np.array([5, 1, 2, 7, 3.0]), np.array([0.1, 0.4, 0.2, 0.2, 0.3])
    got = directions([6], np.append(weight, 4.0)[None, :], np.append(weight * means, 9.0)[None, :], [True])
    rows = np.repeat(np.arange(5), weight.astype(int))
    assert got[0, 0] == pytest.approx(spearmanr(rows, means[rows]).statistic, abs=1e-12)


@pytest.mark.parametrize(("sign", "want"), [(1, 1.0), (-1, -1.0)])
def test_a_rising_curve_has_direction_one(sign, want):
    index = (np.arange(2000) % 5)[:, None]
    rows = block(sign * (index + 0.001 * np.random.default_rng(6).normal(size=index.shape)), index)
    got = published(rows, bins=6).measured("a", "direction")
    assert (got.value, got.low, got.high) == pytest.approx((want, want, want), abs=1e-12)


def test_without_order_or_with_few_bins_there_is_no_direction():
    for bins, ordered in ((5, False), (3, True)):
        index = (np.arange(500) % bins)[:, None]
        got = published(block(index * 1.0, index), bins=bins + 1, ordered=ordered).measured("a", "direction")
        assert np.isnan([got.value, got.low, got.high]).all()
    index = (np.arange(500) % 5)[:, None]
    assert np.isnan(published(block(np.full((500, 1), 0.1), index), bins=6).measured("a", "direction").value)


def test_a_direction_that_noise_could_turn_has_an_interval_around_zero():
    index = np.random.default_rng(7).integers(0, 8, (400, 1))
    got = published(block(np.random.default_rng(8).normal(size=(400, 1)), index), bins=9).measured("a", "direction")
    assert -1 <= got.low < 0 < got.high <= 1


def test_the_curve_is_the_mean_of_each_bin():
    rng = np.random.default_rng(9)
    index, w = rng.integers(0, 4, (600, 2)), rng.integers(1, 4, 600).astype(float)
    a = (index + rng.normal(size=(600, 2))).astype(np.float32)
    curve = published(block(a, index, w), bins=6).curve("b")
    assert curve.starts.tolist() == [0, 6]
    for b in range(4):
        inside = index[:, 1] == b
        assert curve.value[b] == pytest.approx(np.average(a[inside, 1].astype(float), weights=w[inside]))
        assert curve.low[b] < curve.value[b] < curve.high[b]
        assert (curve.rows[b], curve.weight[b]) == (inside.sum(), w[inside].sum())
    assert np.isnan(curve.value[4:]).all() and np.isnan(curve.low[4:]).all()


def test_a_bin_in_few_buckets_has_the_wider_interval():
    rng = np.random.default_rng(13)
    rows = block(rng.normal(size=(900, 1)), (rng.random((900, 1)) < 0.04).astype(np.int32))
    statistics = accumulate(("a",), (3,), rows, 1.0)
    weight, total = (statistics.bin_sums[name][:, 1] for name in ("bin_weight", "bin_sum"))
    want = measure(drawn(DRAWS, total) / drawn(DRAWS, weight), int((weight > 0).sum()))
    curve = published(rows, bins=3).curve("a")
    assert statistics.filled_buckets == 64 and (weight > 0).sum() < 40
    assert (curve.value[1], curve.low[1], curve.high[1]) == (want.value, want.low, want.high)


def test_fewer_rows_have_wider_intervals():
    a = np.random.default_rng(10).normal(size=(4000, 2))
    few, many = published(block(a[:200])), published(block(a))
    widths = [(s.high - s.low)[:, [i for i, n in enumerate(STATISTICS) if n != "direction"]] for s in (few, many)]
    assert (widths[0] > 2 * widths[1]).all()


def test_rows_that_resemble_each_other_widen_quantiles_too():
    rng = np.random.default_rng(11)
    apart = block(rng.normal(size=(3000, 1)))
    level = rng.normal(size=64)
    alike = dataclasses.replace(apart, attributions=(apart.attributions * 0.3 + level[apart.bucket, None]))
    narrow, wide = (published(rows).measured("a", "quantile_0.5") for rows in (apart, alike))
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_a_slice_that_fills_few_buckets_has_no_intervals():
    rows = block(np.random.default_rng(12).normal(size=(40, 2)))
    got = published(dataclasses.replace(rows, bucket=rows.bucket % 2))
    assert np.isfinite(got.value[:, 0]).all()
    assert np.isnan(got.low).all() and np.isnan(got.high).all()


def test_the_statistics_of_a_whole_are_those_of_its_buckets_joined():
    whole = Additive(HONEST, rows=500).statistics()
    rows = Additive(HONEST, rows=500).explained()
    sketch = QuantileSketch.of(rows.attributions, rows.weight, 1.0)
    joined = BucketStatistics.join({b: whole.bucket(b) for b in reversed(range(64))})
    one, two = (slice_statistics(s, sketch, DRAWS, [True] * len(HONEST)) for s in (whole, joined))
    for name in ("value", "low", "high"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
        assert getattr(one.curves, name).tobytes() == getattr(two.curves, name).tobytes()


def test_what_does_not_fit_is_refused():
    statistics = accumulate(("a", "b"), (2, 2), block(np.ones((5, 2))), 1.0)
    with pytest.raises(ValueError, match="must have the statistics' 2 features"):
        slice_statistics(statistics, QuantileSketch.empty(1, 1.0), DRAWS, [True, True])
    got = published(block(np.ones((5, 2))))
    with pytest.raises(KeyError, match="among the published"):
        got.measured("a", "median")
    with pytest.raises(KeyError, match="among the attributed"):
        got.curve("z")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("features", [(), ("a",), ("a", "b")])
def test_a_slice_without_rows_is_not_known(features):
    statistics = BucketStatistics.empty(features, (6,) * len(features))
    got = slice_statistics(statistics, QuantileSketch.empty(len(features), 1.0), DRAWS, [True] * len(features))
    assert got.value.shape == (len(features), len(STATISTICS))
    assert np.isnan([got.value, got.low, got.high]).all() and np.isnan(got.curves.value).all()
    assert (got.rows, got.effective_rows, got.filled_buckets) == (0, 0.0, 0)
