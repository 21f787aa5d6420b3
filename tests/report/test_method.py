import pytest
from tests.report.page_reader import Page
from tests.report.report_data import summary

from tfx_explain.report.attributions import render_attributions
from tfx_explain.report.method import method_sentence, method_unit


def explained_by(name, **more):
    data = summary({"fare": 0.7, "miles": 0.3})
    data["method"] |= {"name": name, **more}
    return data


def test_the_page_opens_with_the_method_and_its_unit():
    page = Page(render_attributions(explained_by("integrated_gradients", is_complete=True, unit="logit")))
    assert "Integrated gradients from the input baseline to each row; unit: logit." in page.text
    assert page.text.index("unit: logit") < page.text.index("What the model leans on")
    assert "need not add up" not in page.text


@pytest.mark.parametrize("name", ["gradient", "gradient_x_input", "smoothgrad", "<another>"])
def test_a_method_without_completeness_says_so(name):
    assert "need not add up" in method_sentence(explained_by(name, is_complete=False))
    # What an artifact does not say is not taken for granted.
    assert "need not add up" in method_sentence(explained_by(name))


def test_the_unit_is_that_of_the_attributions():
    gradient = explained_by("gradient", is_complete=False, unit="logit per unit of the cut tensor")
    page = Page(render_attributions(gradient))
    assert "mean |attribution|, logit per unit of the cut tensor" in page.text
    assert "length of its gradient" in page.text
    assert method_unit(explained_by("integrated_gradients")) == "logit"


def test_the_size_of_the_background_is_told():
    data = explained_by("expected_gradients", is_complete=True, background_rows=48)
    assert "averaged (48 rows); unit: logit." in method_sentence(data)


def test_rows_at_the_input_baseline_are_shown_by_feature_and_overall():
    data = summary({"fare": 0.7, "miles": 0.3}) | {
        "at_input_baseline": {"all_features": 0.02, "features": {"fare": 0.25, "miles": 0.5}}
    }
    for passed in ([], [summary({"fare": 1.0}, "b" * 64)]):
        page = Page(render_attributions(data, passed))
        assert page.row("Rows at the input baseline in every feature")[1] == "2.0 %"
        (header,) = (row for row in page.rows if "rows at the input baseline" in row)
        at = header.index("rows at the input baseline")
        assert header[at + 1] == "cut policy"
        assert {row[0]: row[at] for row in page.rows if len(row) == len(header) and row[0] in ("fare", "miles")} == {
            "fare": "25.0 %",
            "miles": "50.0 %",
        }
    assert "input baseline in every feature" not in Page(render_attributions(summary({"fare": 1.0}))).text
