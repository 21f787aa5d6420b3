"""Permutation importance: closed forms, exact AUCs, scikit-learn's estimates, how often intervals hold the truth."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPRegressor

from tfx_explain.engine.aggregates import permutation, permuted_sums
from tfx_explain.engine.aggregates.buckets import SCORE_SIZE, score_histogram
from tfx_explain.engine.aggregates.intervals import Z95, bucket_draws, small_sample_factor
from tfx_explain.engine.aggregates.permutation import importances
from tfx_explain.engine.aggregates.permuted_rows import PermutedRows
from tfx_explain.engine.aggregates.permuted_scores import edges_size, score_edges
from tfx_explain.engine.aggregates.permuted_sums import PermutationStatistics, accumulate
from tfx_explain.engine.methods.permutation import Donors

DRAWS = bucket_draws(3)


def permuted_rows(model, x, label, task="regression", unit="output", repeats=5, weight=None, bucket=None, content="c"):
    """All rows of x [n, F] with every column permuted; model maps [..., F] to scores [..., targets]."""
    n, count = x.shape
    donors = Donors.marginal(n)
    donor = np.stack(
        [[donors.of(np.arange(n), content, str(f), r) for r in range(repeats)] for f in range(count)]
    )  # [F, R, n]
    mixed = np.tile(x, (count, repeats, 1, 1))  # [F, R, n, F]
    for f in range(count):
        mixed[f, ..., f] = x[donor[f], f]
    weights = np.ones(n) if weight is None else weight
    bucket = np.arange(n) % 64 if bucket is None else bucket
    return PermutedRows.of(
        task,
        unit,
        label,
        model(x),
        model(mixed),
        bucket,
        weights,
        bucket[donor],
        None if weight is None else weights[donor],
    )


def linear(beta):
    return lambda x: (x * beta).sum(axis=-1, keepdims=True)


def edges_of(rows, size=64):
    return score_edges(score_histogram(rows.base[:, 0].astype(float), rows.weight), size)


def names(count):
    return [str(f) for f in range(count)]


def binary_rows(n=3000, rate=0.5, weights=False, seed=0, repeats=5):
    rng = np.random.default_rng([seed, n])
    x = rng.normal(size=(n, 3))
    beta = np.array([1.5, 0.5, 0.0])
    logit = (x * beta).sum(axis=1) + np.log(rate / (1 - rate))
    label = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    weight = rng.integers(1, 5, n).astype(float) if weights else None
    model = linear(beta)
    return permuted_rows(
        lambda v: model(v) + np.log(rate / (1 - rate)), x, label, "binary", "logit", repeats=repeats, weight=weight
    )


# Closed forms.


def test_mean_squared_error_is_the_weighted_mean_over_pairs():
    rows = PermutedRows.of(
        "regression",
        "output",
        label=np.array([1.0, 2.0, np.nan]),
        base_scores=np.array([[1.0], [4.0], [0.0]]),
        permuted_scores=np.array([[2.0, 2.0, 50.0], [3.0, 1.0, 50.0]])[None, ..., None],
        bucket=np.array([0, 9, 9]),
        weight=np.array([1.0, 3.0, 2.0]),
        donor_bucket=np.array([[[9, 0, 0], [9, 9, 0]]]),
        donor_weight=np.array([[[3.0, 1.0, 1.0], [2.0, 2.0, 1.0]]]),
    )
    statistics = accumulate(["x"], rows)
    got = importances(statistics, DRAWS)["x"]["mean_squared_error"]
    # Pair weights 3, 2 of row 0 and 3, 6 of row 1; losses 1, 4 and 0, 1; base losses 0 and 4.
    permuted, base = (3 * 1 + 2 * 4 + 3 * 0 + 6 * 1) / 14, 9 * 4 / 14
    assert got.drop.value == pytest.approx(permuted - base, abs=1e-12)
    assert got.ratio.value == pytest.approx(permuted / base, abs=1e-12)
    by_repeat = np.array([(3 * 1 + 0) / 6 - 3 * 4 / 6, (2 * 4 + 6 * 1) / 8 - 6 * 4 / 8])
    assert got.std == pytest.approx(by_repeat.std(), abs=1e-12)
    assert statistics.rows[[0, 9]].tolist() == [1, 1]
    assert statistics.weight.sum() == 4
    assert statistics.filled_buckets == 2


def test_a_linear_model_needs_each_feature_by_twice_its_variance():
    """With the whole population as rows and all n - 1 shifts as repeats, 2 beta^2 Var(x) is exact."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 2))
    beta = np.array([0.7, -2.0])
    label = (x * beta).sum(axis=1)
    got = importances(accumulate(names(2), permuted_rows(linear(beta), x, label, repeats=39)), DRAWS)
    want = 2 * beta**2 * x.var(axis=0, ddof=1)
    for f in range(2):
        assert got[str(f)]["mean_squared_error"].drop.value == pytest.approx(want[f], rel=1e-5)  # float32 predictions


