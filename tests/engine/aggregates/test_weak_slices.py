import math

import pytest

from tfx_explain.engine.aggregates.intervals import Measured
from tfx_explain.engine.aggregates.weak_slices import difference, rank

NAN = float("nan")
A, B, C = ((("city", "a"),), (("city", "b"),), (("city", "c"),))


def around(value, half=0.0):
    return Measured(value, value - half, value + half)


def shares(**by_feature):
    return {name: around(value) for name, value in by_feature.items()}


METRICS = {(): around(0.8, 0.01), A: around(0.7, 0.02), B: around(0.6, 0.3), C: around(0.9, 0.02)}
SHARES = {
    (): shares(x=0.5, y=0.5),
    A: shares(x=0.6, y=0.4),
    B: shares(x=0.9, y=0.1),
    C: shares(x=0.25, y=0.75),
}


def test_the_interval_of_a_difference_adds_in_squares():
    got = difference(Measured(5.0, 2.0, 6.0), Measured(1.0, 0.0, 5.0))
    assert got == Measured(4.0, 4.0 - 5.0, 4.0 + math.hypot(1.0, 1.0))


def test_clear_gaps_stand_before_larger_unclear_ones():
    rows = rank("auc", METRICS, SHARES)
    # a: gap .1 +- sqrt(.01^2 + .02^2); b: gap .2 +- .3, larger in score but not clear
    assert [(r.slice, r.feature, r.clear) for r in rows] == [
        (A, "x", True),
        (A, "y", True),
        (B, "x", False),
        (B, "y", False),
    ]
    first = rows[0]
    assert first.metric == "auc"
    assert first.gap.value == pytest.approx(0.1, abs=1e-12)
    assert first.gap.high - first.gap.value == pytest.approx(math.hypot(0.01, 0.02), abs=1e-12)
    assert first.shift.value == pytest.approx(0.1, abs=1e-12)
    assert rows[1].shift.value == pytest.approx(-0.1, abs=1e-12)
    assert [r.score for r in rows] == pytest.approx([0.01, 0.01, 0.08, 0.08], abs=1e-12)


def test_the_larger_score_stands_first_among_clear_ones():
    metrics = METRICS | {B: around(0.6, 0.02)}
    assert [(r.slice, r.feature) for r in rank("auc", metrics, SHARES)] == [(B, "x"), (B, "y"), (A, "x"), (A, "y")]


def test_a_loss_is_worse_where_it_is_larger():
    assert {r.slice for r in rank("binary_crossentropy", METRICS, SHARES)} == {C}
    assert {r.slice for r in rank("my_metric", METRICS, SHARES, higher_is_better=False)} == {C}


def test_ties_do_not_depend_on_the_order_of_the_input():
    metrics = {(): around(0.8), A: around(0.7), B: around(0.7), C: around(0.7)}
    same = {key: shares(x=0.6, y=0.4) for key in (A, B, C)} | {(): shares(x=0.5, y=0.5)}
    forward = rank("auc", metrics, same)
    backward = rank("auc", dict(reversed(metrics.items())), dict(reversed(same.items())))
    assert forward == backward
    assert [r.slice for r in forward[:6:2]] == [A, B, C]


def test_what_is_not_measured_is_left_out_and_what_has_no_interval_is_never_clear():
    metrics = METRICS | {A: Measured(NAN, NAN, NAN), B: Measured(0.6, NAN, NAN)}
    with_nan = SHARES | {B: {"x": around(0.9), "y": Measured(NAN, NAN, NAN), "z": around(0.1)}}
    rows = rank("auc", metrics, with_nan)
    assert [(r.slice, r.feature, r.clear) for r in rows] == [(B, "x", False)]


def test_slices_of_one_table_alone_are_left_out():
    only_a = {key: SHARES[key] for key in ((), A)}
    assert {r.slice for r in rank("auc", METRICS, only_a)} == {A}


def test_refusals_say_what_is_missing():
    with pytest.raises(ValueError, match=r"metrics must hold the overall slice \(\)"):
        rank("auc", {A: around(1.0)}, SHARES)
    with pytest.raises(ValueError, match=r"shares must hold the overall slice \(\)"):
        rank("auc", METRICS, {A: SHARES[A]})
    with pytest.raises(ValueError, match="higher_is_better must be given.*metric='label_mean'"):
        rank("label_mean", METRICS, SHARES)
