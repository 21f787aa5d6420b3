import numpy as np
import pytest

from benchmarks.engine import compare, networks, reference, rules


@pytest.fixture(scope="module")
def small():
    network = networks.make("small")
    columns = networks.rows_for(network, 4).columns
    nodes, weights = rules.gauss_legendre(5)
    theirs = np.empty_like(columns)
    for i, row in enumerate(columns.astype(np.float64)):
        slopes = reference.gradients(network, reference.forward(network, nodes[:, None] * row))
        theirs[i] = (weights @ slopes) * row
    return network, columns, theirs, nodes, weights


def test_equal_attributions_are_equal(small):
    network, columns, theirs, *rule = small
    found = compare.difference(network, columns, network.by_feature(theirs), theirs, *rule)
    assert found == compare.Difference(0.0, 0.0, 4, 0, 0)
    assert found.equal


def test_a_difference_is_in_parts_of_the_summed_absolute_attribution(small):
    network, columns, theirs, *rule = small
    ours = network.by_feature(theirs)
    ours[2, 5] += 0.01 * np.abs(theirs[2].astype(np.float64)).sum()
    found = compare.difference(network, columns, ours, theirs, *rule)
    assert found.largest == pytest.approx(0.01, rel=1e-9)
    assert found.largest_without_kinks == found.largest
    assert (found.rows_wrong, found.rows_at_kinks, found.equal) == (1, 0, False)


def test_what_is_not_finite_is_wrong(small):
    network, columns, theirs, *rule = small
    ours = network.by_feature(theirs)
    ours[0, 0] = np.nan
    found = compare.difference(network, columns, ours, theirs, *rule)
    assert found.largest == np.inf
    assert not found.equal


def test_a_kink_explains_what_it_can_and_no_more():
    kernel = np.ones((1, 1), np.float32)
    layers = (
        networks.Layer("dense", "relu", 1, kernel, np.array([-1], np.float32)),
        networks.Layer("dense", "linear", 1, kernel, np.zeros(1, np.float32)),
    )
    network = networks.Network("one", (1,), layers, ("x",), np.zeros(1, np.int64), np.zeros((0, 0), np.float32))
    columns = np.array([[2.0], [3.0]], np.float32)
    rule = np.array([0.5, 0.75]), np.array([0.5, 0.5])  # 0.5 * 2 lies on the kink
    theirs = np.array([[1.0], [3.0]], np.float32)
    at_kink = compare.difference(network, columns, np.array([[2.0], [3.0]]), theirs, *rule)
    assert (at_kink.rows_at_kinks, at_kink.rows_wrong, at_kink.equal) == (1, 0, True)
    assert (at_kink.largest, at_kink.largest_without_kinks) == (1.0, 0.0)
    too_far = compare.difference(network, columns, np.array([[2.1], [3.0]]), theirs, *rule)
    assert (too_far.rows_at_kinks, too_far.rows_wrong) == (0, 1)
    elsewhere = compare.difference(network, columns, np.array([[1.0], [3.1]]), theirs, *rule)
    assert (elsewhere.rows_at_kinks, elsewhere.rows_wrong) == (0, 1)


def test_shapes_must_match(small):
    network, columns, theirs, *rule = small
    with pytest.raises(ValueError, match=r"Received: \(4, 29\) and \(4, 30\)"):
        compare.difference(network, columns, network.by_feature(theirs), theirs[:, 1:], *rule)


def test_completeness():
    attributions = np.array([[1.0, -2.0], [3.0, 1.0]])
    found = compare.completeness(attributions, np.array([-1.0, 2.0]), np.array([3.0, 4.0]))
    assert found.median == pytest.approx(0.25)
    assert found.p99 == pytest.approx(0.495)


@pytest.mark.parametrize(
    ("ours", "theirs", "enough"),
    [
        ((1e-3, 5e-3), (1e-3, 5e-3), True),
        ((1.1e-3, 4e-3), (1e-3, 5e-3), False),
        ((9e-4, 5.1e-3), (1e-3, 5e-3), False),
        ((8e-7, 9e-7), (5e-8, 2e-7), True),  # both are float32's rounding
        ((8e-7, 2e-6), (5e-8, 2e-7), False),
    ],
)
def test_as_complete_means_in_the_median_and_in_the_worst_rows(ours, theirs, enough):
    assert compare.as_complete(compare.Completeness(*ours), compare.Completeness(*theirs)) == enough
