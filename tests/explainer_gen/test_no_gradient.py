"""A forest of thresholds, argmax and the like: no attributions, everything else measured, and never a pass."""

import datetime
import json
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tests.explainer_gen.evidence_data import (
    NAMES,
    WEIGHTS,
    config,
    explain,
    planted,
    row_table,
    statistics,
    write_examples,
)
from tests.fixtures.exported_models.examples import serialise
from tests.report.page_reader import Page

from tfx_explain.artifacts.manifest import read_manifest
from tfx_explain.attribution_reference.store import Reference, read_reference, write_reference
from tfx_explain.attribution_validator.anomalies import write_anomalies
from tfx_explain.attribution_validator.evidence import changed_reference, judge_artifacts, read_candidate
from tfx_explain.config import Label, ValidationConfig
from tfx_explain.diagnosis.diagnose import Request, diagnose
from tfx_explain.explainer_gen.explain import ModelExplainer
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.labels import Source
from tfx_explain.report.attributions import render_attributions

pytestmark = pytest.mark.pipeline

TODAY = datetime.date(2030, 1, 1)
ROWS = 600
LENIENT = {
    "without_reference": {"absolute_checks_decide": {"until": "2031-01-01"}},
    "evidence": {"min_effective_rows": 100, "min_num_steps": 1},
    "checks": {"max_share": {"threshold": 1.0}},
}


def forest(path):
    """2 [a > 0] + [a > 0 and b > 0], looked up by the leaf's number: no gradient from anywhere; c is unused."""
    module = tf.Module()
    spec = {name: tf.io.FixedLenFeature([1], tf.float32) for name in NAMES}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        parsed = tf.io.parse_example(examples, spec)
        root = tf.greater(parsed["a"], 0.0, name="root")
        leaf = tf.greater(parsed["b"], 0.0, name="leaf")
        return {"outputs": tf.gather([0.0, 0.0, 2.0, 3.0], 2 * tf.cast(root, tf.int32) + tf.cast(leaf, tf.int32))}

    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    return str(path)


def truth(x):
    return 2.0 * (x[:, 0] > 0) + (x[:, 0] > 0) * (x[:, 1] > 0)


def settings(**more):
    given = {
        "label": Label(key="y"),
        "slices": {"specs": [{"feature_keys": ["city"]}]},
        "permutation_importance": {"repeats": 2},
        "feature_groups": {"both": ("a", "b")},
    }
    return config(**(given | more))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """(x [rows, 3], examples); the label is the forest's score without noise."""
    x = np.random.default_rng(3).normal(size=(ROWS, 3)).astype(np.float32)
    rows = [
        {n: [float(v)] for n, v in zip(NAMES, values, strict=True)} | {"y": [float(y)], "city": ["uv"[i % 2]]}
        for i, (values, y) in enumerate(zip(x, truth(x), strict=True))
    ]
    return x, write_examples(tmp_path_factory.mktemp("data") / "examples", rows)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return forest(tmp_path_factory.mktemp("forest") / "model")


@pytest.fixture(scope="module")
def measured(model, data, tmp_path_factory):
    """(artifact, summary)."""
    folder = tmp_path_factory.mktemp("measured") / "out"
    return folder, explain(folder, model, data[1], settings(cost={"forecast": True}))


def judge(folder, *references, **policy):
    return judge_artifacts(str(folder), [str(r) for r in references], ValidationConfig.make(LENIENT | policy), TODAY)


def test_the_reason_names_the_operation_of_each_feature(measured):
    summary = measured[1]
    assert (summary["status"], summary["features"]) == ("explained", [])
    assert summary["attributions"]["status"] == "no_gradient"
    assert summary["uncovered_features"] == ["a", "b"] and summary["unused_features"] == ["c"]
    blocked = summary["blocked_features"]
    assert {name: b["operation"] for name, b in blocked.items()} == {"a": "Greater", "b": "Greater"}
    assert blocked["a"]["name"].endswith("/root") and blocked["b"]["name"].endswith("/leaf")
    for name in "ab":
        sentence = f"feature '{name}' reaches the output only through Greater ('{blocked[name]['name']}'), which has no"
        assert sentence in summary["attributions"]["reason"]


