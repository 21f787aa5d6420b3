import re
from pathlib import Path

import pytest
from tests.report.page_reader import Page
from tests.report.report_data import anomalies, result, summary

from tfx_explain.report.anomalies import render_anomalies

CAP = result(
    "max_share", "FAIL", feature="leak", value=0.53, low=0.51, high=0.55, threshold=0.4, sentence="'leak' carries 53 %."
)


def test_a_refusal_begins_with_its_sentences():
    data = anomalies(result("completeness"), CAP, result("new_features", "NEEDS_APPROVAL", feature="leak"))
    page = Page(render_anomalies(data, summary({"leak": 0.53, "fare": 0.47})))
    order = ["Not blessed: 2 reasons", "'leak' carries 53 %.", "What new_features found.", "All checks", "Facts"]
    places = [page.text.index(piece) for piece in order]
    assert places == sorted(places)
    assert "Blessed" not in page.text


def test_a_blessing():
    page = Page(render_anomalies(anomalies(result("completeness")), summary({"fare": 1.0})))
    assert page.text.startswith("Blessed")
    assert "Not blessed" not in page.text


def test_every_check_has_a_row_the_urgent_ones_first():
    results = [
        result("completeness"),
        result("total_scale", "FAIL", "warn"),
        result("profile_change", "INCONCLUSIVE"),
        CAP,
        result("reference", "NO_REFERENCE", "off"),
    ]
    page = Page(render_anomalies(anomalies(*results)))
    checks = [row[0] for row in page.rows[1:]]
    assert checks == ["profile_change", "max_share", "total_scale", "reference", "completeness"]
    assert page.row("max_share") == [
        "max_share", "FAIL\nblocks", "leak", "0.53", "0.51 to 0.55", "0.4", "'leak' carries 53 %.",
    ]  # fmt: skip


def test_slices_have_a_column_once_there_are_any():
    page = Page(render_anomalies(anomalies(CAP, result("completeness", slice="company:<b>"))))
    assert page.rows[0][2] == "slice"
    assert page.row("completeness")[2] == "company:<b>"


def test_only_a_finding_that_blocks_has_the_badge_of_one():
    warned, passing = result("reference", "NO_REFERENCE", "warn"), result("completeness")
    page = Page(render_anomalies(anomalies(CAP, warned, passing, result("vanished", severity="warn"))))
    badges = [attributes["class"] for name, attributes in page.elements if "badge" in str(attributes.get("class"))]
    assert badges == ["badge bad", "badge warn", "badge good", "badge good"]
    rows = [page.row(check)[1] for check in ("max_share", "reference", "completeness", "vanished")]
    assert rows == ["FAIL\nblocks", "NO REFERENCE\nwarns only", "PASS\nwould block", "PASS\nwould warn"]
    (style,) = re.findall(r"\.badge\.warn \{(.*?)\}", render_anomalies(anomalies(warned)))
    assert "background: #fff" in style


def test_the_box_counts_what_does_not_block():
    one, two = result("reference", "NO_REFERENCE", "warn"), result("max_share", "FAIL", "warn", feature="leak")
    blessed = Page(render_anomalies(anomalies(one))).text
    assert blessed.startswith("Blessed")
    assert "1 warning, which does not block: reference." in blessed
    refused = Page(render_anomalies(anomalies(CAP, one, two, two))).text
    assert "3 warnings, which do not block: reference, max_share." in refused
    assert "warning" not in Page(render_anomalies(anomalies(CAP, result("x", "FAIL", "off")))).text


def test_only_features_that_refuse_are_red():
    red = re.compile('<path[^>]*fill="#b3261e"')
    warned = result("share_change", "FAIL", "warn", feature="fare")
    model = summary({"leak": 0.6, "fare": 0.4})
    assert len(red.findall(render_anomalies(anomalies(CAP, warned), model))) == 1
    assert not red.search(render_anomalies(anomalies(warned), model))


