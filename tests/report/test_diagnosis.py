import pytest
from tests.diagnosis.diagnosis_data import diagnosis, entry, feature, stored
from tests.report.page_reader import Page

from tfx_explain.report.diagnosis import render_diagnosis

FARE = feature("fare", 0.4, 0.35, 0.35)
TIPS = feature("tips", 0.6, 0.1, 0.05, absent_from="reference", reference_rank=None)
SAID = {
    "changed": "model",
    "headline": "The model changed, not the data.",
    "sentences": ["Model: 'tips' <b>leads</b>."],
}
LINEAGE = {
    "nodes": ["Trainer", "CsvExampleGen"],
    "sentences": ["Trainer: epochs 3 -> 5"],
    "unknown": ["Trainer: module_file m.py is not recorded"],
    "differences": [
        {
            "node": "Trainer",
            "kind": "exec_property",
            "name": "epochs",
            "passed": 3,
            "candidate": 5,
            "words": "epochs 3 -> 5",
        }
    ],  # fmt: skip
}


def render(*features, **more):
    return render_diagnosis(diagnosis(*features, **more) | SAID)


def test_the_sentence_comes_first_then_features_slices_and_lineage():
    page = Page(render(FARE, TIPS, lineage=LINEAGE, slices=[entry(TIPS, name="hour=3", rows=300)]))
    order = ["The model changed, not the data.", "<b>leads</b>", "By feature", "By slice", "Upstream", "Facts"]
    places = [page.text.index(piece, page.text.index("· diagnosis")) for piece in order]
    assert places == sorted(places)
    assert "b" not in page.names and "script" not in page.names


def test_a_feature_has_its_three_shares_and_both_parts():
    page = Page(render(FARE, TIPS))
    names = [row[0] for row in page.rows[1:3]]
    assert names == ["tips (new)", "fare"]
    assert page.row("tips (new)") == [
        "tips (new)", "60.0 %", "10.0 %", "5.0 %", "+50.0 %\n[49.0 % to 51.0 %]", "+5.0 %\n[4.0 % to 6.0 %]", "– → 1",
        "0.9",
    ]  # fmt: skip


def test_slices_name_the_feature_that_moved_most():
    page = Page(render(FARE, slices=[entry(FARE, name="hour=2"), entry(FARE, TIPS, name="hour=3", rows=300)]))
    assert page.row("hour=3")[:4] == ["hour=3", "300", "tips", "+50.0 %\n[49.0 % to 51.0 %]"]
    where = [row[0] for row in page.rows].index
    assert where("hour=3") < where("hour=2")
    assert "No slice was compared." in Page(render(FARE)).text


def test_slices_of_few_rows_are_counted_and_left_to_the_file():
    few = [entry(TIPS, name="hour=3", rows=1), entry(TIPS, name="hour=4", rows=249)]
    page = Page(render(FARE, slices=[entry(FARE, name="hour=2", rows=250), *few]))
    names = [row[0] for row in page.rows]
    assert "hour=2" in names and "hour=3" not in names and "hour=4" not in names
    assert "Slices with fewer than 250 effective rows, in diagnosis.json: 2." in page.text
    assert "in diagnosis.json: 2." in Page(render(FARE, slices=few)).text
    assert "effective rows" not in Page(render(FARE, slices=[entry(FARE, name="hour=2")])).text


def test_the_row_correlation_has_a_legend_where_it_was_measured():
    assert "Row correlation: of what each model attributes to the feature" in Page(render(FARE)).text
    assert "Row correlation" not in Page(render(FARE, pairs_absent="its folder is gone")).text


def test_lineage_is_a_table_and_what_is_unknown_is_said():
    page = Page(render(FARE, lineage=LINEAGE))
    assert page.row("Trainer") == ["Trainer", "exec property", "epochs 3 -> 5"]
    assert "module_file m.py is not recorded" in page.text
    assert "Nodes compared: Trainer, CsvExampleGen." in page.text
    assert "Not compared: no metadata store was given." in Page(render(FARE)).text


def test_without_pairs_the_stored_shares_are_left():
    data = (
        diagnosis(stored("tips", 0.5, 0.1), pairs_absent="its folder is gone", notes=["<script>"])
        | SAID
        | {"changed": "unknown"}
    )
    page = Page(render_diagnosis(data))
    assert page.row("tips") == ["tips", "50.0 %", "–", "10.0 %", "–", "–", "–", "–"]
    assert "script" not in page.names


def test_what_is_not_about_a_refusal_says_so_before_anything_else():
    said = "This diagnosis is not about a refusal: no verdict was given."
    page = Page(render_diagnosis(diagnosis(FARE, no_refusal=said) | SAID))
    assert page.text.index(said) < page.text.index(SAID["headline"], page.text.index("· diagnosis"))
    assert "not about a refusal" not in Page(render(FARE)).text


def test_an_unknown_change_or_a_newer_format_is_refused():
    with pytest.raises(ValueError, match="changed must be one of"):
        render_diagnosis(diagnosis(FARE) | SAID | {"changed": "weather"})
    with pytest.raises(ValueError, match="format_version"):
        render_diagnosis(diagnosis(FARE) | SAID | {"format_version": 99})
