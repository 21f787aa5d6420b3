import math

import pytest
from tests.report.page_reader import Page
from tests.report.report_data import feature, summary

from tfx_explain.report.attributions import render_attributions


def test_the_leading_feature_is_said_first():
    page = Page(render_attributions(summary({"fare": 0.3, "miles": 0.7})))
    assert page.text.index("miles leads with 70.0 % of the attribution") < page.text.index("What the model leans on")
    assert "No model has passed before" in page.text


def test_every_feature_has_a_row_by_share_with_its_intervals():
    page = Page(render_attributions(summary({"fare": 0.3, "miles": 0.7, "odd": None})))
    assert page.row("fare") == [
        "fare", "30.0 %", "27.0 % to 33.0 %", "0.3", "0.27 to 0.33", "0.3", "0.27 to 0.33", "feature",
    ]  # fmt: skip
    assert [row[0] for row in page.rows if row[-1] == "feature"] == ["miles", "fare", "odd"]


def test_shares_stand_beside_the_newest_model_that_passed():
    passed = [summary({"fare": 0.9}, "b" * 64), summary({"fare": 0.25, "gone": 0.75}, "c" * 64)]
    page = Page(render_attributions(summary({"fare": 0.3, "new": 0.7}), passed))
    assert page.row("fare")[3] == "25.0 %"
    assert page.row("new")[3] == "not used"
    assert page.row("gone")[1:4:2] == ["not used", "75.0 %"]


def test_a_rerun_is_not_compared_with_itself():
    mine = summary({"fare": 1.0})
    page = Page(render_attributions(mine, [summary({"fare": 0.5, "miles": 0.5}, "b" * 64), mine]))
    assert page.row("fare")[3] == "50.0 %"


def test_facts():
    page = Page(render_attributions(summary({"fare": 1.0})))
    for name, value in {
        "Rows read": "5,000",
        "Distinct rows explained": "2,000",
        "Effective rows": "1,988",
        "Failed rows": "3 (0.06 %)",
        "Failed: unreadable": "3",
        "Unconverged weight": "0.4 % (0.2 % to 0.7 %)",
        "Method": "integrated_gradients",
        "Steps a row": "50",
        "Steps of repaired rows": "100, 200",
        "Unit": "logit",
        "Input baseline from": "statistics",
        "Fingerprint of model": "a" * 64,
        "Fingerprint of environment": "v1",
    }.items():
        assert page.row(name) == [name, value]


def test_metrics_or_why_there_are_none():
    there = Page(render_attributions(summary({"fare": 1.0}), [summary({"fare": 1.0}, "b" * 64)]))
    assert there.row("auc") == ["auc", "0.591", "0.57 to 0.61", "0.591", "0.57 to 0.61"]
    assert there.row("mean prediction")[1] == "-1.25"
    without = summary({"fare": 1.0}) | {"metrics": {}, "metrics_absent": "the config names no label"}
    assert "No metrics: the config names no label" in Page(render_attributions(without)).text


def test_what_the_bars_leave_out_is_said():
    data = summary({"fare": 1.0}) | {"uncovered_features": ["sparse"], "notes": ["The baseline was rounded."]}
    text = Page(render_attributions(data)).text
    assert "could not be explained: sparse." in text
    assert "The model does not use these features: trip_id." in text
    assert "The baseline was rounded." in text


def test_not_explained_has_its_reason_first_and_needs_no_statistics():
    data = {
        "format_version": 1,
        "status": "not_explained",
        "reason": "Evaluator refused <this> model.",
        "model": {"uri": "/models/7", "fingerprint": "", "signature": "serving_default"},
        "examples": {"splits": ["eval"], "rows": 0, "explained_rows": 0},
        "method": {"name": "integrated_gradients", "num_steps": 50},
        "fingerprints": {"model": "", "examples": ""},
        "features": [],
        "metrics": {},
        "metrics_absent": "Evaluator refused <this> model.",
    }
    page = Page(render_attributions(data))
    assert page.text.index("Not explained Evaluator refused <this> model.") < page.text.index("Facts")
    assert "svg" not in page.names


