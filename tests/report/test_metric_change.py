from tests.report.page_reader import Page
from tests.report.report_data import anomalies, known, result, summary

from tfx_explain.report.anomalies import render_anomalies

FAILED = result("max_share", "FAIL", feature="leak")


def model(fingerprint: str = "a", metrics: dict | None = None, **more):
    return summary({"leak": 1.0}, fingerprint * 64) | {"metrics": metrics or {}} | more


def box(data, *models) -> str:
    text = Page(render_anomalies(anomalies(*data), models[0], models[1:])).text
    return text[: text.index("All checks")]


def test_the_box_says_what_the_metric_was_in_the_last_model_that_passed():
    ours = model(metrics={"label_mean": known(0.2), "auc": known(0.945, 0.93, 0.951)})
    older, newest = model("b", {"auc": known(0.7)}), model("c", {"auc": known(0.596), "label_mean": known(0.3)})
    text = box([FAILED], ours, older, newest)
    assert "AUC 0.945 (0.93 to 0.951), was 0.596 in the last model that passed." in text
    assert "no check judges it. A jump for the better is often a leak of the label." in text
    assert "label_mean" not in text


def test_this_model_is_not_its_own_past():
    ours = model(metrics={"auc": known(0.9, 0.8, 0.95)})
    assert "was 0.6 in" in box([FAILED], ours, model("b", {"auc": known(0.6)}), ours)


def test_two_metrics_are_told_the_known_ones_first():
    metrics = {"binary_crossentropy": known(0.2), "binary_accuracy": known(0.9), "auc": known(0.8), "other": known(1.0)}
    text = box([FAILED], model(metrics=metrics), model("b", metrics))
    assert "AUC 0.8, was 0.8; binary_accuracy 0.9, was 0.9 in" in text
    assert "crossentropy" not in text


def test_leaks_are_named_only_where_a_refused_model_is_clearly_better():
    def told(data, name, ours, before):
        return "leak of the label" in box(data, model(metrics={name: ours}), model("b", {name: before}))

    assert told([FAILED], "binary_crossentropy", known(0.2, 0.1, 0.3), known(0.5))
    assert not told([FAILED], "binary_crossentropy", known(0.7, 0.6, 0.8), known(0.5))
    assert not told([FAILED], "auc", known(0.5, 0.4, 0.55), known(0.6))
    assert not told([FAILED], "auc", known(0.9, 0.5, 0.95), known(0.6))
    assert not told([FAILED], "own", known(0.9, 0.8, 0.95), known(0.6))
    assert not told([result("max_share")], "auc", known(0.9, 0.8, 0.95), known(0.6))


def test_evaluators_metrics_stand_in_where_there_are_no_others():
    theirs = {"evaluator_metrics": {"auc": known(0.9), "example_count": known(5.0)}}
    before = {"evaluator_metrics": {"auc": known(0.6), "example_count": known(4.0)}}
    assert "AUC 0.9, was 0.6 in" in box([FAILED], model(**theirs), model("b", **before))


def test_nothing_is_said_of_what_is_not_known_of_both():
    ours = model(metrics={"auc": known(0.9)})
    for others in ((), (model("b"),), (model("b", {"auc": known(None)}),)):
        assert "in the last model" not in box([FAILED], ours, *others)
    assert "in the last model" not in Page(render_anomalies(anomalies(FAILED), None, [ours])).text
