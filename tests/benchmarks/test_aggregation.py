import pathlib

import pytest

pytestmark = pytest.mark.pipeline

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


def test_both_sides_give_the_same_numbers(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import aggregation

    population = aggregation.Population(3, places=2, hours=3)
    _, theirs = aggregation.by_tfma(population, 300)
    _, ours = aggregation.by_us(population, 300)
    assert len(ours) == 6
    differences = aggregation.largest_difference(theirs, ours, population.names)
    assert differences["weighted_count"] == 0
    assert differences["mean"] < aggregation.TOLERANCE
    assert differences["mean_absolute"] < aggregation.TOLERANCE
    assert differences["auc"] < 5e-3
    wrong = aggregation.largest_difference(theirs, ours, population.names[::-1])
    assert wrong["mean"] > 0.01
