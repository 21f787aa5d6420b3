"""The sentence of a diagnosis: the model, the data, both, or nobody knows."""

import pytest
from tests.diagnosis.diagnosis_data import diagnosis, entry, feature, interval, stored

from tfx_explain.diagnosis.words import describe

STILL = feature("fare", 0.4, 0.4, 0.4)


@pytest.mark.parametrize(
    ("one", "changed"),
    [
        (feature("tips", 0.5, 0.1, 0.1), "model"),
        (feature("tips", 0.5, 0.5, 0.1), "data"),
        (feature("tips", 0.9, 0.5, 0.1), "both"),
        (feature("tips", 0.14, 0.1, 0.1), "neither"),
        (feature("tips", 0.5, 0.1, 0.1, half=0.5), "neither"),  # the interval holds 0
    ],
)
def test_who_changed(one, changed):
    assert describe(diagnosis(STILL, one))["changed"] == changed


def test_the_models_part_is_told_by_feature_the_largest_first():
    new = feature("payment_type", 0.536, 0.0, 0.0, absent_from="reference")
    gone = feature("miles", 0.0, 0.3, 0.3, absent_from="candidate")
    said = describe(diagnosis(gone, STILL, new, feature("hour", 0.2, 0.1, 0.1)))
    assert said["headline"] == "The model changed, not the data."
    assert said["sentences"][:3] == [
        "Model: 'payment_type' carries 53.6 % of the attribution; the last model that passed does not use it.",
        "Model: 'miles' is not used any more; it carries 30.0 % in the last model that passed.",
        "Model: on the same rows 'hour' carries 20.0 %, 10.0 % in the last model that passed.",
    ]


def test_the_datas_part():
    said = describe(diagnosis(feature("fare", 0.6, 0.6, 0.2), moved_inputs={"fare": 7.0, "hour": None, "tips": 0.9}))
    assert said["headline"] == "The data changed, not the model."
    assert said["sentences"][:2] == [
        "Data: in the last model that passed 'fare' carries 60.0 % on today's rows, 20.0 % at its time.",
        "Data: the values of 'fare' and 'hour' are distributed otherwise than at the time of the last model that "
        "passed.",
    ]


def test_slices_speak_only_of_what_is_not_seen_in_all_rows():
    slices = [
        entry(feature("tips", 0.9, 0.1, None), feature("fare", 0.1, 0.4, None), name="hour=3"),
        entry(feature("tips", 0.9, 0.1, None), name="hour=4"),
    ]
    said = describe(diagnosis(feature("tips", 0.5, 0.1, 0.1), slices=slices))["sentences"]
    assert "Model: in slice hour=3 the share of 'fare' is lower by 30.0 percentage points." in said
    assert not any("hour=4" in s for s in said)


@pytest.mark.parametrize(
    ("rows", "asked", "bounds", "told"),
    [
        (2000, 250.0, (-0.31, -0.29), True),
        (250, 250.0, (-0.31, -0.29), True),
        (249, 250.0, (-0.31, -0.29), False),
        (249, 100.0, (-0.31, -0.29), True),  # the policy's
        (2000, 250.0, (-0.61, 0.01), False),
        (2000, 250.0, (None, None), False),
    ],
)
def test_a_slice_is_told_with_enough_rows_and_an_interval_beside_zero(rows, asked, bounds, told):
    fare = feature("fare", 0.1, 0.4, None)
    fare["model_part"] |= dict(zip(("low", "high"), bounds, strict=True))
    slices = [entry(fare, name="hour=3", rows=rows)]
    said = describe(diagnosis(STILL, slices=slices, min_slice_rows=asked))["sentences"]
    assert any("hour=3" in sentence for sentence in said) is told


@pytest.mark.parametrize(
    ("mean", "theirs", "changed", "told"),
    [
        (0.05, -0.025, True, True),  # of totals of 2 and 1: each 2.5 %
        (0.049, -0.3, True, False),
        (0.3, -0.024, True, False),
        (0.3, -0.3, False, False),  # an interval holds 0
    ],
)
def test_signs_are_told_where_both_means_are_clear(mean, theirs, changed, told):
    one = STILL | {"mean": interval(mean), "reference_mean": interval(theirs), "sign_changed": changed}
    assert any("turned its sign" in sentence for sentence in describe(diagnosis(one))["sentences"]) is told


def test_signs_targets_and_lineage_are_told():
    overall = entry(STILL | {"sign_changed": True}) | {"other_target_rows": 7}
    lineage = {"sentences": ["Trainer: epochs 3 -> 5"], "unknown": [], "differences": [], "nodes": []}
    said = describe(diagnosis(overall=overall, lineage=lineage, lineage_absent=None))["sentences"]
    assert "Model: the mean attribution of 'fare' has turned its sign." in said
    assert "Not compared: 7 rows are explained for another target by each model." in said
    assert said[-1] == "Upstream: Trainer: epochs 3 -> 5."
    silent = lineage | {"sentences": [], "unknown": ["Trainer: module_file is not recorded"]}
    said = describe(diagnosis(STILL, lineage=silent))["sentences"]
    assert said[-2:] == [
        "Upstream: nothing that ML Metadata records differs.",
        "Upstream: Trainer: module_file is not recorded.",
    ]


def test_without_pairs_nobody_is_blamed():
    reason = "the last model that passed cannot be run: its folder is gone: /models/6"
    said = describe(diagnosis(stored("tips", 0.5, 0.1), pairs_absent=reason))
    assert said["changed"] == "unknown"
    assert said["headline"].endswith(f"{reason}.")
    assert said["sentences"][0] == "'tips' carries 50.0 % now, 10.0 % in the last model that passed at its time."
    none = describe(diagnosis(overall=entry(STILL, rows=0)))
    assert none["changed"] == "unknown" and "cannot be measured" in none["headline"]