def test_unreadable_attributions_still_have_a_page():
    page = Page(render_anomalies(anomalies(CAP) | {"model": {}}, None, []))
    assert "There are no attributions that could be judged" in page.text
    assert "svg" not in page.names


def test_a_model_that_was_not_explained():
    data = summary({}) | {"status": "not_explained", "reason": "Evaluator refused it."}
    page = Page(render_anomalies(anomalies(result("evaluator", "FAIL")), data))
    assert "The model was not explained: Evaluator refused it." in page.text


def test_hostile_sentences_stay_text():
    hostile = result("x", "FAIL", feature="</td><script>", sentence="<script>alert(1)</script>\u202e")
    data = anomalies(hostile) | {"reference": [{"model_uri": "<script>"}], "model": {"uri": "<script>"}}
    text = render_anomalies(data, summary({"</td><script>": 1.0}))
    assert "script" not in Page(text).names
    assert "\u202e" not in text


def test_equal_input_gives_equal_bytes():
    arguments = anomalies(CAP), summary({"leak": 0.6, "fare": 0.4}), [summary({"fare": 1.0}, "b" * 64)]
    assert render_anomalies(*arguments) == render_anomalies(*arguments)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (anomalies(CAP) | {"format_version": 4}, "format_version must be <= 3; upgrade"),
        (anomalies(result("x", "MAYBE")), "verdict must be one of .* Received: verdict='MAYBE'"),
        (anomalies(result("x", "FAIL", "loud")), "severity must be one of .* Received: severity='loud'"),
    ],
)
def test_what_cannot_be_read_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        render_anomalies(data)


def test_what_to_do_stands_with_what_to_paste():
    steps = [{"what": "Approve <it>.", "policy": 'a:\n  - "<b>"'}, {"what": "Train again.", "policy": None}]
    text = render_anomalies(anomalies(CAP) | {"next_steps": steps})
    assert 'What to do now Approve <it>. a: - "<b>" Train again. All checks' in Page(text).text
    assert "a:\n  - &quot;&lt;b&gt;&quot;</code></pre>" in text
    assert "What to do now" not in Page(render_anomalies(anomalies(CAP) | {"next_steps": []})).text


def test_what_stands_between_backticks_is_code():
    one, two = result("x", "FAIL", sentence="Write `<a>: 1` now."), result("y", "FAIL", sentence="A ` alone")
    text = render_anomalies(anomalies(one, two))
    assert text.count("Write <code>&lt;a&gt;: 1</code> now.") == 2
    assert "A ` alone" in text


def test_results_of_an_earlier_release_have_no_unit_and_no_policy():
    assert not {"unit", "policy"} & {*CAP}  # what all pages of these tests are drawn from
    later = CAP | {"unit": None, "policy": "dominant_features: {}"}
    assert render_anomalies(anomalies(later)) == render_anomalies(anomalies(CAP))


def test_what_to_paste_stands_once_where_one_piece_holds_all_of_it():
    told = "'leak' is new. If it may be used, write into the policy `approved_features: [leak]`. Its approval ended."
    new = result("new_features", "NEEDS_APPROVAL", feature="leak", sentence=told, policy="approved_features: [leak]")
    short = result("evidence_floor", "INCONCLUSIVE", sentence=told, policy="approved_features: [leak]")
    steps = [{"what": "Approve it.", "policy": "approved_features: [leak]"}]

    def reasons(steps, *results):
        drawn = render_anomalies(anomalies(*results) | {"next_steps": steps})
        Page(drawn).links_from(Path("report.html"))
        return re.search("<ol>(.*?)</ol>", drawn).group(1)

    below = 'If it may be used, say so in the policy <a href="#what-to-do-now">as below</a>. Its approval ended.</li>'
    assert reasons(steps, new).endswith(below)
    whole = "write into the policy <code>approved_features: [leak]</code>. Its approval ended."
    for given in ((steps, short), ([], new), (steps, new | {"policy": None}), (steps, new | {"policy": "another"})):
        assert whole in reasons(*given)
