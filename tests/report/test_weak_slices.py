import pytest
from tests.report.page_reader import Page
from tests.report.report_data import evidence, known, slice_entry

from tfx_explain.report.attributions import render_attributions


def weak(name, feature, gap, shift):
    return {"slice": name, "feature": feature, "metric": "auc", "gap": gap, "shift": shift, "score": 0.01}


CLEAR = [
    weak("hour=3", "fare", known(0.2, 0.1, 0.3), known(0.05, 0.01, 0.09)),
    weak("hour=3", "miles", known(0.2, 0.1, 0.3), known(-0.02, -0.05, 0.01)),
]
UNCLEAR = weak("hour=4", "fare", known(0.4, -0.1, 0.9), known(0.1, 0.05, 0.15))


def render(ranked, **more):
    return render_attributions(evidence({"fare": 0.6, "miles": 0.4}, weak_slices=ranked, **more))


def test_a_clear_slice_is_said_in_words_and_has_one_row():
    text = render(CLEAR, slices=[slice_entry("hour=3", {})])
    page = Page(text)
    assert "In hour=3, auc is 0.2 (0.1 to 0.3) worse than overall; there fare has 5.0 points more" in page.text
    assert [row for row in page.rows if row[:3] == ["hour=3", "100", "auc"]] == [
        ["hour=3", "100", "auc", "0.2", "0.1 to 0.3", "fare +5.0 points\nmiles -2.0 points"]
    ]
    assert "<strong>fare +5.0 points</strong>" in text
    assert "<strong>miles" not in text


def test_what_may_be_chance_is_shut_away():
    page = Page(render([*CLEAR, UNCLEAR]))
    assert page.text.index("1 whose gap may be chance") < page.text.index("hour=4")
    alone = Page(render([UNCLEAR])).text
    assert "No slice is clearly worse than overall." in alone
    assert "In hour=4" not in alone


def test_a_gap_without_an_interval_is_neither_clear_nor_chance():
    page = Page(render([UNCLEAR | {"gap": known(0.4)}]))
    assert "No slice is clearly worse" in page.text
    assert "1 not measurable" in page.text
    assert "may be chance" not in page.text
    assert page.row("hour=4")[4] == "too few rows, or too few of one label"


@pytest.mark.parametrize(
    ("rows", "label_mean", "why"),
    [
        (2622, 0.001, "too few positive labels: about 3 of 2,622 explained rows"),
        (2622, 0.999, "too few negative labels: about 3 of 2,622 explained rows"),
        (20, 0.5, "too few rows: 20 explained"),
        (20, None, "too few rows: 20 explained"),
        (20, 17.0, "too few rows: 20 explained"),
    ],
)
def test_why_a_gap_cannot_be_measured(rows, label_mean, why):
    there = slice_entry("hour=4", {}, explained_rows=rows, metrics={"label_mean": known(label_mean)})
    page = Page(render([UNCLEAR | {"gap": known(0.4)}, *CLEAR], slices=[there]))
    (row,) = [row for row in page.rows if row[:1] == ["hour=4"] and "auc" in row]
    assert row[:5] == ["hour=4", "100", "auc", "0.4", why]
    assert "why it has no interval" in page.text


def test_long_lists_are_shut():
    many = [CLEAR[0] | {"slice": f"hour={i}"} for i in range(12)]
    text = Page(render(many)).text
    assert text.index("hour=7 ") < text.index("4 more") < text.index("hour=8 ")


def test_nothing_weak_and_nothing_known():
    assert "No slice is worse than overall." in Page(render([])).text
    assert "Not known: no label" in Page(render([], metrics_absent="no label", metrics={})).text
