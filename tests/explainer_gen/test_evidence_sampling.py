"""Which rows are explained and what they weigh: rare slices, equal rows, example weights and clusters."""

import json

import numpy as np
import pytest
from tests.explainer_gen.evidence_data import (
    NAMES,
    WEIGHTS,
    config,
    explain,
    in_slice,
    planted,
    row_table,
    statistics,
    table,
    write_examples,
)

from tfx_explain.config import Label
from tfx_explain.engine.aggregates.intervals import bucket_draws, drawn, measure_columns
from tfx_explain.engine.aggregates.statistics import STATISTICS
from tfx_explain.engine.feature_graph import PermutationModel
from tfx_explain.engine.feature_graph.errors import SelfCheckError

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("model") / "model", sigmoid=True)


def numbers(values):
    return {n: [float(v)] for n, v in zip(NAMES, values, strict=True)}


def test_a_rare_required_slice_gets_all_its_rows_and_the_sample_stands_for_the_whole(model, tmp_path):
    """0.1 % of 20,000 rows; where it is not required, such a slice gets what does not double the sample."""
    rng = np.random.default_rng(3)
    group = np.array(["rare"] * 20 + ["spare"] * 20 + ["big"] * 1000 + [f"g{i % 95}" for i in range(18_960)])
    x = rng.normal(size=(len(group), 3)).astype(np.float32)
    x[group == "big", 0] += 3
    rows = [numbers(v) | {"g": [str(g)]} for v, g in zip(x, group, strict=True)]
    chosen = config(
        max_examples=500,
        slices={"specs": [{"feature_keys": ["g"]}, {"feature_keys": ["gg"]}, {"feature_values": {"gg": "rare"}}]},
        required_slices=[{"feature_values": {"g": name}} for name in ("rare", "big", "nobody")],
        permutation_importance={"repeats": 1},
    )
    summary = explain(tmp_path / "out", model, write_examples(tmp_path / "examples", rows), chosen)
    sample, found = row_table(tmp_path / "out"), statistics(tmp_path / "out")
    taken = {name: in_slice(sample, f'g="{name}"').sum() for name in ("rare", "spare", "big")}
    assert taken["rare"] == 20
    assert 500 <= taken["big"] < 560
    slicing = summary["slicing"]
    assert slicing["rows_per_slice"] <= taken["spare"] < 20
    assert 2 <= slicing["rows_per_slice"] < 20
    unmet = [note for note in summary["notes"] if "slicing specs" in note]
    assert [note.split(":")[0] for note in unmet] == [f"no row belongs to a slice of {n}" for n in ("gg", "gg=rare")]
    assert (slicing["required"], slicing["missing"]) == (['g="big"', 'g="rare"'], ["g=nobody"])
    assert (sample["weight"][in_slice(sample, 'g="rare"')] == 1).all()
    assert summary["examples"]["rows"] == 20_000 and len(sample) < 2000

    attributions = x.astype(float) * WEIGHTS
    inside = []
    for name, members in (("overall", np.ones(len(group), bool)), ('g="big"', group == "big")):
        own = attributions[members]
        absolute = np.abs(own).mean(0)
        for statistic, truth in {
            "mean": own.mean(0),
            "mean_absolute": absolute,
            "share": absolute / absolute.sum(),
        }.items():
            for feature, value in zip(NAMES, truth, strict=True):
                entry = found.loc[name, feature, statistic]
                half = (entry["high"] - entry["low"]) / 2
                assert abs(entry["value"] - value) < 2.5 * half, (name, feature, statistic)
                inside.append(entry["low"] <= value <= entry["high"])
    assert np.mean(inside) >= 0.7
    for feature, value in zip(NAMES, attributions[group == "rare"].mean(0), strict=True):
        assert found.loc['g="rare"', feature, "mean"]["value"] == pytest.approx(value, abs=1e-6)
    # The sample is no picture of the whole without its weights.
    assert sample["attribution_a"].mean() > found.loc["overall", "a", "mean"]["high"] + 0.3
    assert sample["weight"].sum() == pytest.approx(20_000, rel=0.1)
    assert summary["permutation_importance"]["absent"] == "the configuration names no label"


