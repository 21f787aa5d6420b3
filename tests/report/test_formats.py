import math

import pytest

from tfx_explain.report.formats import (
    ABSENT,
    excludes,
    interval,
    is_number,
    known,
    listed,
    measured,
    number,
    percent,
    points,
    raw,
    shortened,
    text,
    visible,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ABSENT),
        (0, "0"),
        (-0.0, "0"),
        (1234567, "1,234,567"),
        (4973.4, "4,973"),
        (0.123456, "0.1235"),
        (1e300, "1e+300"),
        (10**400, "1.000e+400"),
        (math.nan, "NaN"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        ("unknown", "unknown"),
    ],
)
def test_number(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, ABSENT), (0.0, "0 %"), (0.5314, "53.1 %"), (0.00042, "0.042 %"), (-0.02, "-2.0 %"), (math.nan, "NaN")],
)
def test_percent(value, expected):
    assert percent(value) == expected


def test_percent_of_a_huge_value_is_short():
    assert len(percent(1e308)) < 15


def test_interval_is_absent_only_without_both_ends():
    assert interval(None, None) == ABSENT
    assert interval(0.1, None, percent) == f"10.0 % to {ABSENT}"


def test_only_finite_numbers_can_be_drawn():
    assert [is_number(v) for v in (1, 0.5, True, None, math.nan, math.inf, "1")] == [True, True] + [False] * 5


def test_text_marks_what_is_absent():
    assert (text(None), text(""), text(0)) == (ABSENT, ABSENT, "0")


def test_visible_writes_out_what_a_reader_cannot_see():
    assert visible("a\u202eb\x00\ud800\u200b\U000e0041") == r"a\u202eb\x00\ud800\u200b\U000e0041"
    assert visible("größe 𝛼\nsecond line") == "größe 𝛼\nsecond line"


def test_shortened_keeps_both_ends():
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghijk", 6) == "abc…jk"


def test_measured_values():
    assert measured({"value": 0.5, "low": 0.4, "high": 0.6}, percent) == "50.0 % (40.0 % to 60.0 %)"
    assert measured({"value": 0.5, "low": None, "high": None}) == "0.5"
    assert measured({"value": None, "low": 1, "high": 2}) == measured(None) == "–"
    assert known({"value": 2}) == 2.0
    assert known({"value": math.nan}) is known({"value": 10**400}) is known(None) is None


def test_an_interval_excludes_what_lies_outside_both_known_ends():
    assert excludes({"low": 1, "high": 2}, 0.5) and excludes({"low": 1, "high": 2}, 2.5)
    assert not excludes({"low": 1, "high": 2}, 2.0)
    assert not excludes({"low": 1, "high": None}, 0.5) and not excludes(None, 0.0)
    assert not excludes({"low": 1, "high": 2}, None)


def test_points_and_lists():
    assert [points(v) for v in (0.0531, -0.2, -0.0001, None)] == ["+5.3 points", "-20.0 points", "0.0 points", "–"]
    assert points(10**400) != ""
    assert listed("abc", 3) == "a, b, c"
    assert listed("abcd", 2) == "a, b and 2 more"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (17031242100, "17031242100"),
        (10**400, str(10**400)),
        (1406762100.0, "1406762100"),
        (41.89250946044922, "41.8925"),
        (1e300, "1e+300"),
        (math.nan, "nan"),
        (True, "True"),
        ("Cash", "Cash"),
    ],
)
def test_a_raw_value_may_be_an_id(value, expected):
    assert raw(value) == expected
