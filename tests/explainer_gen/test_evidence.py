"""Slices, metrics, kept columns and permutations of one job, against brute force over its rows."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow_model_analysis as tfma
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from tests.explainer_gen.evidence_data import (
    NAMES,
    WEIGHTS,
    Permuted,
    config,
    digests,
    explain,
    in_slice,
    planted,
    row_table,
    statistics,
    table,
    write_examples,
)

from tfx_explain.artifacts.manifest import read_manifest
from tfx_explain.config import Label
from tfx_explain.engine.aggregates.buckets import score_bins

pytestmark = pytest.mark.pipeline

PAGE = Path(__file__).resolve().parents[2] / "docs" / "artifact.md"
REPEATS = 2
GROUP = ("a", "b")
KEPT = ("y", "w", "city", "hour", "tags", "opt", *NAMES)
CONFIG = config(
    label=Label(key="y"),
    example_weight_key="w",
    slices={
        "specs": [
            {"feature_keys": ["city"]},
            {"feature_keys": ["hour"], "feature_values": {"city": "aa"}},
            {"feature_values": {"hour": 1}},
            {"feature_keys": ["band"]},
            {"feature_keys": ["city", "hour"]},
        ],
    },
    required_slices=[{"feature_values": {"city": "r1"}}],
    feature_groups={"both": GROUP},
    permutation_importance={"repeats": REPEATS, "max_slices": 3},
    keep_features=KEPT,
)


def make_rows(count=1200):
    """Rare cities, rows without a label, repeated rows, lists, and features that most rows lack."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(count, 3)).astype(np.float32)
    x[100:104, 0] = (5.25, 5.5, -5.5, -5.75)  # bands of their own
    label = rng.random(count) < 1 / (1 + np.exp(-x @ np.array(WEIGHTS)))
    rows = []
    for i in range(count):
        row = {n: [float(v)] for n, v in zip(NAMES, x[i], strict=True)}
        row["city"] = [("aa", "bb", "cc")[i % 3] if i >= 30 else f"r{i % 7}"]
        row["hour"] = [int(rng.integers(0, 4))]
        row["w"] = [float(np.float32(rng.uniform(0.5, 2)))]
        if i % 20:
            row["y"] = [int(label[i])]
        if i % 5:
            row["tags"] = [f"t{t}" for t in range(i % 4)]
        if i % 3 == 0:
            row["opt"] = [float(i)]
        rows.append(row)
    return rows + rows[:40] + rows[600:610]


ROWS = make_rows()


@pytest.fixture(scope="module")
def main(tmp_path_factory):
    """(artifact, summary, the model, the examples) of one worker."""
    folder = tmp_path_factory.mktemp("evidence")
    model = planted(folder / "model", sigmoid=True)
    examples = write_examples(folder / "examples", ROWS)
    summary = explain(folder / "out", model, examples, CONFIG)
    return folder / "out", summary, model, examples


@pytest.fixture(scope="module")
def rows(main):
    return row_table(main[0])


def expected_members(rows):
    """{slice's name: bool [rows]} by the rows' own values, the small ones in their remainders."""
    city, hour = rows["feature_city"].str.decode("utf-8"), rows["feature_hour"]
    band = np.floor(rows["feature_a"]).astype(int)
    found = {}
    for c in city.unique():
        found["city", f'city="{c}"'] = city == c
        for h in hour.unique():
            found["city, hour", f'city="{c}", hour={h}'] = (city == c) & (hour == h)
    found["hour", "hour=1"] = hour == 1
    for b in band.unique():
        found["band", f"band={b}"] = band == b
    out, small = {"overall": np.ones(len(rows), bool)}, {}
    for (columns, name), members in found.items():
        read = rows["count"][members].sum()
        if read >= 10 or name == 'city="r1"':
            out[name] = members.to_numpy()
        elif read:
            small.setdefault(columns, []).append(members.to_numpy())
    for columns, parts in small.items():
        out[f"remainder of {columns} ({len(parts)} small slices)"] = np.any(parts, axis=0)
    return out


