import numpy as np
import pytest

from tfx_explain.engine.aggregates.sketch import LARGEST, NUM_BINS, RELATIVE_ERROR, SMALLEST, QuantileSketch

LEVELS = np.array([0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0])


def exact(values: np.ndarray, weight: np.ndarray, q: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weight[order])
    return values[order][np.searchsorted(reached, (q - 1e-9) * reached[-1])]


@pytest.mark.parametrize("unit", [1.0, 0.003, 250.0])
def test_quantiles_err_by_the_promised_part_of_themselves(unit):
    rng = np.random.default_rng(0)
    a = np.exp(rng.normal(0, 3, size=(5000, 3))) * rng.choice([-1, 1], (5000, 3))
    a = np.clip(np.abs(a), 2 * SMALLEST, LARGEST / 2) * np.sign(a) * unit
    weight = rng.integers(1, 5, 5000).astype(float)
    got = QuantileSketch.of(a, weight, unit).quantiles(LEVELS)
    want = np.array([[exact(a[:, f], weight, q) for q in LEVELS] for f in range(3)])
    assert (np.abs(got - want) <= (RELATIVE_ERROR + 1e-9) * np.abs(want)).all()
    assert (np.sign(got) == np.sign(want)).all()


def test_both_ends_of_a_bin_reach_the_error_and_do_not_pass_it():
    a = np.geomspace(SMALLEST, LARGEST, 100_001)[:-1]
    got = np.array([QuantileSketch.of(a[i : i + 1, None], np.ones(1), 1.0).quantiles([0.5])[0, 0] for i in range(500)])
    worst = np.abs(got / a[:500] - 1).max()
    assert 0.9 * RELATIVE_ERROR < worst <= RELATIVE_ERROR + 1e-9


def test_zero_is_exact_and_the_ends_are_open():
    a = np.array([0.0, -0.0, SMALLEST / 7, -SMALLEST / 7, 1e9, -1e9])[None, :]
    sketch = QuantileSketch.of(a, np.ones(1), 1.0)
    got = sketch.quantiles([0.5])[:, 0]
    assert got[:2].tolist() == [0.0, 0.0]
    assert got[2:4].tolist() == [SMALLEST / 2, -SMALLEST / 2]
    assert got[4] == -got[5] and LARGEST <= got[4] < 1.06 * LARGEST
    low, high = QuantileSketch.of(np.repeat(a, 100, axis=0), np.ones(100), 1.0).intervals([0.5])
    assert (low[0, 0], high[0, 0]) == (0.0, 0.0)
    assert (low[4, 0], high[4, 0]) == (got[4], np.inf)
    assert (low[5, 0], high[5, 0]) == (-np.inf, got[5])


def test_parts_add_up_to_the_whole_in_any_order():
    rng = np.random.default_rng(1)
    a, weight = rng.standard_t(3, (600, 4)), rng.integers(1, 9, 600).astype(float)
    whole = QuantileSketch.of(a, weight, 0.5)
    parts = [QuantileSketch.of(a[s], weight[s], 0.5) for s in (slice(0, 1), slice(1, 257), slice(257, 600))]
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        got = QuantileSketch.empty(4, 0.5)
        for i in order:
            got = got + parts[i]
        assert got.cell.tobytes() == whole.cell.tobytes()
        assert got.weight.tobytes() == whole.weight.tobytes()
        assert (got.total_weight, got.weight_squared) == (whole.total_weight, whole.weight_squared)


def test_a_weight_counts_like_repeated_rows():
    a, weight = np.random.default_rng(2).normal(size=(50, 2)), np.arange(50) % 4  # some rows have no weight
    once = QuantileSketch.of(a, weight.astype(float), 1.0)
    repeated = QuantileSketch.of(np.repeat(a, weight, axis=0), np.ones(weight.sum()), 1.0)
    assert once.weight.tobytes() == repeated.weight.tobytes()
    assert once.quantiles(LEVELS).tobytes() == repeated.quantiles(LEVELS).tobytes()
    assert once.effective_rows < repeated.effective_rows == weight.sum()