def test_500_hostile_names_and_broken_numbers():
    data = summary({f"<script>f{i}</script>\u202e{'x' * (i % 90)}": (i + 1) / 125250 for i in range(500)})
    data["features"][0] = feature("nothing", None, None)
    data["features"][1] |= {"share": math.nan, "mean_absolute": 1e300, "mean": -math.inf}
    data["model"]["uri"] = "</code><script>"
    data["metrics"] = {"<b>": {"value": math.nan, "low": None, "high": 10**400}}
    text = render_attributions(data, [summary({"fare": 1.0}, "b" * 64), data | {"model": {"fingerprint": "c"}}])
    page = Page(text)
    assert not page.names & {"script", "b", "link", "img", "iframe", "object"}
    assert "\u202e" not in text
    assert sum(row[-1] == "feature" for row in page.rows) == 499
    assert "The 30 largest of 500 features" in page.text
    text.encode("utf-8")


def test_nothing_is_loaded_and_nothing_links_out():
    text = render_attributions(summary({"fare": 1.0}))
    for name, attributes in Page(text).elements:
        assert not {"src", "href", "xlink:href", "onload", "onclick"} & attributes.keys(), name
    assert "url(" not in text


def test_equal_input_gives_equal_bytes():
    data, passed = summary({"a": 0.5, "b": 0.5}), [summary({"b": 0.4, "a": 0.6}, "b" * 64)]
    assert render_attributions(data, passed) == render_attributions(data, passed)


def test_a_newer_format_is_refused():
    with pytest.raises(ValueError, match=r"format_version must be <= 3; upgrade tfx-explain.*Received: .*=4"):
        render_attributions(summary({"a": 1.0}) | {"format_version": 4})
    with pytest.raises(ValueError, match="format_version must be <= 3"):
        render_attributions(summary({"a": 1.0}), [summary({"a": 1.0}) | {"format_version": 4}])


def test_an_unknown_status_is_refused():
    with pytest.raises(ValueError, match="status must be one of .* Received: status='half'"):
        render_attributions(summary({"a": 1.0}) | {"status": "half"})


def test_input_baselines_stand_with_the_rows_that_are_at_them():
    data = summary({"fare": 0.3, "miles": 0.7})
    data["method"]["input_baseline"] = {"fare": [12.3456789], "company": ["Flash <Cab>"], "tags": []}
    data["at_input_baseline"] = {"all_features": 0.01, "features": {"fare": 0.25}}
    page = Page(render_attributions(data))
    assert ["fare", "12.3457", "25.0 %"] in page.rows
    assert [row[:2] for row in page.rows if row[0] in ("company", "tags")] == [
        ["company", "Flash <Cab>"],
        ["tags", "no value"],
    ]


def test_the_input_baseline_has_ids_in_full_and_says_what_is_not_used():
    data = summary({"fare": 0.5, "hour x day": 0.5}) | {"uncovered_features": ["blocked"]}
    values = {
        "fare": [7.85],
        "hour": [17031242100],
        "time": [1406762100.0],
        "tips": ["<b>"],
        "blocked": [1],
        "none": [],
    }
    data["method"]["input_baseline"] = values
    page = Page(render_attributions(data | {"at_input_baseline": {"all_features": 0.0, "features": {"fare": 0.25}}}))
    rows = {row[0]: row[1:] for row in page.rows[page.rows.index(["feature", "input baseline", "rows at it"]) + 1 :]}
    assert rows == {
        "fare": ["7.85", "25.0 %"],
        "hour": ["17031242100", "–"],
        "time": ["1406762100", "not used"],
        "tips": ["<b>", "not used"],
        "blocked": ["1", "–"],
        "none": ["no value", "not used"],
    }


def test_the_mark_for_no_interval_is_explained():
    page = Page(render_attributions(summary({"fare": 1.0})))
    assert "–: no number, or no interval." in page.text[page.text.index("Predictions") : page.text.index("Facts")]