def test_every_row_is_in_the_slices_of_its_values_and_the_small_ones_are_counted(main, rows):
    expected = expected_members(rows)
    remainders = [name for name in expected if name.startswith("remainder")]
    assert {name.split(" (")[0] for name in remainders} == {
        "remainder of city",
        "remainder of city, hour",
        "remainder of band",
    }
    for name, members in expected.items():
        np.testing.assert_array_equal(in_slice(rows, name), members, err_msg=name)
    slices = table(main[0], "slices.parquet").set_index("slice")
    assert set(slices.index) == set(expected)
    for name, members in expected.items():
        assert slices["rows"][name] == members.sum()
        assert slices["rows_read"][name] == rows["count"][members].sum()
        key = slices["key"][name]
        assert (key is None) == (name in remainders)
    assert json.loads(slices["key"]['city="aa", hour=1']) == [["city", "aa"], ["hour", 1]]
    slicing = main[1]["slicing"]
    assert slicing["slices"] == len(expected) - 1 - len(remainders)
    assert set(slicing["small_slices"]) == set(remainders)
    assert (slicing["required"], slicing["missing"]) == (['city="r1"'], [])


def test_attributions_are_those_of_the_linear_model(rows):
    for feature, beta in zip(NAMES, WEIGHTS, strict=True):
        expected = beta * rows[f"feature_{feature}"].to_numpy(float)
        np.testing.assert_allclose(rows[f"attribution_{feature}"], expected, atol=2e-6)


def test_statistics_of_every_slice_are_those_of_its_rows(main, rows):
    found = statistics(main[0])
    columns = [f"attribution_{n}" for n in NAMES]
    for name in table(main[0], "slices.parquet")["slice"]:
        own = rows[in_slice(rows, name)]
        a, w = own[columns].to_numpy(np.float64), own["weight"].to_numpy()
        absolute = (w[:, None] * abs(a)).sum(0)
        mean = (w[:, None] * a).sum(0) / w.sum()
        per_row = abs(a) / abs(a).sum(1, keepdims=True)
        expected = {
            "mean": mean,
            "mean_absolute": absolute / w.sum(),
            "share": absolute / absolute.sum(),
            "row_share": (w[:, None] * per_row).sum(0) / w.sum(),
            "fraction_positive": (w[:, None] * (a > 0)).sum(0) / w.sum(),
            "standard_deviation": np.sqrt((w[:, None] * (a - mean) ** 2).sum(0) / w.sum()),
        }
        for statistic, values in expected.items():
            for feature, value in zip(NAMES, values, strict=True):
                entry = found.loc[name, feature, statistic]
                assert entry["value"] == pytest.approx(value, abs=1e-9), (name, feature, statistic)
                assert entry["n"] == len(own)
                assert entry["effective_n"] == pytest.approx(w.sum() ** 2 / (w**2).sum(), rel=1e-9)
                assert not entry["low"] > entry["value"] and not entry["high"] < entry["value"]
        joint = (w * abs(a[:, 0] + a[:, 1])).sum() / absolute.sum()
        assert found.loc[name, "both", "group_share"]["value"] == pytest.approx(joint, abs=1e-9)


def test_slices_that_share_no_row_add_up_to_the_overall_one(main):
    slices = table(main[0], "slices.parquet").set_index("slice")
    found = statistics(main[0])["value"]
    names = [n for n in slices.index if n.startswith(('city="', "remainder of city (")) and ", hour" not in n]
    assert len(names) >= 5
    assert slices["rows"][names].sum() == slices["rows"]["overall"]
    assert slices["rows_read"][names].sum() == slices["rows_read"]["overall"] == len(ROWS)
    weight = slices["weight"]
    assert weight[names].sum() == pytest.approx(weight["overall"], rel=1e-12)
    for feature in NAMES:
        for statistic in ("mean", "mean_absolute", "fraction_positive"):
            parts = sum(weight[n] * found[n, feature, statistic] for n in names)
            assert parts / weight["overall"] == pytest.approx(found["overall", feature, statistic], abs=1e-9)


