"""Intervals from draws of hash buckets, against truths that are known: how often they hold them."""

import numpy as np
import pytest
from scipy.stats import norm, t

from tfx_explain.engine.aggregates.intervals import (
    bucket_draws,
    drawn,
    measure,
    measure_columns,
    measure_maximum,
    small_sample_factor,
)

SCALES = np.array([1.0, 0.7, 0.4])
NAMES = ("share", "mean_absolute", "mean")
PARTS = 8  # each part of the simulations has draws of its own: the noise of one matrix of draws would be shared
NOMINAL = 0.90


def laplace(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return rng.laplace(size=size)


def student(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return rng.standard_t(3, size=size)


def lognormal(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return rng.lognormal(size=size)


# (mean, mean |.|) of each distribution.
MOMENTS = {laplace: (0.0, 1.0), student: (0.0, 2 * np.sqrt(3) / np.pi), lognormal: (np.exp(0.5), np.exp(0.5))}


def bucket_sums(bucket: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[64, sims, F] sums of values [sims, n, F] by bucket [sims, n]."""
    sims = len(bucket)
    flat = (bucket + 64 * np.arange(sims)[:, None]).ravel()
    columns = [np.bincount(flat, weights=values[:, :, f].ravel(), minlength=64 * sims) for f in range(values.shape[2])]
    return np.stack(columns, axis=-1).reshape(sims, 64, -1).transpose(1, 0, 2)


def statistics(draws: np.ndarray, bucket: np.ndarray, a: np.ndarray, weight: np.ndarray) -> dict[str, np.ndarray]:
    """Share, mean |a| and mean by draw, each [D, sims, F]; a [sims, n, F], weight [sims, n]."""
    total, absolute, signed = (
        drawn(draws, bucket_sums(bucket, weight[:, :, None] * v)) for v in (np.ones_like(a[:, :, :1]), np.abs(a), a)
    )
    return {
        "share": absolute / absolute.sum(2, keepdims=True),
        "mean_absolute": absolute / total,
        "mean": signed / total,
    }


def filled(bucket: np.ndarray) -> np.ndarray:
    """[sims, 1] buckets with rows."""
    return np.array([len(np.unique(b)) for b in bucket])[:, None]


def coverage(simulate, truth: dict[str, np.ndarray], sims: int) -> dict[str, float]:
    """Part of intervals that hold the truth, by statistic; simulate(rng, sims) -> bucket, attributions, weight."""
    held: dict[str, list[np.ndarray]] = {name: [] for name in truth}
    for part in range(PARTS):
        bucket, a, weight = simulate(np.random.default_rng([7, part]), sims // PARTS)
        tables = statistics(bucket_draws(part), bucket, a, weight)
        for name, want in truth.items():
            _, low, high = measure_columns(tables[name], filled(bucket))
            held[name].append(((low <= want) & (want <= high)).ravel())
    return {name: float(np.mean(np.concatenate(parts))) for name, parts in held.items()}


@pytest.mark.parametrize("rows", [50, 200, 1000, 10_000])
@pytest.mark.parametrize("distribution", list(MOMENTS))
def test_intervals_cover_at_any_number_of_rows(distribution, rows):
    """90 %, less two standard errors of the simulation; unwidened for skewness, lognormal rows have 85 % at 50."""

    def simulate(rng, sims):
        a = distribution(rng, (sims, rows, 3)) * SCALES
        return rng.integers(0, 64, (sims, rows)), a, np.ones((sims, rows))

    mean, absolute = MOMENTS[distribution]
    truth = {"share": SCALES / SCALES.sum(), "mean_absolute": absolute * SCALES, "mean": mean * SCALES}
    sims = {50: 1600, 200: 1600, 1000: 800, 10_000: 400}[rows]
    got = coverage(simulate, truth, sims)
    for name in NAMES:
        assert NOMINAL - 2 * np.sqrt(NOMINAL * (1 - NOMINAL) / sims) <= got[name] <= 0.95, got


@pytest.mark.parametrize("weighted", [True, False])
def test_inverse_probability_weights_cover_the_population(weighted):
    """A tenth of the population attributes three times as much and is sampled five times as often."""

    def simulate(rng, sims):
        rare = rng.random((sims, 600)) < 0.5 / 1.4  # 0.1 * 5 / (0.1 * 5 + 0.9 * 1)
        a = rng.laplace(size=(sims, 600, 3)) * SCALES + 1.0
        a = np.where(rare[:, :, None], 3 * a * [1.0, 1.0, 0.2], a)
        return rng.integers(0, 64, rare.shape), a, np.where(rare & weighted, 0.2, 1.0)

    absolute = 1.0 + SCALES * np.exp(-1 / SCALES)  # E|1 + s L| of a Laplace variable L
    absolute = 0.9 * absolute + 0.1 * 3 * absolute * [1.0, 1.0, 0.2]
    truth = {"share": absolute / absolute.sum(), "mean_absolute": absolute, "mean": 0.9 + 0.1 * np.array([3, 3, 0.6])}
    got = coverage(simulate, truth, 1200)
    for name in NAMES:
        assert (0.86 <= got[name] <= 0.94) if weighted else got[name] < 0.5, got


@pytest.mark.parametrize("by", ["cluster", "row"])
def test_nested_rows_are_covered_by_buckets_of_clusters_alone(by):
    """80 clusters of 10 to 30 rows, each with a level of its own: half of the variance is between clusters."""

    def simulate(rng, sims):
        size = rng.integers(10, 31, (sims, 80))
        cluster = np.minimum((np.arange(1600)[None, :, None] >= np.cumsum(size, axis=1)[:, None, :]).sum(axis=2), 79)
        level = np.take_along_axis(rng.normal(size=(sims, 80, 3)), cluster[:, :, None], axis=1)
        a = (level + rng.normal(size=(sims, 1600, 3))) * SCALES
        bucket = np.take_along_axis(rng.integers(0, 64, (sims, 80)), cluster, axis=1)
        return bucket if by == "cluster" else rng.integers(0, 64, cluster.shape), a, np.ones(cluster.shape)

    absolute = SCALES * np.sqrt(4 / np.pi)  # E|normal| of variance 2
    truth = {"share": absolute / absolute.sum(), "mean_absolute": absolute, "mean": 0 * SCALES}
    got = coverage(simulate, truth, 480)
    if by == "cluster":
        assert all(0.85 <= c <= 0.94 for c in got.values()), got
    else:
        assert got["mean"] < 0.5 and max(got.values()) < 0.8, got


def test_few_filled_buckets_need_the_wider_intervals():
    """Ten clusters, each in a bucket of its own: as wide as with 64, intervals hold the mean in 88 % of samples."""
    plain, wide = [], []
    for part in range(PARTS):
        rng = np.random.default_rng([8, part])
        sums = np.zeros((64, 250))
        sums[:10] = rng.normal(size=(10, 250))
        draws = bucket_draws(part)
        table = drawn(draws, sums) / drawn(draws, (np.arange(64) < 10).astype(float))[:, None]
        for held, count in ((plain, 64), (wide, 10)):
            _, low, high = measure_columns(table, count)
            held.append((low <= 0) & (high >= 0))
    assert np.mean(plain) < 0.89
    assert 0.9 <= np.mean(wide) <= 0.97


def test_widening_follows_students_t_and_allows_for_skewness():
    count = np.arange(2, 65)
    rows = np.append(np.log1p(-count[:-1] / 64) / np.log1p(-1 / 64), 1000)  # that fill so many buckets on average
    want = t.ppf(0.95, count - 1) * np.sqrt(count / (count - 1)) * (1 + 1.3 / np.sqrt(np.maximum(rows, 50)))
    np.testing.assert_allclose(small_sample_factor(count), want / norm.ppf(0.95), rtol=1e-3)
    assert np.isnan(small_sample_factor(1)) and np.isnan(small_sample_factor(0))
    table = np.random.default_rng(0).normal(size=401)
    wide, full = measure(table, 10), measure(table)
    assert (wide.high - wide.value) / (full.high - full.value) == pytest.approx(want[8] / want[-1], rel=1e-3)


def cells(rng: np.random.Generator, draws: np.ndarray, scales: np.ndarray, rows: int) -> np.ndarray:
    """Shares by draw [D, 20 * F]: every row lies in one of 12 slices of one column and in one of 8 of another."""
    a = np.abs(rng.standard_t(3, (rows, len(scales)))) * scales
    bucket = rng.integers(0, 64, rows)
    # The sizes of slices differ: the smallest has a third of the rows of the largest.
    one, two = (rng.choice(k, rows, p=np.linspace(1, 3, k) / np.linspace(1, 3, k).sum()) for k in (12, 8))
    flat = np.concatenate([one * 64 + bucket, (12 + two) * 64 + bucket])
    sums = [np.bincount(flat, weights=np.tile(column, 2), minlength=20 * 64).reshape(20, 64) for column in a.T]
    absolute = drawn(draws, np.stack(sums, axis=-1).transpose(1, 0, 2))  # [D, 20, F]
    return (absolute / absolute.sum(axis=2, keepdims=True)).reshape(len(draws), -1)


def test_the_largest_of_many_cells_is_no_false_alarm():
    """20 slices x 4 features that all have a share of exactly 0.25: nothing lies above a threshold of 0.25.

    Percentiles of the maximum over cells, taken anew in each draw, put nearly every sample above it.
    """
    sims, alarms, percentile_alarms = 300, 0, 0
    for sim in range(sims):
        table = cells(np.random.default_rng([9, sim]), bucket_draws(sim), np.ones(4), 1500)
        alarms += measure_maximum(table).low > 0.25
        percentile_alarms += measure(table.max(axis=1)).low > 0.25
    assert alarms / sims <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / sims)
    assert percentile_alarms / sims > 0.9


def test_the_largest_cell_is_not_passed_too_early_and_not_missed():
    """One feature of five leads in all slices with a share of 1/3."""
    scales, sims, passed, found = np.array([2.0, 1.0, 1.0, 1.0, 1.0]), 200, 0, 0
    for sim in range(sims):
        got = measure_maximum(cells(np.random.default_rng([10, sim]), bucket_draws(sim), scales, 1500))
        assert got.low <= got.value <= got.high
        passed += got.high < 1 / 3
        found += got.low > 0.25
    assert passed / sims <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / sims)
    assert found / sims > 0.95


def test_one_cell_is_its_own_maximum():
    table = np.random.default_rng(11).normal(1.0, 0.1, 401)
    alone, cell = measure_maximum(table[:, None]), measure(table)
    assert (alone.value, alone.high) == (cell.value, cell.high)
    reach = small_sample_factor(64) * (np.quantile(table[1:], 0.95, method="weibull") - cell.value)
    assert alone.low == pytest.approx(cell.value - reach, abs=1e-12)


def test_a_maximum_that_is_not_known_has_no_interval():
    table = np.random.default_rng(12).normal(size=(401, 3))
    table[5, 1] = np.nan
    got = measure_maximum(table)
    assert np.isfinite(got.value) and np.isnan(got.low) and np.isnan(got.high)
    assert np.isnan(measure_maximum(table[:, :0]).value)
    constant = measure_maximum(np.full((401, 2), 0.5))
    assert (constant.low, constant.high) == (0.5, 0.5)
