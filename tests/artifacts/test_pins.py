import dataclasses

import pytest

from tfx_explain.artifacts.pins import Pins
from tfx_explain.engine.aggregates.bins import FeatureBins

PINS = Pins(
    settings={"unit": "logit", "splits": ["eval"]},
    input_baseline={"x": ("f", (0.1,)), "c": ("b", (b"\xff", b"red")), "n": ("i", (3,))},
    bins={"x": FeatureBins(edges=(0.0, 1.0)), "c": FeatureBins(categories=(b"red",)), "n": FeatureBins(edges=())},
    cut_policies={"x": "feature", "c": "latest", "c x n": "feature"},
    histogram_unit=0.3,
)


def test_pins_survive_json():
    assert Pins.from_json(PINS.to_json()) == PINS
    assert Pins.from_json(PINS.to_json()).digest() == PINS.digest()


@pytest.mark.parametrize(
    ("change", "feature"),
    [
        ({"input_baseline": PINS.input_baseline | {"x": ("f", (0.2,))}}, "x"),
        ({"bins": PINS.bins | {"n": FeatureBins(edges=(1.0,))}}, "c x n"),
        ({"cut_policies": PINS.cut_policies | {"c": "feature"}}, "c"),
    ],
)
def test_a_difference_is_named(change, feature):
    other = dataclasses.replace(PINS, **change)
    assert other.digest() != PINS.digest()
    (difference,) = other.differences(PINS, ["x", "c", "c x n"])
    assert repr(feature) in difference


def test_features_that_are_not_shared_do_not_count():
    more = dataclasses.replace(PINS, cut_policies=PINS.cut_policies | {"new": "feature"})
    assert more.differences(PINS, ["x", "c"]) == []


def test_settings_are_named_with_both_values():
    other = dataclasses.replace(PINS, settings={"unit": "probability", "splits": ["eval"]})
    assert other.differences(PINS, []) == ["unit ('probability' here, 'logit' in the reference)"]


def test_rows_may_be_clustered_from_now_on_but_not_otherwise_or_no_more():
    a, b = (dataclasses.replace(PINS, settings=PINS.settings | {"cluster_key": key}) for key in ("user", "plane"))
    assert a.differences(PINS, ["x"]) == []
    assert a.differences(a, ["x"]) == []
    assert PINS.differences(a, []) == ["cluster_key (None here, 'user' in the reference)"]
    assert b.differences(a, []) == ["cluster_key ('plane' here, 'user' in the reference)"]


def test_signatures_are_compared_where_both_sides_tell_theirs():
    """What was made before they were pinned stays comparable."""
    one, two = (dataclasses.replace(PINS, settings=PINS.settings | {"signature": name}) for name in ("one", "two"))
    assert one.differences(PINS, []) == PINS.differences(one, []) == []
    assert two.differences(one, []) == ["signature ('two' here, 'one' in the reference)"]