def test_metrics_of_every_slice_are_scikit_learns(main, rows):
    found = statistics(main[0])["value"]
    checked = 0
    for name in table(main[0], "slices.parquet")["slice"]:
        own = rows[in_slice(rows, name) & rows["feature_y"].notna()]
        y, w, logit = own["feature_y"].to_numpy(int), own["weight"].to_numpy(), own["prediction"].to_numpy()
        assert found[name, "", "label_mean"] == pytest.approx((w * y).sum() / w.sum(), abs=1e-9)
        expected = log_loss(y, 1 / (1 + np.exp(-logit)), sample_weight=w, labels=[0, 1])
        assert found[name, "", "binary_crossentropy"] == pytest.approx(expected, abs=1e-6)
        expected = accuracy_score(y, logit > 0, sample_weight=w)
        assert found[name, "", "binary_accuracy"] == pytest.approx(expected, abs=1e-9)
        if 0 < y.mean() < 1:
            # Exactly that of scores that are tied within a histogram bin, which is all but that of the scores.
            binned = roc_auc_score(y, score_bins(logit), sample_weight=w)
            assert found[name, "", "auc"] == pytest.approx(binned, abs=1e-9)
            assert binned == pytest.approx(roc_auc_score(y, logit, sample_weight=w), abs=2e-3)
            checked += 1
        else:
            assert np.isnan(found[name, "", "auc"])
    assert checked > 10
    assert main[1]["metrics"]["auc"]["value"] == pytest.approx(found["overall", "", "auc"], rel=1e-5)


def test_kept_features_stand_beside_their_rows(main, rows):
    content = read_manifest(str(main[0]), "ModelAttributions").content
    assert content["kept_columns"] == {name: f"feature_{name}" for name in KEPT}
    by_values = {(row["a"][0], row["b"][0], row["c"][0]): row for row in ROWS}
    assert len(rows) == len(by_values) == 1200
    for row in rows.to_dict("records"):
        given = by_values[tuple(float(row[f"feature_{n}"]) for n in NAMES)]
        assert row["feature_city"] == given["city"][0].encode()
        assert row["feature_hour"] == given["hour"][0]
        assert row["feature_w"] == given["w"][0]
        assert [t.decode() for t in row["feature_tags"]] == given.get("tags", [])
        assert (row["feature_opt"] if "opt" in given else np.isnan(row["feature_opt"])) == given.get("opt", [True])[0]
        assert (row["feature_y"] if "y" in given else np.isnan(row["feature_y"])) == given.get("y", [True])[0]
        assert row["weight"] == row["count"] * given["w"][0]


def test_permutation_importance_of_slices_is_that_of_spliced_examples(main, rows):
    brute = Permuted(main[2], ROWS, "y", "w")
    found = statistics(main[0])["value"]
    permuted_slices = sorted({s for s, _, statistic in found.index if statistic == "permutation_auc_drop"})
    largest = table(main[0], "slices.parquet").sort_values("rows_read", ascending=False)["slice"]
    largest = [n for n in largest if not n.startswith("remainder") and n != "overall"]
    assert permuted_slices == sorted(["overall", 'city="r1"', *largest[:3]])
    members = {name: set(rows["id"][in_slice(rows, name)]) for name in permuted_slices}

    for item, features in (*((n, (n,)) for n in NAMES), ("both", GROUP)):
        base, permuted, weight = brute.scores(item, features, REPEATS)
        for name in permuted_slices:
            own = np.array([i in members[name] for i in brute.ids])
            y, w = np.tile(brute.label[own], (REPEATS, 1)), weight[:, own]
            before, after = np.tile(base[own], (REPEATS, 1)), permuted[:, own]

            def drop(metric, y=y, w=w, before=before, after=after):
                return [metric(y[r], after[r], w[r]) - metric(y[r], before[r], w[r]) for r in range(REPEATS)]

            def entropy(y, p, w):
                return log_loss(y, p, sample_weight=w, labels=[0, 1])

            # Over all pairs together: repeats weigh as their pairs do.
            losses = [entropy(y.ravel(), p.ravel(), w.ravel()) for p in (before, after)]
            prefix = "permutation_binary_crossentropy"
            assert found[name, item, f"{prefix}_drop"] == pytest.approx(losses[1] - losses[0], abs=2e-6)
            assert found[name, item, f"{prefix}_ratio"] == pytest.approx(losses[1] / losses[0], abs=1e-5)
            assert found[name, item, f"{prefix}_std"] == pytest.approx(np.std(drop(entropy)), abs=2e-6)
            right = [accuracy_score(y.ravel(), p.ravel() > 0.5, sample_weight=w.ravel()) for p in (before, after)]
            assert found[name, item, "permutation_binary_accuracy_drop"] == pytest.approx(right[0] - right[1], abs=1e-6)
            areas = [roc_auc_score(y.ravel(), p.ravel(), sample_weight=w.ravel()) for p in (before, after)]
            if own.sum() > 50:  # scores between two edges are shared among both, which a few rows feel
                assert found[name, item, "permutation_auc_drop"] == pytest.approx(areas[0] - areas[1], abs=2e-3)
    assert found["overall", "a", "permutation_auc_drop"] > 0.1
    together, apart = (found["overall", i, "permutation_binary_crossentropy_drop"] for i in ("both", "a"))
    assert together > apart + 0.05


