"""`tfx-explain diagnose` on stored artifacts of two models, the second with a leak."""

import dataclasses
import hashlib
import html
import json
import os
import shlex
import shutil
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from tests.diagnosis.handmade import PIPELINE, Handmade
from tests.engine.feature_graph.small_models import SPEC, numbers, random_matrix, save
from tests.report.page_reader import Page
from typer.testing import CliRunner

from tfx_explain.artifacts.manifest import read_manifest
from tfx_explain.attribution_reference.store import Reference, read_reference, write_reference
from tfx_explain.attribution_validator.evidence import read_candidate
from tfx_explain.cli import app
from tfx_explain.config import ExplainConfig
from tfx_explain.diagnosis.diagnose import DiagnosisError, check_verdict, no_refusal
from tfx_explain.explainer_gen.run import Request, run

pytestmark = pytest.mark.pipeline

RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
CONFIG = ExplainConfig(batch_size=256, permutation_importance={"repeats": 0}, input_baseline=dict.fromkeys("abc", 0.0))


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def linear(folder: Path, **weights: float) -> str:
    """A Model artifact's folder: logit = sum of weights x features."""

    def function(parsed, _):
        return {"outputs": tf.sigmoid(tf.add_n([w * parsed[n] for n, w in weights.items()]))}

    save(folder / "Format-Serving", function, {n: SPEC[n] for n in weights})
    return str(folder)