def test_weights_stand_for_rows_as_often():
    """Pairs that are weighed by both of their rows estimate the population of which the rows are an unequal sample."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(30, 1))
    weight = rng.integers(1, 4, 30).astype(float)
    label = np.zeros(30)
    got = importances(accumulate(["0"], permuted_rows(linear(np.ones(1)), x, label, repeats=29, weight=weight)), DRAWS)
    p = weight / weight.sum()
    # Of pairs of different rows, the mean square of the donor under the product of the weights.
    pairs = np.outer(p, p) * (1 - np.eye(30))
    want = (pairs * (x.T**2 - x**2)).sum() / pairs.sum()
    assert got["0"]["mean_squared_error"].drop.value == pytest.approx(want, abs=1e-6)


def test_multiclass_losses_are_those_of_the_definition():
    rng = np.random.default_rng(3)
    base, permuted = rng.normal(size=(50, 3)), rng.normal(size=(2, 4, 50, 3))
    label = rng.integers(0, 3, 50).astype(float)
    label[:2] = [3.0, 0.5]  # labels that are no class do not count
    bucket = np.arange(50)

    def softmax(z):
        return np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)

    known = label[2:].astype(int)

    def metrics(p):  # [..., 48, 3]
        picked = np.take_along_axis(p, np.broadcast_to(known[:, None], (*p.shape[:-1], 1)), axis=-1)
        return -np.log(picked[..., 0]).mean(axis=-1), (p.argmax(axis=-1) == known).mean(axis=-1)

    (base_loss, base_accuracy), (loss, accuracy) = metrics(softmax(base[2:])), metrics(softmax(permuted[:, :, 2:]))
    donor = np.zeros((2, 4, 50), int)
    for unit, change in (("logit", lambda z: z), ("probability", softmax)):
        rows = PermutedRows.of("multiclass", unit, label, change(base), change(permuted), bucket, np.ones(50), donor)
        got = importances(accumulate(["a", "b"], rows), DRAWS)
        for f, name in enumerate("ab"):
            entropy = got[name]["sparse_categorical_crossentropy"]
            assert entropy.drop.value == pytest.approx(loss[f].mean() - base_loss, rel=1e-5)
            assert entropy.ratio.value == pytest.approx(loss[f].mean() / base_loss, rel=1e-5)
            assert entropy.std == pytest.approx(loss[f].std(), rel=1e-4)
            right = got[name]["sparse_categorical_accuracy"]
            assert right.drop.value == pytest.approx(base_accuracy - accuracy[f].mean(), abs=1e-12)


def test_binary_losses_are_those_of_the_definition_in_either_unit():
    rng = np.random.default_rng(4)
    base, permuted = rng.normal(size=(60, 1)), rng.normal(size=(1, 2, 60, 1))
    label = rng.integers(0, 2, 60).astype(float)
    label[0] = 0.3
    edges = np.linspace(-4, 4, 20)
    donor = np.zeros((1, 2, 60), int)
    for unit, change in (("logit", lambda z: z), ("probability", lambda z: 1 / (1 + np.exp(-z)))):
        rows = PermutedRows.of("binary", unit, label, change(base), change(permuted), np.arange(60), np.ones(60), donor)
        got = importances(accumulate(["x"], rows, edges), DRAWS)["x"]

        def entropy(z):
            p, y = 1 / (1 + np.exp(-z)), label[1:]
            return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()

        want = entropy(permuted[0, :, 1:, 0]) - entropy(base[1:, 0])
        assert got["binary_crossentropy"].drop.value == pytest.approx(want, rel=1e-5)
        right = ((permuted[0, :, 1:, 0] > 0) == label[1:]).mean()
        base_right = ((base[1:, 0] > 0) == label[1:]).mean()
        assert got["binary_accuracy"].drop.value == pytest.approx(base_right - right, abs=1e-12)
        assert list(got) == ["auc", "binary_accuracy", "binary_crossentropy"]


def test_a_feature_without_effect_has_no_importance_and_no_width():
    got = importances(accumulate(names(3), binary_rows(), np.linspace(-10, 10, 33)), DRAWS)["2"]
    for metric in got.values():
        assert (metric.drop.value, metric.std) == (0, 0)
        np.testing.assert_allclose([metric.drop.low, metric.drop.high], 0, atol=1e-15)
        assert metric.ratio.value == 1


# AUC.


def exact_drops(rows):
    """Base AUC - permuted AUC of each feature, repeats pooled, by sorting: [F]."""
    out = []
    for f in range(len(rows.permuted)):
        donors = np.ones(rows.donor_bucket[f].shape) if rows.donor_weight is None else rows.donor_weight[f]
        weight = (rows.weight * donors).ravel()
        label = np.tile(rows.label, len(donors))
        base = np.tile(rows.base[:, 0], len(donors))
        areas = [roc_auc_score(label, s, sample_weight=weight) for s in (base, rows.permuted[f, ..., 0].ravel())]
        out.append(areas[0] - areas[1])
    return out


# Edges share a score in proportion: four times the error with half as many of them.
@pytest.mark.parametrize(("size", "tolerance"), [(64, 1e-3), (32, 2.5e-3), (16, 1e-2)])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("rate", [0.5, 0.05, 0.005])
def test_the_drop_of_the_auc_is_that_of_sorted_scores(rate, weights, size, tolerance):
    rows = binary_rows(20_000, rate, weights)
    got = importances(accumulate(names(3), rows, edges_of(rows, size)), DRAWS)
    for f, want in enumerate(exact_drops(rows)):
        assert got[str(f)]["auc"].drop.value == pytest.approx(want, abs=tolerance)


def test_scores_on_edges_give_the_exact_auc_with_ties_counted_half():
    rng = np.random.default_rng(5)
    edges = np.array([-3.0, -1.0, 0.0, 0.5, 2.0])
    base, permuted = edges[rng.integers(0, 5, (200, 1))], edges[rng.integers(0, 5, (1, 3, 200, 1))]
    label = rng.integers(0, 2, 200).astype(float)
    rows = PermutedRows.of(
        "binary", "logit", label, base, permuted, np.arange(200) % 64, np.ones(200), np.zeros((1, 3, 200), int)
    )
    got = importances(accumulate(["0"], rows, edges), DRAWS)["0"]["auc"]
    assert got.drop.value == pytest.approx(exact_drops(rows)[0], abs=1e-12)
    base_area = roc_auc_score(label, base[:, 0])
    areas = np.array([roc_auc_score(label, permuted[0, r, :, 0]) for r in range(3)])
    assert got.std == pytest.approx(areas.std(), abs=1e-12)
    assert got.ratio.value == pytest.approx(1 - got.drop.value / base_area, abs=1e-12)


def test_the_gradient_of_the_area_is_its_derivative():
    rng = np.random.default_rng(6)
    histogram = rng.random((2, 2, 9))
    area, gradient = permutation._area(histogram)
    change = 1e-6 * rng.normal(size=histogram.shape)
    up, down = permutation._area(histogram + change)[0], permutation._area(histogram - change)[0]
    np.testing.assert_allclose((gradient * change).sum(axis=(0, 2)), (up - down) / 2, rtol=1e-6)
    assert (area > 0).all() and (area < 1).all()


@pytest.mark.parametrize("rate", [0.5, 0.01])
def test_edges_are_even_ones_and_quantiles_that_are_dense_in_the_tails(rate):
    rng = np.random.default_rng(7)
    score = rng.normal(size=100_000) + np.log(rate / (1 - rate))
    edges = score_edges(score_histogram(score, np.ones(len(score))))
    assert len(edges) == 64 and (np.diff(edges) > 0).all()
    assert (edges[0], edges[-1]) == (-10, 10)
    below = (score[:, None] < edges).mean(axis=0)
    levels = 0.5 - 0.5 * np.cos(np.pi * (np.arange(48) + 0.5) / 48)
    assert all(np.abs(below - level).min() < 2e-3 for level in levels)


def test_edges_of_one_score_or_none():
    assert len(score_edges(np.zeros(SCORE_SIZE))) == 16
    one = score_edges(score_histogram(np.full(10, 1.234), np.ones(10)))
    assert (np.diff(one) > 0).all() and len(one) > 16
    assert np.abs(one - 1.234).min() < 0.02
    with pytest.raises(ValueError, match=r"size >= 16. Received: \(7,\)"):
        score_edges(np.ones(7))


@pytest.mark.parametrize("features", [10, 100, 150, 200, 300])
def test_the_statistics_of_a_slice_stay_under_8_megabytes(features):
    size = edges_size(features, 5)
    statistics = PermutationStatistics.empty("binary", names(features), 5, np.linspace(-10, 10, size))
    assert statistics.nbytes < 8e6
    assert size == 64 if features <= 100 else 16 <= size < 64
    assert edges_size(5000, 5) == 16


# Additivity.


def test_the_cut_into_parts_does_not_matter(monkeypatch):
    rows = binary_rows(1000, weights=True)
    edges = edges_of(rows)
    whole = accumulate(names(3), rows, edges)
    monkeypatch.setattr(permuted_sums, "_CHUNK", 64)
    parts = [rows.take(slice(0, 333)), rows.take(np.arange(333, 400)), rows.take(np.arange(1000) >= 400)]
    added = sum(
        (accumulate(names(3), part, edges) for part in parts), PermutationStatistics.empty("binary", names(3), 5, edges)
    )
    for name, values in whole.arrays().items():
        np.testing.assert_allclose(added.arrays()[name], values, rtol=1e-12, atol=1e-12 * np.abs(values).max())
    joined = PermutedRows.concatenate(parts)
    for field in ("bucket", "weight", "label", "base", "permuted", "donor_bucket", "donor_weight"):
        np.testing.assert_array_equal(getattr(joined, field), getattr(rows, field))
    again = accumulate(names(3), rows, edges)
    monkeypatch.undo()
    assert all((accumulate(names(3), rows, edges).arrays()[k] == v).all() for k, v in whole.arrays().items())
    assert len(again.arrays()) == 9


def test_equal_weights_need_no_donor_weights():
    plain = binary_rows(500)
    edges = edges_of(plain)
    rows = PermutedRows(
        "binary", plain.bucket, 3 * plain.weight, plain.label, plain.base, plain.permuted, plain.donor_bucket
    )
    same = PermutedRows(
        **{**vars(rows), "donor_weight": np.full(rows.donor_bucket.shape, 3.0, np.float32)},
    )
    for name, values in accumulate(names(3), rows, edges).arrays().items():
        other = accumulate(names(3), same, edges).arrays()[name]
        np.testing.assert_allclose(values, other, rtol=1e-12, atol=1e-12 * np.abs(values).max(), err_msg=name)
    one, three = (importances(accumulate(names(3), r, edges), DRAWS)["0"]["auc"].drop for r in (plain, rows))
    np.testing.assert_allclose([one.value, one.low, one.high], [three.value, three.low, three.high], rtol=1e-12)


def test_pairs_without_a_finite_score_are_left_out_and_counted():
    rows = binary_rows(400)
    rows.permuted[1, 2, 7, 0] = np.nan
    rows.permuted[1, :, 9, 0] = np.inf
    edges = edges_of(rows)
    statistics = accumulate(names(3), rows, edges)
    assert statistics.failed_pairs.tolist() == [0, 6, 0]
    got = importances(statistics, DRAWS)
    assert all(np.isfinite([m.drop.value, m.drop.low, m.drop.high]).all() for f in got.values() for m in f.values())
    np.testing.assert_array_equal(statistics.loss_totals[1, :, 0], [399, 399, 398, 399, 399])


def test_what_rows_do_not_tell_is_nan():
    rows = binary_rows(300)
    edges = edges_of(rows)
    none = importances(accumulate(names(3), rows.take(np.zeros(0, int)), edges), DRAWS)["0"]
    assert all(np.isnan([m.drop.value, m.drop.low, m.ratio.value, m.std]).all() for m in none.values())
    positive = importances(accumulate(names(3), rows.take(rows.label == 1), edges), DRAWS)["0"]
    assert np.isnan([positive["auc"].drop.value, positive["auc"].drop.low]).all()
    assert positive["binary_crossentropy"].drop.low < positive["binary_crossentropy"].drop.value
    alone = importances(accumulate(names(3), rows.take(rows.bucket == 5), edges), DRAWS)["0"]["binary_crossentropy"]
    assert np.isfinite(alone.drop.value) and np.isnan(alone.drop.low)


def test_refusals():
    rows = binary_rows(100)
    with pytest.raises(ValueError, match="two or more increasing score_edges"):
        accumulate(names(3), rows)
    with pytest.raises(ValueError, match="one column a feature. Received: 3 for 2 features"):
        accumulate(names(2), rows, edges_of(rows))
    with pytest.raises(ValueError, match="cannot be added"):
        _ = PermutationStatistics.empty("regression", ["a"], 5) + PermutationStatistics.empty("regression", ["b"], 5)
    with pytest.raises(ValueError, match="repeats >= 1. Received: task='regression', repeats=0"):
        PermutationStatistics.empty("regression", ["a"], 0)
    with pytest.raises(ValueError, match="all with donor_weight or all without"):
        PermutedRows.concatenate([rows, binary_rows(100, weights=True)])
    with pytest.raises(ValueError, match="one or more"):
        PermutedRows.concatenate([])
    one = np.zeros(4)
    with pytest.raises(ValueError, match="task must be one of"):
        PermutedRows.of("ranking", "logit", one, one, one, one, one, one)
    with pytest.raises(ValueError, match="permuted_scores must be"):
        PermutedRows.of("binary", "logit", one, np.zeros((4, 1)), np.zeros((2, 3, 4, 1)), one, one, np.zeros((3, 2, 4)))


# scikit-learn.


def agree(ours, theirs, f, repeats):
    """Both estimates lie within the intervals of both: theirs is of the repeats alone."""
    slack = Z95 * theirs["importances_std"][f] / np.sqrt(repeats)
    value = theirs["importances_mean"][f]
    assert ours.drop.low - slack <= value <= ours.drop.high + slack
    # The same rows: what differs are the shuffles alone.
    spread = Z95 * 2 * np.hypot(theirs["importances_std"][f], ours.std) / np.sqrt(repeats)
    assert abs(ours.drop.value - value) <= spread + 1e-3
    if value > 0.02:
        assert 0.3 < ours.std / theirs["importances_std"][f] < 3


def test_a_classifier_as_scikit_learn_has_it():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(1500, 4)) @ np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.3], [0, 0, 0, 1]])
    logit = 1.5 * x[:, 0] - x[:, 1] + 0.3 * x[:, 2] - 1
    label = (rng.random(1500) < 1 / (1 + np.exp(-logit))).astype(int)
    model = LogisticRegression().fit(x, label)
    rows = permuted_rows(
        lambda v: (v * model.coef_[0]).sum(axis=-1, keepdims=True) + model.intercept_,
        x,
        label.astype(float),
        "binary",
        "logit",
        repeats=10,
    )
    ours = importances(accumulate(names(4), rows, edges_of(rows)), DRAWS)
    scoring = {"auc": "roc_auc", "binary_accuracy": "accuracy", "binary_crossentropy": "neg_log_loss"}
    theirs = permutation_importance(model, x, label, n_repeats=10, random_state=0, scoring=list(scoring.values()))
    for f in range(4):
        for metric, scorer in scoring.items():
            agree(ours[str(f)][metric], theirs[scorer], f, 10)
    assert ours["0"]["auc"].drop.low > 0.1


def test_a_regression_as_scikit_learn_has_it():
    rng = np.random.default_rng(9)
    x = rng.normal(size=(1200, 3))
    label = np.sin(2 * x[:, 0]) + x[:, 0] * x[:, 1] + 0.3 * rng.normal(size=1200)
    model = MLPRegressor((16,), max_iter=300, random_state=0, tol=1e-3).fit(x, label)
    rows = permuted_rows(lambda v: model.predict(v.reshape(-1, 3)).reshape(*v.shape[:-1], 1), x, label, repeats=10)
    ours = importances(accumulate(names(3), rows), DRAWS)
    theirs = permutation_importance(model, x, label, n_repeats=10, random_state=0, scoring="neg_mean_squared_error")
    for f in range(3):
        agree(ours[str(f)]["mean_squared_error"], theirs, f, 10)
    assert ours["1"]["mean_squared_error"].drop.low > 0.5


# Intervals.


def interval(value, psi, rows, noise):
    """Low and high from the influence of each pair, psi [R, n]; noise: sum of its squares."""
    sums = np.bincount(rows.bucket, weights=psi.sum(axis=0), minlength=64)
    sums += np.bincount(rows.donor_bucket[0].ravel(), weights=psi.ravel(), minlength=64)
    sums -= sums.mean()
    left = 1 - noise / (sums**2).sum()
    assert 0.25 < left < 0.99
    low, high = np.quantile(value + np.sqrt(left) * (DRAWS[1:] @ sums), [0.05, 0.95], method="weibull")
    factor = small_sample_factor(int(np.round(1 + 63 * left**2)))
    return value - factor * (value - low), value + factor * (high - value)


def test_the_interval_of_a_loss_is_that_of_its_linearised_pairs():
    rng = np.random.default_rng(13)
    n = 600
    x, weight = rng.normal(size=(n, 1)), rng.integers(1, 4, n).astype(float)
    label = x[:, 0] + rng.normal(size=n)
    rows = permuted_rows(linear(np.ones(1)), x, label, repeats=2, weight=weight, bucket=rng.integers(0, 64, n))
    got = importances(accumulate(["0"], rows), DRAWS)["0"]["mean_squared_error"]
    w = weight * rows.donor_weight[0]
    permuted = (rows.permuted[0, ..., 0].astype(float) - label) ** 2
    base = (rows.base[:, 0].astype(float) - label) ** 2
    for measured, psi in (
        (got.drop, w * (permuted - base - got.drop.value) / w.sum()),
        (got.ratio, w * (permuted - got.ratio.value * base) / (w * base).sum()),
    ):
        want = interval(measured.value, psi, rows, 2 * (psi[0] ** 2).sum())
        np.testing.assert_allclose([measured.low, measured.high], want, rtol=1e-9)


def test_the_interval_of_the_auc_is_that_of_its_linearised_pairs():
    """With scores on the edges the influence of a pair is how its scores stand among those of the other label."""
    rng = np.random.default_rng(14)
    n, repeats = 500, 3
    edges = np.array([-3.0, -1.0, 0.0, 0.5, 2.0])
    label = rng.integers(0, 2, n).astype(float)
    base = edges[np.clip(rng.integers(0, 4, n) + label.astype(int), 0, 4)]
    permuted = np.where(rng.random((repeats, n)) < 0.5, base, edges[rng.integers(0, 5, (repeats, n))])
    bucket, donor_bucket = rng.integers(0, 64, n), rng.integers(0, 64, (1, repeats, n))
    weight, donor_weight = rng.integers(1, 4, n).astype(float), rng.integers(1, 4, (1, repeats, n)).astype(float)
    rows = PermutedRows.of(
        "binary",
        "logit",
        label,
        base[:, None],
        permuted[None, ..., None],
        bucket,
        weight,
        donor_bucket,
        donor_weight,
    )
    got = importances(accumulate(["0"], rows, edges), DRAWS)["0"]["auc"]
    w = weight * donor_weight[0]

    def area_and_influence(score):  # [R, n]
        flat, v, y = score.ravel(), w.ravel(), np.tile(label, repeats)
        wins = (flat[:, None] > flat) + 0.5 * (flat[:, None] == flat)
        against = np.where(y[:, None] != y, v, 0.0)
        beaten = (wins * against).sum(axis=1) / against.sum(axis=1)
        stands = np.where(y == 1, beaten, 1 - beaten)
        area = (v * y * stands).sum() / (v * y).sum()
        size = np.where(y == 1, (v * y).sum(), (v * (1 - y)).sum())
        return area, (v * (stands - area) / size).reshape(repeats, n)

    base_area, base_psi = area_and_influence(np.tile(base, (repeats, 1)))
    area, area_psi = area_and_influence(permuted)
    assert got.drop.value == pytest.approx(base_area - area, abs=1e-12)
    for measured, psi in (
        (got.drop, base_psi - area_psi),
        (got.ratio, (area_psi - area / base_area * base_psi) / base_area),
    ):
        want = interval(measured.value, psi, rows, repeats * (psi[0] ** 2).sum())
        np.testing.assert_allclose([measured.low, measured.high], want, rtol=1e-9)


# Coverage of 90 % intervals. Three standard errors of the number of intervals; percentile intervals of 64 buckets lack
# about a point by themselves.
BETA = np.array([1.0, 0.3])


def regression_sample(kind, rng, rows):
    """x, label, weight, bucket and the truth 2 beta^2 Var(x)."""
    bucket, weight = rng.integers(0, 64, rows), None
    variance = np.ones(2)
    noise = rng.normal(size=rows)
    if kind in ("normal", "slice"):
        x = rng.normal(size=(rows, 2))
    elif kind == "heavy tails":
        x, noise = rng.laplace(size=(rows, 2)), rng.standard_t(3, rows)
        variance = 2 * np.ones(2)
    elif kind == "weights":
        # A tenth of the population lies elsewhere and is sampled five times as often.
        rare = rng.random(rows) < 0.5 / 1.4
        x = rng.normal(size=(rows, 2)) + np.where(rare[:, None], [2.0, 0.0], 0.0)
        weight = np.where(rare, 0.2, 1.0)
        variance = np.array([1 + 4 * 0.1 * 0.9, 1.0])
    else:
        cluster = rng.integers(0, 150, rows)
        x = np.sqrt(0.5) * (rng.normal(size=(150, 2))[cluster] + rng.normal(size=(rows, 2)))
        noise = rng.normal(size=150)[cluster]
        bucket = rng.integers(0, 64, 150)[cluster] if kind == "clusters" else bucket
    return x, (x * BETA).sum(axis=1) + noise, weight, bucket, 2 * BETA**2 * variance


def covered(kind, rows, sims, repeats, field="drop"):
    held = []
    for sim in range(sims):
        x, label, weight, bucket, truth = regression_sample(kind, np.random.default_rng([11, rows, sim]), rows)
        sample = permuted_rows(linear(BETA), x, label, repeats=repeats, weight=weight, bucket=bucket, content=str(sim))
        if kind == "slice":  # half of a symmetric distribution: receivers in the slice, donors from everywhere
            sample = sample.take(x[:, 0] > 0)
        got = importances(accumulate(names(2), sample), bucket_draws(sim, 300))
        for f in range(2):
            measured = getattr(got[str(f)]["mean_squared_error"], field)
            held.append(measured.low <= truth[f] <= measured.high)
    return float(np.mean(held))


MEANS, RATE = np.array([1.2, 0.6]), 0.3


def auc_covered(rows, sims, repeats, field="drop"):
    """x of label y is normal about y * MEANS; the score is their sum weighed by MEANS, so that AUCs are known."""
    shift, scale = MEANS**2, np.sqrt(2 * (MEANS**2).sum())
    apart = RATE * (1 - RATE)  # two donors of different labels, in either order
    base = norm.cdf(shift.sum() / scale)
    other = shift.sum() - shift
    permuted = (1 - 2 * apart) * norm.cdf(other / scale)
    permuted += apart * (norm.cdf((other + shift) / scale) + norm.cdf((other - shift) / scale))
    truth = base - permuted if field == "drop" else permuted / base
    held = []
    for sim in range(sims):
        rng = np.random.default_rng([12, rows, sim])
        label = (rng.random(rows) < RATE).astype(float)
        x = rng.normal(size=(rows, 2)) + label[:, None] * MEANS
        bucket = rng.integers(0, 64, rows)
        sample = permuted_rows(linear(MEANS), x, label, "binary", "logit", repeats, bucket=bucket, content=str(sim))
        got = importances(accumulate(names(2), sample, edges_of(sample)), bucket_draws(sim, 300))
        for f in range(2):
            measured = getattr(got[str(f)]["auc"], field)
            held.append(measured.low <= truth[f] <= measured.high)
    return float(np.mean(held))


def assert_nominal(got, sims):
    """Within three standard errors of 0.88 to 0.90; the features of a sample count as one."""
    error = np.sqrt(0.9 * 0.1 / sims)
    assert 0.88 - 3 * error <= got <= 0.90 + 3 * error, got


@pytest.mark.parametrize(
    ("kind", "rows", "repeats", "sims"),
    [
        ("normal", 300, 5, 250),
        ("normal", 1000, 1, 250),
        ("normal", 5000, 5, 80),
        ("heavy tails", 1000, 5, 200),
        ("weights", 1000, 5, 200),
        ("clusters", 1000, 5, 200),
        ("slice", 1000, 5, 200),
    ],
)
def test_intervals_cover_the_importance_of_a_linear_model(kind, rows, repeats, sims):
    assert_nominal(covered(kind, rows, sims, repeats), sims)


def test_buckets_of_rows_do_not_cover_clusters():
    assert covered("rows of clusters", 1000, 100, 5) < 0.75


def test_pairs_that_share_both_rows_count_once(monkeypatch):
    """Else a single repeat has intervals that are far too wide."""
    monkeypatch.setattr(permutation, "_LEAST_VARIANCE", 1.0)
    assert covered("normal", 1000, 150, 1) > 0.95


@pytest.mark.parametrize(("rows", "repeats", "field"), [(300, 5, "drop"), (1000, 1, "drop"), (1000, 5, "ratio")])
def test_intervals_cover_the_drop_of_the_auc(rows, repeats, field):
    assert_nominal(auc_covered(rows, 120, repeats, field), 120)