def test_the_summary_says_how_permutations_were_made(main):
    entry = main[1]["permutation_importance"]
    labelled = {json.dumps(row) for row in ROWS if "y" in row}
    assert (entry["absent"], entry["scheme"], entry["repeats"], entry["rows"]) == (
        None,
        "marginal",
        REPEATS,
        len(labelled),
    )
    assert [f["name"] for f in entry["features"]] == [*NAMES, "both"]
    found = statistics(main[0]).loc["overall", "a", "permutation_auc_drop"]
    drop = entry["features"][0]["metrics"]["auc"]["drop"]
    assert [drop[k] for k in ("value", "low", "high")] == pytest.approx(list(found[["value", "low", "high"]]), rel=1e-5)
    assert drop["low"] < drop["value"] < drop["high"]


def test_slices_profit_in_the_order_of_their_losses(main):
    found = statistics(main[0])["value"].xs("permutation_binary_crossentropy_drop", level="statistic")
    profiting = main[1]["profiting_slices"]
    leading = sorted(found["overall"].items(), key=lambda item: -item[1])
    assert [p["feature"] for p in profiting[:: len(profiting) // 3]] == [item for item, _ in leading][:3]
    for entry in profiting:
        assert entry["drop"]["value"] == pytest.approx(found[entry["slice"], entry["feature"]], rel=1e-5)
        assert entry["overall_drop"]["value"] == pytest.approx(found["overall", entry["feature"]], rel=1e-5)
    first = [p["drop"]["value"] for p in profiting if p["feature"] == leading[0][0]]
    assert len(first) == 4 and first == sorted(first, reverse=True)


def test_curves_and_groups_add_up_to_their_slices(main, rows):
    curves = table(main[0], "dependence_curves.parquet")
    found, slices = statistics(main[0])["value"], table(main[0], "slices.parquet").set_index("slice")
    assert set(curves["slice"]) == set(slices.index)
    for (name, feature), curve in curves.groupby(["slice", "feature"]):
        assert curve["n"].sum() == slices["rows"][name]
        assert curve["weight"].sum() == pytest.approx(slices["weight"][name], rel=1e-9)
        total = (curve["weight"] * curve["value"].fillna(0)).sum()
        assert total / slices["weight"][name] == pytest.approx(found[name, feature, "mean"], abs=1e-9)
    # The model is linear: the more of a feature, the more it adds, or for b the less.
    for feature, sign in zip(NAMES, np.sign(WEIGHTS), strict=True):
        own = curves[(curves["slice"] == "overall") & (curves["feature"] == feature) & (curves["n"] > 0)]
        assert (np.diff(own["value"]) * sign > 0).all() and len(own) == 10
        assert found["overall", feature, "direction"] == pytest.approx(sign, abs=1e-9)
    groups = table(main[0], "group_statistics.parquet")
    assert set(groups["slice"]) == {"overall", 'city="r1"'}
    for name in ("overall", 'city="r1"'):
        own = groups[(groups["slice"] == name) & (groups["group"] == "both")]
        mine = rows[in_slice(rows, name)]
        sums = (mine["weight"] * abs(mine["attribution_a"].astype(float) + mine["attribution_b"])).to_numpy()
        joint = np.bincount(mine["bucket"], weights=sums, minlength=64)
        np.testing.assert_allclose(own.sort_values("bucket")["sum_joint"], joint, atol=1e-9)
        assert all(list(members) == list(GROUP) for members in own["members"])


def test_tfma_loads_the_same_numbers(main):
    result = tfma.load_eval_result(str(main[0] / "tfma"))
    found, slices = statistics(main[0]), table(main[0], "slices.parquet").set_index("slice")
    keys = {tuple(tuple(pair) for pair in json.loads(k)): n for n, k in slices["key"].items() if k is not None}
    loaded = dict(result.slicing_metrics)
    assert set(loaded) == set(keys) == {key for key, _ in result.attributions}
    for key, name in keys.items():
        metrics = result.get_metrics_for_slice(key)
        assert metrics["example_count"]["doubleValue"] == slices["rows"][name]
        assert metrics["weighted_example_count"]["doubleValue"] == pytest.approx(slices["weight"][name], rel=1e-6)
        for metric in ("auc", "binary_crossentropy", "binary_accuracy", "label_mean"):
            same(metrics.get(metric), found.loc[name, "", metric])
        pairs = {"mean_attributions": "mean", "mean_absolute_attributions": "mean_absolute"}
        for ours, theirs in {**{v: k for k, v in pairs.items()}, "share": "attribution_share"}.items():
            values = result.get_attributions_for_slice(key, metric_name=theirs)
            assert set(values) == set(NAMES)
            for feature in NAMES:
                same(values[feature], found.loc[name, feature, ours])
    drops = result.get_attributions_for_slice((), metric_name="permutation_auc_drop")
    assert set(drops) == {*NAMES, "both"}
    same(drops["both"], found.loc["overall", "both", "permutation_auc_drop"])


def same(loaded, entry):
    """TFMA's value is ours, and so is its interval where there is one; what is not known it does not have."""
    if np.isnan(entry["value"]):
        assert loaded is None
    elif np.isnan(entry["low"]):
        assert loaded["doubleValue"] == pytest.approx(entry["value"], rel=1e-6)
    else:
        bounds = [loaded["boundedValue"][k] for k in ("value", "lowerBound", "upperBound")]
        assert bounds == pytest.approx(list(entry[["value", "low", "high"]]), rel=1e-6)


def test_the_page_on_artifacts_names_every_file_column_and_key(main):
    """Named in code: what is added to an artifact is added to the page."""
    text = re.sub(r"```.*?```", "", PAGE.read_text(), flags=re.DOTALL)
    named = set(re.findall(r"`([^`]+)`", text))
    manifest = read_manifest(str(main[0]), "ModelAttributions")
    wanted = set()
    for path in manifest.sha256:
        if path.startswith("Split-"):
            wanted.add(re.sub(r"Split-\w+/(\w+)-\d+-of-\d+", r"Split-<split>/\1-*", path))
        elif path.startswith("tfma/"):
            wanted |= {"tfma/", re.sub(r"-\d+-of-\d+\.tfrecord", "-*", path.removeprefix("tfma/"))}
        else:
            wanted.add(path)
        if path.endswith(".parquet"):
            columns = pq.read_schema(main[0] / path).names
            wanted |= {re.sub("^(attribution|feature)_.*", r"\1_<feature>", column) for column in columns}
    wanted |= {*main[1]}.union(*(json.loads(manifest.read(f"{name}.json")) for name in ("cost", "examples", "pins")))
    assert "attribution_<feature>" in wanted and "slice_statistics.parquet" in wanted
    assert not wanted - named


def test_two_workers_and_small_batches_give_the_same_bytes(main, tmp_path):
    """Slow, since each worker process loads TensorFlow by itself."""
    explain(tmp_path / "out", main[2], main[3], CONFIG, workers=2, read_batch_size=7)
    assert digests(tmp_path / "out") == digests(main[0])
