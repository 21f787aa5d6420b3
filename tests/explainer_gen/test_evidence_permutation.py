"""Permutation importance of a planted regression: closed form, brute force, both plans, strata, and no labels."""

import json
import logging

import numpy as np
import pytest
from tests.explainer_gen.evidence_data import (
    NAMES,
    WEIGHTS,
    Permuted,
    config,
    digests,
    explain,
    planted,
    statistics,
    write_examples,
)

from tfx_explain.config import Label

pytestmark = pytest.mark.pipeline

REPEATS = 2
ROWS = 10_000
TABLES = ("slice_statistics.parquet", "bucket_statistics.parquet", "dependence_curves.parquet", "slices.parquet")
STRATA = {"repeats": REPEATS, "scheme": "within_strata", "strata": ("city",)}


def settings(**permutation):
    return config(
        label=Label(key="y"),
        batch_size=1024,
        feature_groups={"both": ("a", "b")},
        permutation_importance={"repeats": REPEATS} | permutation,
        write_rows=False,
    )


def examples_of(x, noise=0.5, city=None):
    """Rows whose label is the model's score with noise; a and b are correlated where x says so."""
    y = x @ np.array(WEIGHTS) + noise * np.random.default_rng(1).normal(size=len(x))
    rows = []
    for i, values in enumerate(x):
        row = {n: [float(v)] for n, v in zip(NAMES, values, strict=True)} | {"y": [float(np.float32(y[i]))]}
        rows.append(row if city is None else row | {"city": [f"c{city[i]}"]})
    return rows


def normal(rows):
    """float32 [rows, 3]; the standard deviations are 1, 2 and 0.5."""
    return (np.random.default_rng(5).normal(size=(rows, 3)) * np.array([1, 2, 0.5])).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("model") / "model", sigmoid=False)


@pytest.fixture(scope="module")
def plain(model, tmp_path_factory):
    """(artifact, summary, rows, examples) of the plan with a side input."""
    folder = tmp_path_factory.mktemp("plain")
    rows = examples_of(normal(ROWS))
    examples = write_examples(folder / "examples", rows)
    return folder / "out", explain(folder / "out", model, examples, settings()), rows, examples


def brute(permuted, item, features, repeats=REPEATS):
    """(drop, ratio, standard deviation over the repeats) of the mean squared error."""
    base, after, weight = permuted.scores(item, features, repeats)
    before, moved = ((s - permuted.label) ** 2 for s in (base, after))
    drops = (weight * (moved - before)).sum(1) / weight.sum(1)
    drop = (weight * (moved - before)).sum() / weight.sum()
    return drop, (weight * moved).sum() / (weight * before).sum(), drops.std()


def drops_of(folder):
    return statistics(folder).loc["overall"].xs("permutation_mean_squared_error_drop", level="statistic")


def test_importance_is_that_of_spliced_examples_and_the_closed_form_lies_in_its_interval(model, plain):
    permuted = Permuted(model, plain[2], "y", None)
    found = statistics(plain[0]).loc["overall"]
    variance = np.array([1, 4, 0.25])
    # Replacing x by an independent draw x' adds beta (x' - x) to the error: 2 beta^2 Var(x) in the mean.
    expected = dict(zip(NAMES, 2 * np.array(WEIGHTS) ** 2 * variance, strict=True))
    expected["both"] = expected["a"] + expected["b"]
    for item, features in (*((n, (n,)) for n in NAMES), ("both", ("a", "b"))):
        drop, ratio, deviation = brute(permuted, item, features)
        entry = found.loc[item, "permutation_mean_squared_error_drop"]
        assert entry["value"] == pytest.approx(drop, rel=2e-6)
        assert found.loc[item, "permutation_mean_squared_error_ratio"]["value"] == pytest.approx(ratio, rel=2e-6)
        assert found.loc[item, "permutation_mean_squared_error_std"]["value"] == pytest.approx(deviation, abs=1e-5)
        assert entry["low"] < expected[item] < entry["high"]
        assert entry["high"] - entry["low"] < 0.2 * expected[item]
        assert entry["n"] == ROWS


