import pytest
from tests.report.page_reader import Page
from tests.report.report_data import anomalies, result

from tfx_explain.report.anomalies import render_anomalies
from tfx_explain.report.units import cells


@pytest.mark.parametrize(
    ("unit", "numbers", "wanted"),
    [
        ("share", (0.5367, 0.5208, 0.5462, 0.4), ("53.7 %", "52.1 % to 54.6 %", "40.0 %")),
        ("log_ratio", (1.112, 1.086, 1.136, 0.65), ("3.04 times", "2.96 to 3.11 times", "0.52 to 1.92 times")),
        ("log_inverse_ratio", (1.112, 1.086, 1.136, 0.65), ("0.33 times", "0.32 to 0.34 times", "0.52 to 1.92 times")),
        (None, (3921.0, None, None, 1000.0), ("3,921", "–", "1,000")),
        ("share", (None, None, None, 0.05), ("–", "–", "5.0 %")),
        ("log_ratio", (None, None, None, None), ("–", "–", "–")),
        ("log_ratio", (1e9, 1.0, 1e9, 0.65), ("3.77e+260 times", "2.72 to 3.77e+260 times", "0.52 to 1.92 times")),
    ],
)
def test_numbers_stand_in_the_unit_of_the_sentence(unit, numbers, wanted):
    values = dict(zip(("value", "low", "high", "threshold"), numbers, strict=True))
    assert cells(result("x", unit=unit, **values)) == wanted


def test_the_table_shows_them():
    found = result("total_scale", "FAIL", unit="log_ratio", value=1.112, low=1.086, high=1.136, threshold=0.65)
    page = Page(render_anomalies(anomalies(found)))
    assert page.row("total_scale")[3:6] == ["3.04 times", "2.96 to 3.11 times", "0.52 to 1.92 times"]


def test_names_of_checks_do_not_break_and_wide_tables_scroll_by_themselves():
    text = render_anomalies(anomalies(result("removed_features")))
    assert ".checks td:first-child { overflow-wrap: normal; white-space: nowrap; }" in text
    assert ".wide { overflow-x: auto;" in text
    parents = [attributes.get("class", "") for name, attributes in Page(text).elements if name == "div"]
    assert any("wide" in str(parent) for parent in parents)
