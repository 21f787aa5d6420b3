import numpy as np
import pytest

from tfx_explain.engine.aggregates.feature_clusters import MAX_FEATURES, Moments, clusters


def correlated(r: float, rows: int = 4000, seed: int = 0) -> np.ndarray:
    """Two columns whose correlation is exactly r."""
    z = np.random.default_rng(seed).normal(size=(rows, 2))
    z -= z.mean(axis=0)
    x = z[:, 0] / np.sqrt(np.mean(z[:, 0] ** 2))
    rest = z[:, 1] - x * np.mean(x * z[:, 1])
    return np.stack([x, r * x + np.sqrt(1 - r**2) * rest / np.sqrt(np.mean(rest**2))], axis=1)


def test_correlations_are_pearsons_with_weights():
    rng = np.random.default_rng(1)
    a, w = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) + 3, rng.integers(1, 5, 500)
    got = Moments.of(a, w).correlations()
    np.testing.assert_allclose(got, np.corrcoef(np.repeat(a, w, axis=0), rowvar=False), atol=1e-10)


def test_parts_add_up_to_the_whole():
    a, w = np.random.default_rng(2).normal(size=(300, 3)).astype(np.float32), np.arange(300) % 3 * 1.0
    whole, parts = Moments.of(a, w), Moments.of(a[:77], w[:77]) + Moments.of(a[77:], w[77:])
    np.testing.assert_allclose(parts.products, whole.products, rtol=1e-12)
    np.testing.assert_allclose(parts.sums, whole.sums, rtol=1e-12)
    assert (parts.weight, parts.weight_squared) == (whole.weight, whole.weight_squared)
    assert whole.effective_rows == pytest.approx(300**2 / 500)


@pytest.mark.parametrize(("r", "together"), [(0.901, True), (0.899, False), (-0.99, False)])
def test_features_are_together_from_the_limit_on_and_the_sign_counts(r, together):
    assert clusters(Moments.of(correlated(r), np.ones(4000)), ["x", "y"]) == ((("x", "y"),) if together else ())


def test_a_chain_does_not_join_its_ends():
    """Neighbours correlate by cos(20 degrees) = 0.94, the ends of three by cos(40 degrees) = 0.77."""
    base = correlated(0.0)
    angles = np.radians([0, 20, 40, 60])
    chain = base[:, :1] * np.cos(angles) + base[:, 1:] * np.sin(angles)
    assert clusters(Moments.of(chain, np.ones(4000)), ["a", "b", "c", "d"]) == (("a", "b"), ("c", "d"))


def test_copies_of_one_cause_are_one_cluster():
    x = correlated(0.0)
    columns = [x[:, 0], x[:, 1], 0.2 * x[:, 0] + 5, x[:, 1] * 1e-3, x[:, 0] * 40, np.full(4000, 0.3)]
    names = ["z", "q", "b", "p", "m", "constant"]
    moments = Moments.of(np.stack(columns, axis=1), np.ones(4000))
    assert clusters(moments, names) == (("b", "m", "z"), ("p", "q"))


def test_the_order_of_columns_does_not_matter():
    rng = np.random.default_rng(3)
    a = np.repeat(rng.normal(size=(500, 4)), 3, axis=1) + 0.25 * rng.normal(size=(500, 12))
    names = np.array([f"f{i:02d}" for i in range(12)])
    want = clusters(Moments.of(a, np.ones(500)), names.tolist())
    assert want
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(12)
        assert clusters(Moments.of(a[:, order], np.ones(500)), names[order].tolist()) == want


def test_features_that_do_not_vary_stand_alone():
    a = np.full((100, 3), 0.1, np.float32)
    assert clusters(Moments.of(a, np.full(100, 0.3)), ["a", "b", "c"]) == ()


def test_few_rows_name_no_cluster():
    a = np.repeat(np.random.default_rng(4).normal(size=(30, 1)), 2, axis=1)
    assert clusters(Moments.of(a, np.ones(30)), ["a", "b"]) == (("a", "b"),)
    assert clusters(Moments.of(a[:29], np.ones(29)), ["a", "b"]) == ()
    assert clusters(Moments.of(a[:0], np.ones(0)), ["a", "b"]) == ()


def test_too_many_features_are_refused():
    with pytest.raises(ValueError, match="at most 256 features: of more, look for no clusters. Received: 257"):
        Moments.of(np.zeros((1, MAX_FEATURES + 1)), np.ones(1))


def test_what_does_not_fit_is_refused():
    moments = Moments.of(np.zeros((1, 2)), np.ones(1))
    with pytest.raises(ValueError, match="features must name all 2"):
        clusters(moments, ["a"])
    with pytest.raises(ValueError, match="min_correlation must be in"):
        clusters(moments, ["a", "b"], 0.0)
    with pytest.raises(ValueError, match="same features to be added"):
        _ = moments + Moments.of(np.zeros((1, 3)), np.ones(1))