def test_both_plans_give_the_same_bytes(model, plain, tmp_path):
    summary = explain(tmp_path / "out", model, plain[3], settings(max_side_input_bytes=0))
    donors_from = [json.loads((f / "cost.json").read_text())["donors_from"] for f in (plain[0], tmp_path / "out")]
    assert donors_from == ["side_input", "blocks"]
    one, other = digests(plain[0]), digests(tmp_path / "out")
    assert {n: d for n, d in one.items() if n in TABLES} == {n: d for n, d in other.items() if n in TABLES}
    differ = {name for name in one if one[name] != other[name]}
    assert differ <= {"explain_config.json", "summary.json", "report.html"}
    assert summary["permutation_importance"] == plain[1]["permutation_importance"]


def test_within_strata_a_feature_keeps_what_the_stratum_tells(model, tmp_path):
    rng = np.random.default_rng(11)
    city = rng.integers(0, 4, 1500)
    x = normal(1500)
    x[:, 0] += 3 * city  # most of a's variance lies between cities
    city[:2] = (77, 78)  # two rows alone in theirs
    rows = examples_of(x, city=city)
    summary = explain(
        tmp_path / "out",
        model,
        write_examples(tmp_path / "examples", rows),
        settings(**STRATA, max_side_input_bytes=0),
    )
    entry = summary["permutation_importance"]
    assert (entry["scheme"], entry["strata"]) == ("within_strata", ["city"])
    assert entry["rows_alone_in_their_stratum"] == 2
    drops = drops_of(tmp_path / "out")
    within = Permuted(model, rows, "y", None, strata="city")
    for item, features in (*((n, (n,)) for n in NAMES), ("both", ("a", "b"))):
        drop = drops.loc[item]["value"]
        # Which stratum is first does not matter: offsets depend on its size alone.
        assert drop == pytest.approx(brute(within, item, features)[0], rel=2e-6)
    beta = WEIGHTS[0]
    assert drops.loc["a"]["low"] < 2 * beta**2 * 1 < drops.loc["a"]["high"]
    marginal = brute(Permuted(model, rows, "y", None), "a", ("a",))[0]
    assert marginal > 5 * drops.loc["a"]["value"]


@pytest.mark.parametrize(
    ("label", "repeats", "reason"),
    [
        ("y", 3, "no explained row has a label that fits the model's output"),
        ("b", 0, "the configuration asks for 0 repeats"),
    ],
)
def test_without_labels_or_repeats_the_gradients_stay_and_the_reason_is_given(
    model, tmp_path, caplog, label, repeats, reason
):
    rows = [{n: row[n] for n in NAMES} for row in examples_of(normal(300))]
    chosen = config(label=Label(key=label), permutation_importance={"repeats": repeats})
    summary = explain(tmp_path / "out", model, write_examples(tmp_path / "examples", rows), chosen)
    entry = summary["permutation_importance"]
    assert (entry["absent"], entry["features"]) == (reason, [])
    warnings = [r.getMessage() for r in caplog.records if r.name == "absl" and r.levelno == logging.WARNING]
    assert warnings == ([f"ExplainerGen: no permutation importance: {reason}"] if repeats else [])
    assert summary["status"] == "explained" and len(summary["features"]) == 3
    found = statistics(tmp_path / "out")
    assert not any(s.startswith("permutation") for _, _, s in found.index)
    mean = np.abs(np.array([[row[n][0] for n in NAMES] for row in rows]) * WEIGHTS).mean(0)
    for feature, value in zip(NAMES, mean, strict=True):
        assert found.loc["overall", feature, "mean_absolute"]["value"] == pytest.approx(value, rel=1e-6)
    if label == "b":
        assert summary["metrics"]["mean_squared_error"]["value"] > 0
    else:
        assert summary["metrics"] == {} and summary["metrics_absent"] == reason


def test_labels_that_some_block_cannot_read_leave_nothing_half_measured(model, tmp_path):
    """Blocks of two rows: where both labels are text the label is refused, and no other block's numbers are shown."""
    rows = [
        {n: row[n] for n in NAMES} | {"y": ["text"] if i % 2 else row["y"]}
        for i, row in enumerate(examples_of(normal(24)))
    ]
    chosen = config(label=Label(key="y"), batch_size=2, permutation_importance={"repeats": 1})
    summary = explain(tmp_path / "out", model, write_examples(tmp_path / "examples", rows), chosen)
    reason = "label 'y' must be a number. Received: strings; class_names gives them numbers"
    assert summary["metrics"] == {} and summary["metrics_absent"] == reason
    entry = summary["permutation_importance"]
    assert (entry["absent"], entry["features"]) == (reason, [])
    assert not any(s.startswith("permutation") for _, _, s in statistics(tmp_path / "out").index)
    assert len(summary["features"]) == 3