def test_intervals_are_order_statistics():
    """1,000 rows: the median's bounds are ranks 500 -+ 1.645 sqrt(250), the upper one rank further."""
    a = (1.0 + np.arange(1000))[:, None] / 1000
    low, high = QuantileSketch.of(a, np.ones(1000), 1.0).intervals([0.5])
    margin = 1.6448536 * np.sqrt(250)
    for got, rank in ((low[0, 0], np.ceil(500 - margin)), (high[0, 0], np.ceil(501 + margin))):
        assert got == pytest.approx(rank / 1000, rel=2 * RELATIVE_ERROR + 0.001)
    fewer = QuantileSketch.of(a, np.ones(1000), 1.0).intervals([0.5], np.array([40.0]))
    assert fewer[0] < low and high < fewer[1]


def test_ranks_are_exact_and_ties_with_a_level_go_down():
    """Ten rows 2, 4, 8, ...: the median is the fifth, its bounds the ranks ceil(5 - 2.60) and ceil(5 + 2.60) + 1."""
    a, weight = 2.0 ** np.arange(1, 11)[:, None], np.full(10, 0.1)  # weights whose sums are rounded
    sketch = QuantileSketch.of(a, weight, 1.0)
    assert np.rint(np.log2(sketch.quantiles([0.1, 0.3, 0.5, 0.7]))).tolist() == [[1, 3, 5, 7]]
    low, high = sketch.intervals([0.5])
    assert np.rint(np.log2([low[0, 0], high[0, 0]])).tolist() == [3, 9]


@pytest.mark.parametrize("value", [0.5, SMALLEST / 3])
def test_bounds_are_the_outer_ends_of_a_bin_on_both_sides_of_zero(value):
    sketch = QuantileSketch.of(np.tile([value, -value], (100, 1)), np.ones(100), 1.0)
    low, high = (bound[:, 0] for bound in sketch.intervals([0.5]))
    assert low[0] < value < high[0]
    assert (low[1], high[1]) == (-high[0], -low[0])
    if value > SMALLEST:
        assert high[0] / low[0] == pytest.approx((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))


def test_a_quantile_beyond_the_rows_has_an_open_bound():
    sketch = QuantileSketch.of(np.linspace(-1, 1, 20)[:, None], np.ones(20), 1.0)
    low, high = sketch.intervals([0.05, 0.5, 0.95])
    assert low[0, 0] == -np.inf and np.isfinite(high[0, 0])
    assert np.isfinite(low[0, 2]) and high[0, 2] == np.inf
    assert np.isfinite([low[0, 1], high[0, 1]]).all()


def test_intervals_cover_the_quantile():
    rng, levels = np.random.default_rng(3), np.array([0.05, 0.5, 0.95])
    truth = -np.log1p(-levels)  # of the exponential distribution
    low, high = QuantileSketch.of(rng.exponential(size=(400, 1000)), np.ones(400), 1.0).intervals(levels)
    covered = ((low <= truth) & (truth <= high)).mean(axis=0)
    # The bins' outer ends make them somewhat wider than they need be.
    assert ((covered >= 0.88) & (covered <= 0.985)).all(), covered


def test_without_rows_nothing_is_known():
    sketch = QuantileSketch.empty(2, 1.0)
    assert np.isnan(sketch.quantiles(LEVELS)).all()
    assert all(np.isnan(bound).all() for bound in sketch.intervals(LEVELS))
    assert sketch.effective_rows == 0


def test_a_thousand_features_stay_small():
    a = np.random.default_rng(4).standard_cauchy((2000, 1000)).astype(np.float32)
    sketch = QuantileSketch.of(a, np.ones(2000), 1.0)
    assert sketch.cell.nbytes + sketch.weight.nbytes <= NUM_BINS * 1000 * 16 <= 16 * 2**20


def test_what_cannot_be_sketched_is_refused():
    with pytest.raises(ValueError, match="unit must be > 0"):
        QuantileSketch.empty(1, 0.0)
    with pytest.raises(ValueError, match="attributions must be finite"):
        QuantileSketch.of(np.array([[np.nan]]), np.ones(1), 1.0)
    with pytest.raises(ValueError, match="same features and unit"):
        _ = QuantileSketch.empty(1, 1.0) + QuantileSketch.empty(1, 2.0)