def test_everything_that_needs_no_gradient_is_measured(measured, data):
    folder, summary = measured
    x = data[0]
    rows = row_table(folder)
    assert not [c for c in rows if c.startswith("attribution")]
    assert sorted(rows["prediction"]) == sorted(truth(x))
    assert rows["convergence_delta"].isna().all() and not rows["num_steps"].any()
    assert summary["metrics"]["mean_squared_error"]["value"] == 0
    assert summary["examples"]["unconverged_weight_fraction"]["value"] is None
    importance = {
        f["name"]: f["metrics"]["mean_squared_error"]["drop"] for f in summary["permutation_importance"]["features"]
    }
    assert set(importance) == {"a", "b", "both"}
    # E (f(x') - f(x))^2 with an independent draw x' of a: P(b > 0) 9/2 + P(b <= 0) 4/2 = 3.25; of b: P(a > 0)/2 = 1/4.
    assert importance["a"]["low"] < 3.25 < importance["a"]["high"] and importance["a"]["value"] > 2
    assert importance["b"]["low"] < 0.25 < importance["b"]["high"] and importance["b"]["value"] > 0.15
    assert {s["name"] for s in summary["slices"]} == {'city="u"', 'city="v"'}
    assert all(s["permutation_importance"] and not s["features"] for s in summary["slices"])
    found = statistics(folder).loc["overall", "a", "permutation_mean_squared_error_drop"]
    assert found["value"] == pytest.approx(importance["a"]["value"], rel=1e-5)
    result = tfma.load_eval_result(str(folder / "tfma"))
    assert len(result.slicing_metrics) == 3
    (attributions,) = (a for key, a in result.attributions if not key)
    assert list(attributions[""][""]) == ["permutation_mean_squared_error_drop"]


def test_the_report_opens_with_the_sentence(measured):
    page = Page(render_attributions(measured[1]))
    reason = measured[1]["attributions"]["reason"]
    assert page.text.index(reason) < page.text.index("Permutation importance") < page.text.index("Facts")
    assert "leads with" not in page.text and "What the model leans on" not in page.text
    (row,) = [row for row in page.rows if row[:3] == ["a", "no", "Greater"]]
    assert row[3].endswith("/root") and float(row[4]) > 2


def test_without_repeats_nothing_is_left_and_both_reasons_are_given(model, data):
    sample = [r.numpy() for r in tf.data.TFRecordDataset(data[1]).take(32)]
    for change, absent in (({"label": None}, "no label"), ({"permutation_importance": {"repeats": 0}}, "0 repeats")):
        chosen = settings(**change)
        spec = JobSpec(model, chosen, label=Source("y") if chosen.label else None)
        error = ModelExplainer(spec, [], sample).facts.error
        assert "Greater" in error and absent in error and "a label and at least one repeat" in error


def test_labels_that_no_row_has_leave_nothing_either(model, data, tmp_path):
    summary = explain(tmp_path / "out", model, data[1], settings(label=Label(key="nowhere")))
    assert summary["status"] == "not_explained"
    assert "Greater" in summary["reason"] and "no explained row has a label" in summary["reason"]
    assert set(read_manifest(str(tmp_path / "out"), "ModelAttributions").sha256) == {"summary.json", "report.html"}
    judged = judge(tmp_path / "out")
    assert not judged.verdict.blessed and "not explained" in judged.verdict.blocking[0].sentence


def test_a_first_run_is_inconclusive(measured, tmp_path):
    judged = judge(measured[0])
    (result,) = judged.verdict.results
    assert (result.check, result.verdict, result.severity) == ("evidence_floor", "INCONCLUSIVE", "block")
    assert "explain a score or logit output" in result.sentence and "report" in result.sentence
    assert changed_reference(judged, ValidationConfig.make(LENIENT), "m", "1", judged.candidate.fingerprint) is None
    write_anomalies(str(tmp_path / "anomalies"), judged, ValidationConfig.make(LENIENT))
    assert "Permutation importance" in (tmp_path / "anomalies" / "report.html").read_text()


def test_a_cap_of_checks_that_are_all_off_passes_nothing(measured):
    off = {"threshold": 1.0, "severity": "off"}
    checks = dict.fromkeys(("completeness", "max_share", "share_change", "vanished", "removed_features"), off)
    assert not judge(measured[0], checks=checks).verdict.blessed


@pytest.fixture(scope="module")
def reference(data, tmp_path_factory):
    """A linear model that had gradients, passed."""
    folder = tmp_path_factory.mktemp("reference")
    path = planted(folder / "model", sigmoid=False)
    summary = explain(folder / "out", path, data[1], settings())
    assert len(summary["features"]) == len(WEIGHTS) and summary["attributions"] == {"status": "measured", "reason": ""}
    candidate = read_candidate(str(folder / "out"))
    assert judge(folder / "out").verdict.blessed
    record = candidate.record(str(folder), "1")
    rows = candidate.manifest.read("pinned_rows.parquet")
    first = Reference("default", candidate.pins, rows, (record,), ("passed", record.fingerprint))
    write_reference(str(folder / "reference"), first)
    return folder / "reference"


def test_a_model_that_lost_its_gradients_does_not_slip_through(measured, reference):
    judged = judge(measured[0], reference)
    assert [r.verdict for r in judged.verdict.results] == ["INCONCLUSIVE"]
    assert not judged.verdict.blessed
    assert "cover 3 features" in judged.verdict.results[0].sentence
    assert changed_reference(judged, ValidationConfig.make(LENIENT), "m", "1", judged.candidate.fingerprint) is None


