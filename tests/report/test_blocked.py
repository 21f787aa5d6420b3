from tests.report.page_reader import Page
from tests.report.report_data import evidence, importance, known

from tfx_explain.report.attributions import render_attributions

BLOCKED = {"age": {"operation": "Greater", "name": "forest/<cond_3>"}, "fare": {"operation": "Floor", "name": "whole"}}


def data(**more):
    measured = evidence({"fare": 1.0})["permutation_importance"]
    measured["features"] = [
        importance("age", auc=known(0.125, 0.1, 0.15)),
        importance("fare", auc=known(0.25, 0.2, 0.3)),
    ]
    return evidence({"fare": 1.0}, uncovered_features=["age", "old"], blocked_features=BLOCKED) | {
        "permutation_importance": measured,
        **more,
    }


def test_features_stand_with_their_operation_beside_what_permuting_them_costs():
    page = Page(render_attributions(data()))
    rows = [row for row in page.rows if len(row) == 6 and row[1] in ("no", "in part")]
    assert rows[0] == ["age", "no", "Greater", "forest/<cond_3>", "0.125", "0.1 to 0.15"]
    assert rows[1] == ["fare", "in part", "Floor", "whole", "0.25", "0.2 to 0.3"]
    assert rows[2][:2] == ["old", "no"] and len(rows) == 3
    assert page.text.index("leads with") < page.text.index("Without a gradient")


def test_a_model_with_gradients_everywhere_has_no_such_section():
    assert "Without a gradient" not in Page(render_attributions(evidence({"fare": 1.0}))).text


def test_a_page_without_attributions_opens_with_the_reason_and_shows_what_was_measured():
    said = {"status": "no_gradient", "reason": "only through <Greater>"}
    page = Page(render_attributions(data(features=[], attributions=said)))
    assert page.text.index("No attributions only through <Greater>") < page.text.index("Permutation importance")
    assert "leads with" not in page.text and "What the model leans on" not in page.text
    assert [row[0] for row in page.rows if row[1:2] == ["no"]] == ["age", "old"]
    assert "0 features attributed" in page.text


def test_crosses_in_equal_parts_are_a_fact():
    equal = data()
    equal["method"] = equal["method"] | {"crosses": "equal"}
    assert Page(render_attributions(equal)).row("Crosses") == ["Crosses", "equal"]
