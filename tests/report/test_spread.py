from tests.report.page_reader import Page
from tests.report.report_data import summary

from tfx_explain.report.attributions import render_attributions


def test_spread_has_what_the_summary_has():
    data = summary({"a": 1.0})
    data["features"][0] |= {
        "standard_deviation": 0.5, "standard_deviation_low": 0.4, "standard_deviation_high": 0.6,
        "fraction_positive": 0.25, "direction": None,
        "quantile_0.95": 2.0, "quantile_0.05": -1.0, "quantile_0.05_low": -1.5, "quantile_0.05_high": None,
    }  # fmt: skip
    page = Page(render_attributions(data))
    header = ["feature", "standard deviation", "fraction positive", "direction", "quantile 0.05", "quantile 0.95"]
    assert page.rows[page.rows.index(header) + 1] == ["a", "0.5\n[0.4 to 0.6]", "25.0 %", "–", "-1\n[-1.5 to –]", "2"]


def test_older_summaries_have_none():
    assert "spread" not in Page(render_attributions(summary({"a": 1.0}))).text