def explain(folder: Path, model: str, rows: Path, reference=None) -> None:
    request = Request(
        output=str(folder),
        model_uri=model,
        serving_path=f"{model}/Format-Serving",
        patterns=[(0, os.path.relpath(rows))],  # as below a relative pipeline root; it is told from the root
        config=CONFIG,
        reference=reference,
    )
    summary = run(request, lambda: beam.Pipeline(options=PipelineOptions([RUNNER])))
    assert summary["status"] == "explained", summary["reason"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that passed; today's rows, where `b` is three times as large; and a leaky model explained on them."""
    folder = tmp_path_factory.mktemp("diagnose")
    then, today = random_matrix(1500, 1), random_matrix(1500, 2) * np.array([1, 3, 1], np.float32)
    for name, matrix in (("then", then), ("today", today)):
        with tf.io.TFRecordWriter(str(folder / f"{name}.tfrecord")) as writer:
            for row in numbers(matrix):
                writer.write(row)
    passed, leaky = linear(folder / "passed", a=1.0, b=1.0), linear(folder / "leaky", a=1.0, b=1.0, c=6.0)
    explain(folder / "first", passed, folder / "then.tfrecord")
    candidate = read_candidate(str(folder / "first"))
    record = candidate.record(passed, "1")
    rows = candidate.manifest.read("pinned_rows.parquet")
    known = Reference("default", candidate.pins, rows, (record,), ("passed", record.fingerprint))
    write_reference(str(folder / "reference"), known)
    explain(folder / "second", leaky, folder / "today.tfrecord", read_reference(str(folder / "reference")))

    made = Handmade(folder / "mlmd.db")
    for uri, features, span in ((passed, ["a", "b"], 3), (leaky, ["a", "b", "c"], 4)):
        examples = made.run("ExampleGen", {}, {"examples": made.artifact("Examples", f"/e/{span}")}, span=span)
        model = made.artifact("Model", uri)
        made.run("Trainer", {"examples": examples}, {"model": model}, custom_config={"features": features})
    return folder


def arguments(folder, output):
    return (
        *("diagnose", "--attributions", folder / "second", "--reference", folder / "reference"),
        *("--examples", folder / "today.tfrecord", "--output", output),
    )


def part(data, name, which):
    (found,) = [f for f in data["overall"]["features"] if f["name"] == name]
    return found[which]["value"]


def test_model_data_and_lineage_are_told_apart(folder, tmp_path):
    out = tmp_path / "out"
    code, text = call(*arguments(folder, out), "--metadata", folder / "mlmd.db", "--pipeline", PIPELINE)
    assert code == 0, text
    assert "The model changed, and so did the data." in text
    assert "Upstream: Trainer: custom_config changed: features + c." in text
    assert "Upstream: ExampleGen: span 3 -> 4." in text
    data = json.loads(read_manifest(str(out), "AttributionDiagnosis").read("diagnosis.json"))

    def shares(seed, scale, weights):
        sums = np.abs(random_matrix(1500, seed).astype(float) * scale * weights).sum(0)
        return sums / sums.sum()

    now, same = shares(2, [1, 3, 1], [1, 1, 6]), shares(2, [1, 3, 1], [1, 1, 0])
    then = shares(1, [1, 1, 1], [1, 1, 0])
    for j, name in enumerate("abc"):
        assert part(data, name, "share") == pytest.approx(now[j], abs=1e-5)
        assert part(data, name, "model_part") == pytest.approx(now[j] - same[j], abs=1e-5)
    for j, name in enumerate("ab"):
        assert part(data, name, "data_part") == pytest.approx(same[j] - then[j], abs=1e-5)
    assert "'c' carries" in data["sentences"][0]
    assert data["examples"]["as_explained"] is True and data["examples"]["as_then"] is False
    assert set(data["moved_inputs"]) == {"a", "b"} and data["moved_inputs"]["b"] > 1 > data["moved_inputs"]["a"]
    assert "By feature" in (out / "report.html").read_text()


def test_a_refusal_prints_the_command_that_diagnoses_it(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    (tmp_path / "policy.yaml").write_text("evidence: {min_rows_per_slice: 40}\n")
    code, text = call(
        *("validate", "--attributions", "second", "--reference", "reference", "--output", tmp_path / "verdict"),
        *("--config", tmp_path / "policy.yaml"),
    )
    assert code == 1, text
    (line,) = [line for line in text.splitlines() if "tfx-explain diagnose" in line]
    page = (tmp_path / "verdict" / "anomalies" / "report.html").read_text()
    command = line[line.index("tfx-explain ") :]
    assert command in html.unescape(page)
    words = shlex.split(command)
    monkeypatch.chdir(tmp_path)  # it runs from any folder, as it was printed
    code, text = call(*words[1:])
    assert code == 0, text
    assert "not checked" not in text
    data = json.loads((tmp_path / "diagnosis" / "diagnosis.json").read_text())
    assert (data["examples"]["as_explained"], data["min_slice_rows"]) == (True, 40)  # the verdict's policy

    # The same verdict with a reference that the gate did not have.
    known = read_reference(str(folder / "reference"))
    other = dataclasses.replace(known.models[0], fingerprint="f" * 64)
    write_reference(str(tmp_path / "reference"), dataclasses.replace(known, models=(other,)))
    words[words.index("--reference") + 1] = str(tmp_path / "reference")
    code, text = call(*words[1:], "--output", tmp_path / "wrong")
    assert (code, "the reference must be the one of the verdict" in text) == (2, True), text
    assert not (tmp_path / "wrong").exists()


def test_attributions_that_do_not_tell_their_examples_need_them(folder, tmp_path):
    old = shutil.copytree(folder / "second", tmp_path / "old")
    (old / "examples.json").unlink()
    manifest = json.loads((old / "manifest.json").read_text())
    manifest["files"] = [file for file in manifest["files"] if file["path"] != "examples.json"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    given = "diagnose", "--attributions", old, "--reference", folder / "reference", "--output", tmp_path / "out"
    code, text = call(*given)
    assert (code, "give --examples" in text) == (2, True), text
    assert not (tmp_path / "out").exists()
    code, text = call(*given, "--examples", folder / "today.tfrecord")
    assert code == 0, text


def test_examples_that_are_gone_are_missed_before_anything_is_written(folder, tmp_path):
    moved = shutil.copytree(folder / "second", tmp_path / "moved")
    known = json.loads((moved / "examples.json").read_text())
    assert known == {"patterns": [[0, str(folder / "today.tfrecord")]]}
    data = json.dumps({"patterns": [*known["patterns"], [0, str(tmp_path / "gone*")]]}).encode()
    (moved / "examples.json").write_bytes(data)
    manifest = json.loads((moved / "manifest.json").read_text())
    (entry,) = [file for file in manifest["files"] if file["path"] == "examples.json"]
    entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (moved / "manifest.json").write_text(json.dumps(manifest))
    given = "diagnose", "--attributions", moved, "--reference", folder / "reference", "--output", tmp_path / "out"
    code, text = call(*given)
    assert (code, f"no file that matches '{tmp_path / 'gone*'}'; give --examples" in text) == (2, True), text
    assert not (tmp_path / "out").exists()


def test_the_default_output_is_refused_where_it_holds_something(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "diagnosis").mkdir()
    (tmp_path / "diagnosis" / "kept").touch()
    code, text = call("diagnose", "--attributions", folder / "second", "--reference", folder / "reference")
    assert (code, "--output must be an empty or new folder. Received: diagnosis" in text) == (2, True), text


def test_without_a_verdict_the_diagnosis_says_that_nothing_was_checked(folder, tmp_path):
    out = tmp_path / "out"
    code, text = call(*arguments(folder, out), "--model", folder / "leaky")
    assert code == 0, text
    data = json.loads((out / "diagnosis.json").read_text())
    said = data["no_refusal"]
    assert data["min_slice_rows"] == 250  # the default policy's
    assert said.startswith("This diagnosis is not about a refusal: no verdict was given (--anomalies)")
    assert text.index(said) < text.index("The model changed")
    page = Page((out / "report.html").read_text()).text
    assert page.index(said) < page.index("The model changed", page.index("· diagnosis"))


def test_a_verdict_that_blessed_the_model_is_no_refusal_either():
    passed = {"model": {"fingerprint": "mine"}, "reference": [{"fingerprint": "last"}], "blessed": True}
    assert no_refusal(passed, "last") == (
        "This diagnosis is not about a refusal: the verdict that was given blessed the model."
    )
    assert no_refusal(passed | {"blessed": False}, "last") == ""
    assert "not checked that the gate compared with model 0123456789ab" in no_refusal(None, "0123456789abcdef")


def test_a_verdict_on_another_model_is_refused():
    reference = [{"fingerprint": "old"}, {"fingerprint": "last"}]
    check_verdict({"model": {"fingerprint": "mine"}, "reference": reference}, "mine", "last")
    check_verdict(
        {"model": {"fingerprint": "mine"}, "reference": [*reference, {"fingerprint": "mine"}]}, "mine", "last"
    )
    for verdict, passed, part in (
        ({"model": {"fingerprint": "other"}, "reference": reference}, "last", "on the model of the attributions"),
        ({"model": {}, "reference": reference}, "last", "on the model of the attributions"),
        ({"model": {"fingerprint": "mine"}, "reference": reference}, "old", "compared with model last"),
        ({"model": {"fingerprint": "mine"}, "reference": []}, "last", "compared with no model"),
    ):
        with pytest.raises(DiagnosisError, match=part):
            check_verdict(verdict, "mine", passed)


def test_a_model_that_is_gone_leaves_the_stored_shares(folder, tmp_path):
    gone = tmp_path / "empty"
    gone.mkdir()
    code, text = call(*arguments(folder, tmp_path / "out"), "--reference-model", gone)
    assert code == 2
    assert f"the last model that passed cannot be run: there is no SavedModel at {gone}" in text
    data = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    assert (data["changed"], part(data, "c", "share") > 0.5) == ("unknown", True)
    other = shutil.copytree(folder / "leaky", tmp_path / "other")
    code, text = call(*arguments(folder, tmp_path / "out2"), "--reference-model", other)
    assert (code, "its files were changed" in text) == (2, True)


def test_bad_usage_is_refused_before_anything_is_written(folder, tmp_path):
    out = tmp_path / "out"
    for extra, message in (
        (("--metadata", tmp_path / "none.db"), "--metadata must be the SQLite file"),
        (("--pipeline", "taxi"), "--pipeline goes with --metadata"),
        (("--model", tmp_path / "none"), "--model must be a folder"),
        (("--examples", tmp_path / "none*"), "--examples must match"),
    ):
        code, text = call(*arguments(folder, out), *extra)
        assert (code, message in text) == (2, True), text
        assert not out.exists()


def test_a_store_without_the_models_says_so(folder, tmp_path):
    Handmade(tmp_path / "other.db")
    arguments_ = (
        *arguments(folder, tmp_path / "out"),
        "--metadata",
        tmp_path / "other.db",
        "--model",
        folder / "passed",
    )
    code, text = call(*arguments_)
    assert code == 2
    assert "this model cannot be run: its files were changed" in text
    assert "must hold a Model artifact" in text
