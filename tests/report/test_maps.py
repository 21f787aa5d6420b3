import re

import pytest
from tests.report.page_reader import Page
from tests.report.report_data import evidence

from tfx_explain.report.attributions import render_attributions
from tfx_explain.report.maps import map_sections


def row(attribution, elements=None, name="image", **more):
    feature = {"name": name, "attribution": attribution, "elements": elements}
    return {"id": "ab" * 16, "target": 7, "prediction": 1.25, "features": [feature]} | more


def split(*rows, mean=None):
    feature = {"name": "image", "shape": [2, 3], "rows": 20, "mean_absolute": mean or [0.0]}
    return {"split": "eval", "features": [feature], "rows": list(rows)}


def drawn(*rows, mean=None):
    return "".join(map_sections(evidence({"image": 1.0}, elements=[split(*rows, mean=mean)])))


def squares(svg):
    """(x, y) -> colour."""
    found = re.findall(r'<rect x="(\d+)" y="(\d+)" width="1" height="1" fill="(#\w+)"/>', svg)
    return {(int(x), int(y)): color for x, y, color in found}


def test_pixels_are_coloured_by_sign_and_by_their_part_of_the_largest():
    cells = squares(drawn(row([[2.0, 0.0, -2.0], [1.0, -1.0, 0.001]])))
    assert cells == {(0, 0): "#2f6fb3", (2, 0): "#d6701e", (0, 1): "#97b7d9", (1, 1): "#eab88e"}


def test_a_map_of_nothing_is_white_and_says_whose_it_is():
    page = drawn(row([[0.0, 0.0], [0.0, None]]))
    assert squares(page) == {}
    assert "abababababab: target 7, prediction 1.25" in page


def test_tokens_are_escaped_and_carry_their_value():
    tokens = ["good", "<script>alert(1)</script>", "bad"]
    page = Page(render_attributions(evidence({"image": 1.0}, elements=[split(row([0.5, 0.0, -1.0], tokens, "text"))])))
    spans = [attributes for name, attributes in page.elements if name == "span" and "style" in attributes]
    assert [s["title"] for s in spans] == ["0.5", "0", "-1"]
    assert [s["style"].split(";")[0] for s in spans] == [
        "background:#97b7d9",
        "background:#ffffff",
        "background:#d6701e",
    ]
    assert "script" not in page.names
    assert "<script>alert(1)</script>" in page.text


def test_what_lies_behind_the_last_token_is_told_not_drawn():
    page = drawn(row([1.0, 0.0, 0.25], ["good"], "text"))
    assert "Behind the last one: |attribution| 0.25." in page
    assert page.count("background:") == 1


def test_elements_of_unknown_meaning_are_places():
    page = drawn(row([0.0, 1.0], None, "text"))
    assert ">1</span>" in page and ">0</span>" not in page
    assert "what stands there is not known" in page


def test_the_mean_over_rows_is_a_map_of_its_own():
    page = drawn(row([[1.0, -1.0]]), mean=[[0.5, 0.25]])
    assert "Mean |attribution| of image over 20 rows" in page
    assert page.count("<svg") == 2


@pytest.mark.parametrize("elements", [{}, {"elements": []}, {"elements": None}])
def test_a_summary_without_maps_has_no_section(elements):
    assert "Pixels and tokens" not in render_attributions(evidence({"image": 1.0}, **elements))


def test_at_most_eight_rows_are_drawn():
    assert drawn(*[row([[1.0, -1.0]]) for _ in range(12)]).count("<svg") == 8
