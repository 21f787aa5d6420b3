from tests.report.page_reader import Page
from tests.report.report_data import anomalies, result, summary

from tfx_explain.report.anomalies import render_anomalies

FAILED = result("max_share", "FAIL", feature="leak")


def value(name, rows, mean, label=None, before=None):
    return {
        "value": name,
        "rows": rows,
        "weight": rows,
        "mean": mean,
        "label_mean": label,
        "reference_rows": None if before is None else 10,
        "reference_mean": before,
    }


def entry(*values, **more):
    return {
        "feature": "leak",
        "slice": "overall",
        "model": "measured",
        "reference": "measured",
        "values": values,
    } | more


def page(*entries, baseline=("Cash",)) -> Page:
    model = summary({"leak": 1.0})
    model["method"]["input_baseline"] = {"leak": list(baseline)}
    return Page(render_anomalies(anomalies(FAILED) | {"by_value": entries}, model))


def test_a_row_for_each_value():
    drawn = page(entry(value("Cash", 2622, 0.0, 0.001, 0.25), value("<b>", 1381, 6.488, 0.67, -0.5)))
    assert drawn.rows[0] == ["value", "rows", "label mean", "mean contribution, logit", "in the last model that passed"]
    assert drawn.row("Cash") == ["Cash", "2,622", "0.001", "0", "+0.25"]
    assert drawn.row("<b>") == ["<b>", "1,381", "0.67", "+6.488", "-0.5"]
    assert "leak : mean contribution of each value, counted from the input baseline Cash." in drawn.text
    assert drawn.text.index("Named features, by value") < drawn.text.index("All checks")


def test_what_is_not_known_has_no_column():
    drawn = page(entry(value("Cash", 10, 1.0), reference="absent", slice="hour=3"), baseline=(1.0, 2.0))
    assert drawn.rows[0] == ["value", "rows", "mean contribution, logit"]
    assert "leak in slice hour=3: mean contribution of each value." in drawn.text


def test_features_that_a_model_does_not_use():
    assert page(entry(value("Cash", 10, 1.0), reference="not_used")).row("Cash")[-1] == "not used"
    gone = page(entry(value("Cash", None, None, None, 2.0), model="not_used"))
    assert gone.row("Cash") == ["Cash", "10", "not used", "+2"]


def test_of_many_values_those_that_stand_out_are_open():
    plain = [value(f"v{i}", 100, 0.1) for i in range(20)]
    drawn = page(entry(*plain, value("rare", 1, 5.0), value("far", 500, 3.0)))
    names = [row[0] for row in drawn.rows]
    first = names[: names.index("value", 1)]
    assert len(first) == 9
    assert "far" in first
    assert "rare" not in first
    assert "14 more values" in drawn.text
    assert {f"v{i}" for i in range(20)} <= set(names)


def test_ids_in_the_input_baseline_are_no_quantities():
    assert (
        "counted from the input baseline 17031242100." in page(entry(value("a", 1, 1.0)), baseline=(17031242100,)).text
    )


def test_only_rates_are_said_to_give_the_label_away():
    told = "A feature that gives the label away"
    assert told in page(entry(value("a", 1, 1.0, 0.5))).text
    assert told not in page(entry(value("a", 1, 1.0, 0.5), value("b", 1, 1.0, 7.0))).text
    assert told not in page(entry(value("a", 1, 1.0))).text


def test_older_files_have_no_such_section():
    assert "by value" not in Page(render_anomalies(anomalies(FAILED), summary({"leak": 1.0}))).text
