import re

from tests.report.page_reader import Page
from tests.report.report_data import evidence, importance, known

from tfx_explain.report.attributions import render_attributions
from tfx_explain.report.importance import shown_metric
from tfx_explain.report.importance_chart import MAX_FEATURES, importance_bars

NEEDED = known(0.2, 0.1, 0.3)
IDLE = known(0.001, -0.01, 0.01)


def render(shares, *items, **measuring):
    data = evidence(shares)
    data["permutation_importance"] |= {"features": list(items), **measuring}
    return render_attributions(data)


def test_a_drop_stands_beside_the_share():
    page = Page(
        render({"fare": 0.6, "miles": 0.4}, importance("miles", auc=IDLE), importance("fare", auc=NEEDED, loss=IDLE))
    )
    assert [row for row in page.rows if len(row) == 8 and row[0] == "fare" and row[1] == "0.2"] == [
        ["fare", "0.2", "0.1 to 0.3", "0.9", "0.01", "60.0 %", "54.0 % to 66.0 %", "0.001 (-0.01 to 0.01)"]
    ]
    header = next(row for row in page.rows if "drop in auc" in row)
    assert header[-1] == "drop in loss"
    drops = [row[0] for row in page.rows[page.rows.index(header) + 1 :]][:2]
    assert drops == ["fare", "miles"]


def test_a_large_share_that_nothing_needs_is_said():
    text = Page(render({"fare": 0.6, "miles": 0.4}, importance("fare", auc=IDLE), importance("miles", auc=NEEDED))).text
    assert "Large share, yet no metric clearly loses when it is permuted: fare (60.0 %)." in text
    assert "Small share" not in text


def test_a_share_that_any_metric_needs_is_not_idle():
    text = Page(render({"fare": 1.0}, importance("fare", auc=IDLE, loss=NEEDED))).text
    assert "Large share" not in text


def test_a_small_share_that_a_metric_lives_by_is_said():
    items = [importance("code", auc=NEEDED), importance("fare", auc=NEEDED)]
    text = Page(render({"fare": 0.98, "code": 0.02}, *items)).text
    assert "yet auc loses much when it is permuted: code (50.0 % of all drops, 2.0 % of the attribution)." in text
    assert "Large share" not in text


def test_measures_that_agree_have_no_note():
    items = [importance("a", auc=NEEDED), importance("b", auc=known(0.1, 0.05, 0.15))]
    assert "permuted:" not in Page(render({"a": 0.6, "b": 0.4}, *items)).text


def test_a_group_has_its_joint_share_and_no_note():
    data = evidence({"a": 0.5, "b": 0.5}, groups={"both": ["a", "b"]}, group_shares={"both": known(0.9, 0.8, 1.0)})
    data["permutation_importance"]["features"] = [importance("both", auc=IDLE)]
    page = Page(render_attributions(data))
    assert [row[5] for row in page.rows if row[0] == "both" and len(row) == 7] == ["90.0 %"]
    assert "Large share" not in page.text


def test_why_there_is_none():
    text = Page(render({"a": 1.0}, absent="the configuration asks for 0 repeats")).text
    assert "Not measured: the configuration asks for 0 repeats." in text
    assert (
        "Not measured: no metric could be measured." in Page(render({"a": 1.0}, importance("a", auc=known(None)))).text
    )


def test_how_it_was_measured():
    more = {"strata": ["city"], "rows_alone_in_their_stratum": 7, "only_in_groups": ["x"], "reparsed_features": ["y"]}
    text = Page(render({"a": 1.0}, importance("a", auc=NEEDED), **more)).text
    assert "2,000 rows was replaced 10 times by its value in another row, out of rows that agree in city." in text
    assert "7 rows are alone in their stratum." in text
    assert "Permuted only together with their group: x." in text
    assert "Replaced in the raw example: y." in text
    assert "out of all rows." in Page(render({"a": 1.0}, importance("a", auc=NEEDED))).text


def test_the_metric_is_one_that_was_measured():
    def metric(*items):
        return shown_metric({"permutation_importance": {"features": items}})

    assert metric(importance("a", mean_squared_error=NEEDED, auc=NEEDED)) == "auc"
    assert (
        metric(importance("a", auc=known(None), binary_crossentropy=NEEDED, accuracy=NEEDED)) == "binary_crossentropy"
    )
    assert metric(importance("a", other=NEEDED)) == "other"
    assert metric() is None
    assert shown_metric({}) is None


def test_a_bar_for_each_drop_and_each_share():
    svg = importance_bars({"a": NEEDED, "b": known(-0.1, -0.2, 0.0), "none": known(None)}, {"a": known(0.7)}, "auc")
    assert len(re.findall('<path[^>]*fill="#7a4fa3"', svg)) == 2
    assert len(re.findall('<path[^>]*fill="#2f6fb3"', svg)) == 1
    assert "none" not in svg.replace('"none"', "")
    assert importance_bars({"a": known(None)}, {}, "auc") == ""


def test_a_large_share_is_drawn_though_many_drops_are_larger():
    drops = {f"f{i:02d}": known(1.0 - i / 1000) for i in range(30)} | {"led": known(0.0)}
    svg = importance_bars(drops, {"led": known(0.99)}, "auc")
    assert "led<" in svg
    assert sum(f"f{i:02d}<" in svg for i in range(30)) == MAX_FEATURES - 1
