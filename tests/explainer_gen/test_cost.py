"""What a job is expected to cost, and what is lowered to keep a limit."""

import dataclasses
import json
import logging

import numpy as np
import pytest
from tests.explainer_gen.evidence_data import NAMES, config, explain, planted, write_examples

from tfx_explain.artifacts.manifest import read_manifest
from tfx_explain.config import CostConfig, ExplainConfig, Label
from tfx_explain.explainer_gen.cost import forecast, report, within_limits
from tfx_explain.explainer_gen.pilot import Pilot

pytestmark = pytest.mark.pipeline

PILOT = Pilot(
    rows_read=50_000,
    items=4,
    slices=3,
    load_seconds=9.0,
    identify_seconds=1e-4,
    row_seconds=3e-4,
    explain_seconds=2e-3,
    aggregate_seconds=1e-3,
    slice_seconds=0.05,
    permute_seconds=1e-4,
    donor_seconds=5e-4,
    finish_seconds=0.25,
    explain_forwards=100.0,
    bytes_per_row=500.0,
    process_mb=900.0,
)


def settings(forwards=None, minutes=None, **given):
    cost = CostConfig(max_forward_equivalents=forwards, max_minutes=minutes)
    return ExplainConfig(**{"max_examples": 10_000, "cost": cost} | given)


def of_rows(lowered):
    return lowered.max_examples, lowered.permutation_importance.repeats


def test_forward_equivalents_are_those_of_rows_items_and_repeats():
    assert forecast(PILOT, settings(), False).forward_equivalents == 10_000 * (100 + 4 * 10)
    assert forecast(PILOT, settings(), True).forward_equivalents == 2 * 10_000 * (100 + 4 * 10)
    assert forecast(PILOT, settings(slices={"min_rows_per_slice": 0}), True).rows == 10_000
    few = dataclasses.replace(PILOT, rows_read=600)
    assert forecast(few, settings(), True).forward_equivalents == 600 * 140
    # A second model is explained, but not permuted.
    assert forecast(PILOT, settings(paired=True), False).forward_equivalents == 10_000 * (200 + 40)


def test_minutes_are_shared_by_workers_but_for_what_each_job_takes():
    one = forecast(PILOT, settings(), False).minutes * 60
    four = forecast(PILOT, settings(cost=CostConfig(workers=4)), False).minutes * 60
    work = 50_000 * 1e-4 + 10_000 * (3e-4 + 3e-3 + 5e-4 + 40 * 1e-4) + 3 * 0.05 + 4 * 0.25
    assert one - four == pytest.approx(0.75 * work, rel=1e-9)
    assert one - work == pytest.approx(four - work / 4, rel=1e-9)
    assert one - work > 9.0


def test_without_repeats_nothing_is_permuted():
    none = settings(permutation_importance={"repeats": 0})
    seconds = 60 * (forecast(PILOT, settings(), False).minutes - forecast(PILOT, none, False).minutes)
    assert seconds == pytest.approx(10_000 * (5e-4 + 40 * 1e-4) + 4 * 0.25, rel=1e-9)


@pytest.mark.parametrize("limit", [None, 1e9, 10_000 * 140])
def test_what_fits_stays(limit):
    given = settings(limit)
    assert within_limits(PILOT, given, False) == (given, None)


@pytest.mark.parametrize(
    ("limit", "rows", "repeats"),
    [
        (10_000 * 140 - 1, 10_000, 9),
        (10_000 * 128, 10_000, 7),
        (10_000 * 112, 10_000, 3),
        (10_000 * 112 - 1, 9_999, 3),
        (5_000 * 112, 5_000, 3),
        (1_000 * 112, 1_000, 3),
        (1_000 * 112 - 1, 1_000, 0),
        (1_000 * 100, 1_000, 0),
    ],
)
def test_repeats_go_first_then_rows_then_all_repeats(limit, rows, repeats):
    given = settings(limit)
    lowered, sentence = within_limits(PILOT, given, False)
    assert of_rows(lowered) == (rows, repeats)
    assert forecast(PILOT, lowered, False).forward_equivalents <= limit
    told = [f"repeats of permutation importance from 10 to {repeats}"]
    if rows < 10_000:
        told.insert(0, f"max_examples from 10000 to {rows}")
    assert sentence == f"To keep the cost's limit, lowered {' and '.join(told)}."
    # Nothing else is touched.
    importance = given.permutation_importance.model_copy(update={"repeats": repeats})
    assert lowered == given.model_copy(update={"max_examples": rows, "permutation_importance": importance})