def test_a_row_read_k_times_is_a_row_of_weight_k(model, tmp_path):
    """All statistics but `direction`: its value bins are quantiles of the rows, whatever these weigh."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(300, 3)).astype(np.float32)
    rows, times = [], rng.integers(1, 5, 300)
    for i, (values, k) in enumerate(zip(x, times, strict=True)):
        rows.append(numbers(values) | {"k": [float(k)], "city": ["xyz"[i % 3]], "y": [int(rng.random() < 0.4)]})
    repeated = [row for row, k in zip(rows, times, strict=True) for _ in range(k)]
    bad = [("nan", float("nan")), ("negative", -1.0), ("infinite", float("inf")), ("missing", None)]
    # Without a weight of 0 or more a row fails; with 0 it is explained, and counts as a row.
    others = [numbers([5, 5, i]) | {"city": ["x"]} | ({} if k is None else {"k": [k]}) for i, (_, k) in enumerate(bad)]
    zeros = [numbers([7, 7, i]) | {"city": ["y"], "k": [0.0], "y": [1]} for i in range(5)]
    common = {"label": Label(key="y"), "slices": {"specs": [{"feature_keys": ["city"]}]}}
    one = explain(tmp_path / "a", model, write_examples(tmp_path / "examples-a", repeated), config(**common))
    weighted = [*rows, *others, *zeros]
    two = explain(
        tmp_path / "b",
        model,
        write_examples(tmp_path / "examples-b", weighted),
        config(**common, example_weight_key="k"),
    )
    assert one["examples"]["weight"] == two["examples"]["weight"] == times.sum()
    assert one["examples"]["failed_rows"] == 0
    assert two["examples"]["failed_rows"] == len(bad)
    assert two["examples"]["failure_reasons"] == {"the example weight is no number >= 0": len(bad)}
    # A failed row weighs what the others do on average, here by block.
    assert two["examples"]["failed_weight_fraction"] == pytest.approx(4 / (305 + 4), rel=0.2)
    assert (one["examples"]["explained_rows"], two["examples"]["explained_rows"]) == (300, 305)

    counted, weighed = statistics(tmp_path / "a"), statistics(tmp_path / "b")
    assert counted.index.equals(weighed.index)
    compared = [key for key in counted.index if key[2] != "direction"]
    assert {key[2] for key in compared} >= {*STATISTICS, "auc", "binary_crossentropy"} - {"direction"}
    assert {key[0] for key in compared} == {"overall", 'city="x"', 'city="y"', 'city="z"'}
    for column in ("value", "effective_n"):
        np.testing.assert_allclose(weighed.loc[compared, column], counted.loc[compared, column], atol=1e-9)
    added = {"overall": 5, 'city="y"': 5}
    assert all(weighed.loc[k, "n"] == counted.loc[k, "n"] + added.get(k[0], 0) for k in compared)
    # The same buckets hold the same sums.
    sums = [table(tmp_path / f, "bucket_statistics.parquet") for f in "ab"]
    for column in ("sum", "sum_absolute", "sum_squared", "sum_positive"):
        np.testing.assert_allclose(sums[1][column], sums[0][column], atol=1e-9)


def test_rows_of_a_cluster_stay_together(model, tmp_path):
    rng = np.random.default_rng(5)
    rows = []
    for user in range(150):
        level = rng.normal()
        for _ in range(20):
            rows.append(numbers([level + 0.1 * rng.normal(), *rng.normal(size=2)]) | {"u": [f"user{user}"]})
    alone = [numbers(rng.normal(size=3)) for _ in range(40)]
    chosen = config(cluster_key="u", keep_features=("u",), max_examples=2000, permutation_importance={"repeats": 0})
    summary = explain(tmp_path / "out", model, write_examples(tmp_path / "examples", [*rows, *alone]), chosen)
    assert json.loads((tmp_path / "out" / "pins.json").read_text())["settings"]["cluster_key"] == "u"
    sample = row_table(tmp_path / "out")
    clustered = sample[sample["feature_u"].notna()]
    by_user = clustered.groupby("feature_u")
    assert (by_user["bucket"].nunique() == 1).all()
    assert (by_user.size() == 20).all()
    assert 1980 < summary["examples"]["explained_rows"] <= 2000
    # A row without a cluster is one of its own: its bucket is its id's, as without cluster_key.
    of_id = np.array([int(i[:2], 16) >> 2 for i in sample["id"]])
    single = sample["feature_u"].isna().to_numpy()
    assert 10 < single.sum() < 40
    np.testing.assert_array_equal(sample["bucket"][single], of_id[single])
    assert (sample["bucket"] != of_id)[~single].mean() > 0.9

    # Rows of a user share a: with rows as the unit, the interval of its mean would be far too narrow. Of b it is right.
    found = statistics(tmp_path / "out")
    draws = bucket_draws(0)
    for feature, wider in (("a", (3, 7)), ("b", (0.6, 1.5))):
        sums = np.bincount(of_id, weights=sample["weight"] * sample[f"attribution_{feature}"], minlength=64)
        weight = np.bincount(of_id, weights=sample["weight"], minlength=64)
        _, low, high = measure_columns(drawn(draws, sums) / drawn(draws, weight))
        entry = found.loc["overall", feature, "mean"]
        assert wider[0] < (entry["high"] - entry["low"]) / (high - low) < wider[1]


@pytest.mark.parametrize(("equal", "seed"), [(False, 0), (True, 2)])
def test_rows_that_are_never_taken_are_counted(model, tmp_path, equal, seed):
    """Of a user, or a row, that holds more than the sample can, nothing is seen: no weight makes up for it."""
    rng = np.random.default_rng(6)
    rows = [numbers(rng.normal(size=3)) | {"u": [f"user{i % 300}"]} for i in range(3000)]
    copies = [numbers([0.1, 0.2, 0.3] if equal else rng.normal(size=3)) | {"u": ["unknown"]} for _ in range(2000)]
    path = write_examples(tmp_path / "examples", [*rows, *copies])
    small = config(
        cluster_key=None if equal else "u", max_examples=1500, seed=seed, permutation_importance={"repeats": 0}
    )
    seen = explain(tmp_path / "small", model, path, small)["examples"]["stands_for"]
    assert seen["high"] < 0.8
    whole = small.model_copy(update={"max_examples": 5000})
    seen = explain(tmp_path / "whole", model, path, whole)["examples"]["stands_for"]
    assert seen["value"] == 1.0 and seen["low"] <= 1.0 <= seen["high"]
    plain = write_examples(tmp_path / "plain", rows)
    seen = explain(tmp_path / "without", model, plain, small)["examples"]["stands_for"]
    assert 0.8 < seen["low"] <= seen["high"] < 1.2


def test_a_model_that_takes_no_values_of_other_rows_keeps_its_attributions(model, tmp_path, monkeypatch):
    def refuse(_):
        raise SelfCheckError("the parts differ")

    monkeypatch.setattr(PermutationModel, "of", refuse)
    x = np.random.default_rng(5).normal(size=(300, 3))
    rows = write_examples(tmp_path / "rows", [numbers(values) | {"y": [i % 2]} for i, values in enumerate(x)])
    asked = config(label=Label(key="y"), permutation_importance={"repeats": 1})
    summary = explain(tmp_path / "out", model, rows, asked)
    assert (summary["status"], summary["examples"]["explained_rows"]) == ("explained", 300)
    assert summary["permutation_importance"]["absent"].endswith("takes no values of other rows: the parts differ")
