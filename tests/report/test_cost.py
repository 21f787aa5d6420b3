from tests.report.page_reader import Page
from tests.report.report_data import evidence

from tfx_explain.report.attributions import render_attributions

COST = {
    "forecast": {"rows": 4000.0, "forward_equivalents": 1310000.0, "minutes": 0.4, "memory_mb": 1890.0},
    "spent": {"forward_equivalents": 1000000.0, "minutes": 0.5, "memory_mb": 1910.0},
    "off": {"forward_equivalents": 0.31, "minutes": -0.2},
    "lowered": None,
}


def test_the_forecast_stands_beside_what_was_spent():
    page = Page(render_attributions(evidence({"a": 1.0}, cost=COST)))
    assert page.row("forward passes of one row") == ["forward passes of one row", "1,310,000", "1,000,000", "+31.0 %"]
    assert page.row("minutes") == ["minutes", "0.4", "0.5", "-20.0 %"]
    assert page.row("rows explained, at most")[2:] == ["–", "–"]


def test_one_fraction_is_that_of_forward_passes():
    page = Page(render_attributions(evidence({"a": 1.0}, cost=COST | {"off": 0.5})))
    assert page.row("forward passes of one row")[3] == "+50.0 %"
    assert page.row("minutes")[3] == "–"


def test_what_a_limit_took_away_is_said_before_the_bars():
    for more in ({"lowered": "Lowered rows."}, {"cost": COST | {"lowered": "Lowered rows."}}):
        text = Page(render_attributions(evidence({"a": 1.0}, **more))).text
        assert text.count("Lowered rows.") == 1
        assert text.index("Lowered rows.") < text.index("this model")
