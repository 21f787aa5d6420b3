"""The head of a verdict's page: which run and model it is of, and where to read on."""

import pytest
from tests.report.page_reader import Page
from tests.report.report_data import anomalies, result

from tfx_explain.report.anomalies import render_anomalies
from tfx_explain.report.origin import Linked, Origin

REFUSED = anomalies(result("max_share", "FAIL", feature="leak")) | {"model_id": "37"}
RUN = Origin("taxi", "2026-11-28T12:00:00", "AttributionValidator", "52", "/models/7", "a" * 64, {"b" * 64: "r-6"})


def text(data=REFUSED, **more):
    return Page(render_anomalies(data, **more)).text


def test_a_page_begins_with_its_run_and_model():
    """Before the reasons: the tab that is open at night may be of another pipeline, or of yesterday."""
    page = text(origin=RUN)
    run = "Pipeline taxi · run 2026-11-28T12:00:00 · node AttributionValidator · execution 52"
    assert page.startswith("Not blessed: 1 reason · taxi · attribution gate")
    assert f"{run} Model /models/7 (id 37, files aaaaaaaaaaaa) What max_share found." in page
    blessed = text(anomalies(result("completeness")), origin=RUN)
    assert f"Pusher may push this model. {run} Model /models/7" in blessed


def test_what_is_not_known_has_no_words():
    page = text()
    assert "what it pushed before stays. Model /models/7 (id 37, files aaaaaaaaaaaa)" in page
    assert page.startswith("Not blessed: 1 reason · attribution gate")
    assert not {"Pipeline", "node", "execution"} & set(page.split())
    assert "before stays. execution AttributionValidator-8 Model" in text(
        origin=Origin(execution="AttributionValidator-8")
    )


def test_the_model_to_push_is_named_whatever_was_explained():
    """The verdict's `model` is that of the attributions: another one, or none, where they do not belong to it."""
    pushed = Origin(model_uri="/models/8", fingerprint="d" * 64)
    page = text(origin=pushed)
    assert "Model /models/8 (id 37, files dddddddddddd)" in page
    assert "The attributions are of another one: /models/7 (files aaaaaaaaaaaa)" in page
    assert "Model /models/8 (id 37, files dddddddddddd)" in text(REFUSED | {"model": {}}, origin=pushed)
    for same in (RUN, Origin(model_uri="/models/7"), Origin(model_uri="/copied/7", fingerprint="a" * 64)):
        assert "of another one" not in text(origin=same)
    assert "of another one" not in text(REFUSED | {"model": {}}, origin=pushed)


def test_the_reference_is_named_with_the_run_in_which_it_passed():
    last = "Reference, the last model that passed: /models/6 (id 6, files bbbbbbbbbbbb"
    assert f"{last}, passed in run r-6)" in text(origin=RUN)
    assert f"{last})" in text()
    assert "No model that passed was at hand to compare with." in text(REFUSED | {"reference": []})


def test_of_several_the_newest_other_one_is_the_reference():
    own, older = ({"fingerprint": fingerprint * 64, "model_uri": "/models/5", "model_id": None} for fingerprint in "ac")
    for references in ([older, *REFUSED["reference"]], [*REFUSED["reference"], own]):
        page = text(REFUSED | {"reference": references})
        assert "Reference, the last model that passed: /models/6 (id 6" in page
    assert "Other models of the reference This model: /models/5 (files aaaaaaaaaaaa)" in page
    page = text(REFUSED | {"reference": [older, *REFUSED["reference"]]})
    assert "Other models of the reference /models/5 (files cccccccccccc)" in page
    alone = text(REFUSED | {"reference": [own]})
    assert "Reference, this model itself: /models/5 (files aaaaaaaaaaaa)" in alone
    assert "Other models" not in alone


@pytest.mark.parametrize("hostile", ["<script>", "\u202e", '"><b>'])
def test_hostile_names_stay_text(hostile):
    origin = Origin(*[hostile] * 5)
    files = {hostile: [Linked(hostile, hostile)]}
    drawn = render_anomalies(REFUSED, origin=origin, files=files)
    assert not {"script"} & Page(drawn).names
    assert "\u202e" not in drawn
    assert '"><b>' not in drawn


def test_files_are_linked_where_they_can_be():
    files = {"Measured": [Linked("report.html", "../a/report.html"), Linked("gs://b/x")], "Nothing": []}
    page = Page(render_anomalies(REFUSED, files=files))
    assert [attributes for name, attributes in page.elements if name == "a"] == [{"href": "../a/report.html"}]
    assert "Measured: report.html , gs://b/x" in page.text
    assert "Nothing" not in page.text