def test_evidence_is_never_lowered_below_its_floor():
    lowered, sentence = within_limits(PILOT, settings(10.0), False)
    assert of_rows(lowered) == (1_000, 0)
    assert sentence.endswith("still above the limit, and fewer than 1000 rows would be too little evidence.")
    # What was below the floors already is not raised to them.
    lowered, _ = within_limits(
        PILOT, settings(400 * 108, max_examples=400, permutation_importance={"repeats": 2}), False
    )
    assert of_rows(lowered) == (400, 2)
    lowered, sentence = within_limits(
        PILOT, settings(10.0, max_examples=400, permutation_importance={"repeats": 0}), False
    )
    assert of_rows(lowered) == (400, 0)
    assert sentence.startswith("Nothing could be lowered; the forecast is still above the limit, and fewer than 400")


def test_slices_that_bring_more_rows_count():
    assert of_rows(within_limits(PILOT, settings(10_000 * 112), False)[0]) == (10_000, 3)
    assert of_rows(within_limits(PILOT, settings(10_000 * 112), True)[0]) == (5_000, 3)


def test_minutes_are_a_limit_too():
    fixed = forecast(PILOT, settings(), False).minutes - 10_000 * 40e-4 / 60
    lowered, _ = within_limits(PILOT, settings(minutes=fixed + 10_000 * 5.5 * 4e-4 / 60), False)
    assert of_rows(lowered) == (10_000, 5)
    # The stricter of both limits counts.
    both = settings(10_000 * 116, minutes=fixed + 10_000 * 5.5 * 4e-4 / 60)
    assert of_rows(within_limits(PILOT, both, False)[0]) == (10_000, 4)


def test_the_report_says_by_how_much_the_forecast_was_off():
    expected = forecast(PILOT, settings(), False)
    told = report(expected, "a sentence", 2 * expected.forward_equivalents, 60 * expected.minutes / 4)
    assert told["off"]["forward_equivalents"] == pytest.approx(-0.5)
    assert told["off"]["minutes"] == pytest.approx(3.0, abs=0.01)
    assert told["lowered"] == "a sentence"
    assert told["spent"]["forward_equivalents"] == 2 * expected.forward_equivalents
    assert told["forecast"]["rows"] == 10_000
    bare = report(None, None, 5.0, 1.0)
    assert bare["forecast"] is None and "off" not in bare


def test_a_job_keeps_its_limit_and_spends_what_was_forecast(tmp_path, caplog):
    """640 rows in ten batches; a slice that only the second of them shows."""
    rng = np.random.default_rng(1)
    rows = [
        {n: [float(v)] for n, v in zip(NAMES, rng.normal(size=3), strict=True)}
        | {"y": [int(rng.random() < 0.5)], "city": ["late" if i > 100 else "early"]}
        for i in range(640)
    ]
    per_row = 3 * 4 + 1  # gradients at four nodes, and the prediction
    limit = 640 * (per_row + 0.1 + 3 * 6)
    given = config(
        label=Label(key="y"),
        batch_size=64,
        slices={"specs": [{"feature_values": {"city": "late"}}]},
        permutation_importance={"repeats": 9},
        cost=CostConfig(max_forward_equivalents=limit),
        write_rows=False,
    )
    model = planted(tmp_path / "model", sigmoid=True)
    caplog.set_level(logging.INFO, "absl")
    summary = explain(tmp_path / "out", model, write_examples(tmp_path / "examples", rows), given)
    said = [(r.levelno, r.getMessage()) for r in caplog.records if r.name == "absl"]
    assert any(level == logging.INFO and line.startswith("ExplainerGen: forecast: at most 6") for level, line in said)
    assert (logging.WARNING, f"ExplainerGen: {summary['lowered']}") in said
    assert summary["lowered"] == "To keep the cost's limit, lowered repeats of permutation importance from 9 to 6."
    assert summary["permutation_importance"]["repeats"] == 6
    assert [s["name"] for s in summary["slices"]] == ['city="late"']
    assert "cost.json" in read_manifest(str(tmp_path / "out"), "ModelAttributions").sha256
    cost = json.loads((tmp_path / "out" / "cost.json").read_text())
    assert cost["lowered"] == summary["lowered"]
    assert cost["spent"]["forward_equivalents"] == 640 * per_row + 10 + 640 * 3 * 6 <= limit
    assert abs(cost["off"]["forward_equivalents"]) < 0.1
    assert cost["forecast"]["rows"] == pytest.approx(640, rel=0.02)  # by the files' size
    used = ExplainConfig.from_json((tmp_path / "out" / "explain_config.json").read_text())
    assert of_rows(used) == (10_000, 6)
