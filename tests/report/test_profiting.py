"""The section of slices that profit from a feature."""

from tests.report.page_reader import Page

from tfx_explain.report.html import page
from tfx_explain.report.profiting import profiting_sections


def drop(value, half=0.01):
    return {"value": value, "low": value - half, "high": value + half}


def entry(feature, name, value, overall=0.2):
    return {
        "slice": name,
        "feature": feature,
        "metric": "binary_crossentropy",
        "drop": drop(value),
        "overall_drop": drop(overall),
    }


def text_of(summary):
    return Page(page("t", *profiting_sections(summary))).text


def test_the_largest_cost_of_each_feature_stands_first_and_clear_ones_are_bold():
    summary = {
        "profiting_slices": [entry("tip", "a=1", 0.5), entry("tip", "a=2", 0.205), entry("fare", "a=1", 0.1)],
        "slices": [{"name": "a=1", "features": [{"name": "tip", "share": drop(0.75)}]}],
    }
    html = page("t", *profiting_sections(summary))
    assert "<b>0.5 (0.49 to 0.51)</b>" in html and "<b>0.205" not in html
    text = Page(html).text
    assert text.index("tip") < text.index("fare")
    assert "With tip shuffled, binary_crossentropy is 0.2 (0.19 to 0.21) worse over all rows. Worst in:" in text
    assert "75.0 % (74.0 % to 76.0 %)" in text


def test_long_lists_are_folded_and_nothing_is_lost():
    text = page("t", *profiting_sections({"profiting_slices": [entry("tip", f"a={i}", 0.3) for i in range(9)]}))
    assert "4 more" in text and all(f"a={i}" in text for i in range(9))


def test_why_there_is_none_is_said_and_older_summaries_have_no_section():
    assert profiting_sections({}) == []
    summary = {"profiting_slices": [], "permutation_importance": {"absent": "the configuration names no label"}}
    assert "Not known: the configuration names no label." in text_of(summary)


def test_names_are_escaped():
    assert "<script>" not in page("t", *profiting_sections({"profiting_slices": [entry("<script>", "<b>", 0.3)]}))