@pytest.mark.parametrize(
    "said",
    [{"status": "measured", "reason": ""}, {"status": "fine", "reason": ""}, {"status": "no_gradient", "reason": ""}],
)
def test_a_summary_that_says_otherwise_passes_nothing(said, measured, reference, tmp_path):
    import hashlib
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(measured[0], folder)
    text = json.dumps(json.loads((folder / "summary.json").read_text()) | {"attributions": said}).encode()
    (folder / "summary.json").write_bytes(text)
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["files"]:
        if entry["path"] == "summary.json":
            entry |= {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for references in ((), (reference,)):
        assert not judge(folder, *references).verdict.blessed


def test_beside_the_reference_pairs_are_absent_with_the_reason_and_a_diagnosis_ends(
    measured, reference, model, data, tmp_path
):
    import apache_beam as beam

    request = Request(
        attributions=str(measured[0]),
        reference=read_reference(str(reference)),
        patterns=[(0, data[1])],
        output=str(tmp_path / "diagnosis"),
        model=model,
    )
    found = diagnose(request, beam.Pipeline)
    assert "Greater" in json.dumps(found)


CLASSES = ("x", "y", "z")


def best(path, kind):
    """The column of the largest of a, b and 0, as a class's number or name."""
    module = tf.Module()
    spec = {name: tf.io.FixedLenFeature([1], tf.float32) for name in NAMES}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        parsed = tf.io.parse_example(examples, spec)
        number = tf.argmax(tf.concat([parsed["a"], parsed["b"], tf.zeros_like(parsed["c"])], 1), 1)
        return {
            "outputs": {
                "integer": lambda: number,
                "looked up": lambda: tf.gather(tf.constant([0, 1, 2]), number)[:, None],
                "float": lambda: tf.cast(number, tf.float32)[:, None],
                "name": lambda: tf.gather(tf.constant(CLASSES), number),
            }[kind]()
        }

    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    return str(path)


# A class's number is a name: that 2 is further from 0 than 1 is must not count.
@pytest.mark.parametrize("kind", ["integer", "looked up", "float", "name"])
def test_a_class_is_scored_by_agreement(kind, tmp_path):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(ROWS, 3)).astype(np.float32)
    number = np.column_stack([x[:, :2], np.zeros(ROWS)]).argmax(axis=1)
    label = np.where(rng.random(ROWS) < 0.2, (number + 1) % 3, number)
    named = [[CLASSES[n]] if kind == "name" else [float(n)] for n in label]
    rows = [
        {n: [float(v)] for n, v in zip(NAMES, values, strict=True)} | {"y": y, "city": ["uv"[i % 2]]}
        for i, (values, y) in enumerate(zip(x, named, strict=True))
    ]
    examples = write_examples(tmp_path / "examples", rows)
    chosen = settings(
        class_names=CLASSES if kind == "name" else (),
        permutation_importance={"repeats": 5},
    )
    summary = explain(tmp_path / "out", best(tmp_path / "model", kind), examples, chosen)
    assert set(summary["metrics"]) == {"accuracy"}
    assert summary["metrics"]["accuracy"]["value"] == pytest.approx((label == number).mean(), rel=1e-5)
    measured = {f["name"]: f["metrics"] for f in summary["permutation_importance"]["features"]}
    assert set(measured) == {"a", "b", "both"} and all(set(m) == {"accuracy"} for m in measured.values())
    for place, name in enumerate("ab"):
        drops = []
        for _ in range(40):
            changed = np.column_stack([x[:, :2], np.zeros(ROWS)])
            changed[:, place] = rng.permutation(changed[:, place])
            drops.append((label == number).mean() - (label == changed.argmax(axis=1)).mean())
        drop = measured[name]["accuracy"]["drop"]
        assert drop["low"] < np.mean(drops) < drop["high"] and drop["low"] > 0.1
    assert all(s["metrics"]["accuracy"]["value"] > 0.7 for s in summary["slices"])
    assert all(entry["metric"] == "accuracy" for entry in summary["profiting_slices"]) and summary["profiting_slices"]
    assert any("integer_output" in note for note in summary["notes"]) == (kind == "looked up")
    page = Page(render_attributions(summary))
    assert "accuracy" in page.text and "mean_squared_error" not in page.text
    assert not judge(tmp_path / "out").verdict.blessed


def test_integers_are_amounts_where_the_configuration_says_so(data, tmp_path):
    chosen = settings(integer_output="amount")
    summary = explain(tmp_path / "out", best(tmp_path / "model", "looked up"), data[1], chosen)
    assert set(summary["metrics"]) == {"label_mean", "mean_squared_error"}
    assert not any("integer_output" in note for note in summary["notes"])


def test_libraries_of_operations_are_imported_before_the_model_is_loaded(model, tmp_path, monkeypatch):
    (tmp_path / "operations_of_a_model.py").write_text("loaded = True")
    monkeypatch.syspath_prepend(str(tmp_path))
    sample = [serialise({name: [float(i)] for name in NAMES}) for i in range(2)]
    spec = JobSpec(model, settings(op_libraries=("operations_of_a_model", "no_such_library")))
    error = ModelExplainer(spec, [], sample).facts.error
    assert "install 'no_such_library' there" in error and sys.modules["operations_of_a_model"].loaded
