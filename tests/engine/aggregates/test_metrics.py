import numpy as np
import pytest
from tests.fixtures.synthetic import HONEST, Additive

from tfx_explain.engine.aggregates.intervals import Measured, bucket_draws
from tfx_explain.engine.aggregates.metrics import _areas, _within, area_under_curve, prediction_metrics


def exact_auc(label: np.ndarray, score: np.ndarray) -> float:
    positive, negative = score[label == 1], score[label == 0]
    wins = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    return float(wins)


def test_binary_metrics_match_their_definitions():
    model = Additive(HONEST, rows=3000)
    rows, got = model.explained(), prediction_metrics(model.statistics(), bucket_draws(0), "binary")
    assert got["auc"].value == pytest.approx(exact_auc(rows.label, rows.score), abs=2e-4)
    p = 1 / (1 + np.exp(-rows.score))
    want = -(rows.label * np.log(p) + (1 - rows.label) * np.log1p(-p)).mean()
    assert got["binary_crossentropy"].value == pytest.approx(want, rel=1e-9)
    assert got["binary_accuracy"].value == pytest.approx(((p > 0.5) == (rows.label == 1)).mean(), rel=1e-9)
    assert got["label_mean"].value == pytest.approx(rows.label.mean(), rel=1e-9)
    assert got["auc"].low < got["auc"].value < got["auc"].high


def test_a_constant_score_has_auc_one_half():
    histogram = np.zeros((1, 10))
    histogram[0, 4] = 7
    assert area_under_curve(histogram, histogram)[0] == 0.5


def test_without_labels_there_is_no_metric():
    stats = Additive(HONEST, rows=100).statistics()
    stats.scalars["labelled_weight"][:] = 0
    assert prediction_metrics(stats, bucket_draws(0), "binary") == {}


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="task must be"):
        prediction_metrics(Additive(HONEST, rows=100).statistics(), bucket_draws(0), "ranking")


def test_drawn_areas_are_those_of_the_drawn_histograms():
    rng = np.random.default_rng(3)
    negative, positive = (rng.integers(0, 4, (64, 1000)) * rng.random(1000) for _ in range(2))
    negative[:, 200:400], positive[:, 200:300] = 0, 0
    draws = bucket_draws(5)
    got = _areas(draws, negative, positive)
    np.testing.assert_allclose(got, area_under_curve(draws @ negative, draws @ positive), rtol=1e-12)
    assert np.isnan(_areas(draws, 0 * negative, positive)).all()


def test_intervals_stay_where_their_quantity_can_be():
    """With one positive label in few filled buckets, widened intervals would go below 0 and above 1."""
    stats = Additive(HONEST, rows=40).statistics()
    got = prediction_metrics(stats, bucket_draws(0), "binary")
    for name in ("binary_accuracy", "label_mean"):
        assert 0 <= got[name].low <= got[name].value <= got[name].high <= 1
    assert got["binary_crossentropy"].low >= 0
    wide = _within(Measured(0.1, -0.2, 1.7), 1)
    assert (wide.low, wide.high) == (0, 1)
    unknown = _within(Measured(float("nan"), 0.1, 0.9), 1)
    assert np.isnan([unknown.low, unknown.high]).all()
