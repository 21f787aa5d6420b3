"""The section of two models on the same rows."""

from tests.report.page_reader import Page
from tests.report.report_data import evidence

from tfx_explain.report.attributions import render_attributions


def measured(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def feature(name, share, before, data=0.0):
    return {
        "name": name,
        "absent_from": None,
        "share": measured(share),
        "reference_share": measured(before),
        "reference_share_then": measured(before - data),
        "model_part": measured(share - before),
        "data_part": measured(data),
        "rank": 1,
        "reference_rank": 2,
        "correlation": measured(0.5),
    }


def render(paired):
    return Page(render_attributions(evidence({"fare": 0.6, "miles": 0.4}, paired=paired)))


def test_the_most_moved_feature_stands_first_with_both_parts():
    overall = {"features": [feature("miles", 0.4, 0.4), feature("fare", 0.6, 0.25, data=0.125)]}
    page = render({"absent": None, "overall": overall})
    assert "Beside the last model that passed, on the same rows" in page.text
    rows = [row for row in page.rows if row[2:5] in (["25.0 %", "12.5 %", "+35.0 %\n[34.0 % to 36.0 %]"],)]
    assert [row[0] for row in rows] == ["fare"]
    assert page.text.index("fare 60.0 % 25.0 %") < page.text.index("miles 40.0 % 40.0 %")


def test_why_there_is_none_is_said_and_what_was_not_asked_has_no_section():
    assert "Not compared: its folder is gone." in render({"absent": "its folder is gone", "overall": None}).text
    assert "on the same rows" not in render(None).text
