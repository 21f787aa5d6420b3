"""The Beam job on an exported model: the same bytes whoever does the work, and honest counts of what failed."""

import dataclasses
import datetime
import json
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from tests.explainer_gen.examples_data import BROKEN
from tests.fixtures.exported_models.export import export

from tfx_explain.artifacts.manifest import read_manifest, verify
from tfx_explain.artifacts.statistics import BUCKETS_FILE, PREDICTIONS_FILE, read_statistics
from tfx_explain.attribution_reference.store import Reference, read_reference, write_reference
from tfx_explain.attribution_validator.evidence import judge_artifacts, read_candidate
from tfx_explain.config import CostConfig, ExplainConfig, ValidationConfig
from tfx_explain.engine.feature_graph import CompiledModel
from tfx_explain.explainer_gen import method, results
from tfx_explain.explainer_gen.columns import decode
from tfx_explain.explainer_gen.cost import COST_FILE
from tfx_explain.explainer_gen.examples import read_example, write_example
from tfx_explain.explainer_gen.run import EXAMPLES_FILE, Request, run

pytestmark = pytest.mark.pipeline

RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
CONFIG = ExplainConfig(batch_size=64, cost=CostConfig(forecast=False))


@pytest.fixture(scope="module")
def model():
    return export("vocabulary_relu")


def write_examples(folder: Path, rows: list[bytes], shards: int = 1, compressed: bool = True) -> str:
    folder.mkdir(parents=True)
    for shard in range(shards):
        suffix, options = (".gz", "GZIP") if compressed else ("", None)
        with tf.io.TFRecordWriter(str(folder / f"data-{shard:05d}-of-{shards:05d}{suffix}"), options) as writer:
            for row in rows[shard::shards]:
                writer.write(row)
    return str(folder / "data-*")


def explain(output: Path, model, pattern: str, config=CONFIG, workers=1, reference=None, read_batch_size=1000):
    arguments = [RUNNER]
    if workers > 1:
        arguments += ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    request = Request(
        output=str(output),
        model_uri="the model",
        serving_path=model.path,
        patterns=[(0, pattern)] if pattern else [],
        config=config,
        reference=reference,
        read_batch_size=read_batch_size,
    )
    return run(request, lambda: beam.Pipeline(options=PipelineOptions(arguments)))


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a finished artifact but those that tell how long the job took, and on which files."""
    manifest = read_manifest(str(folder), "ModelAttributions")
    verify(manifest)
    return {path: digest for path, digest in manifest.sha256.items() if path not in (COST_FILE, EXAMPLES_FILE)}


def rows_of(folder: Path) -> dict[str, dict]:
    manifest = read_manifest(str(folder), "ModelAttributions")
    tables = [pq.read_table(folder / p) for p in manifest.sha256 if p.startswith("Split-")]
    return {row["id"]: row for t in tables for row in t.to_pylist()}


@pytest.fixture(scope="module")
def plain(model, tmp_path_factory):
    """One run, one worker, batches of 1,000: what every other way of running must give."""
    folder = tmp_path_factory.mktemp("plain")
    pattern = write_examples(folder / "examples", model.examples)
    summary = explain(folder / "attributions", model, pattern)
    return folder / "attributions", pattern, summary


@pytest.fixture(scope="module")
def reference(plain, tmp_path_factory):
    """The plain run as a model that passed: its input baseline is the same whatever rows come later."""
    candidate = read_candidate(str(plain[0]))
    record = candidate.record("m", "1")
    rows = candidate.manifest.read("pinned_rows.parquet")
    first = Reference("default", candidate.pins, rows, (record,), ("passed", record.fingerprint))
    folder = str(tmp_path_factory.mktemp("reference") / "reference")
    write_reference(folder, first)
    return read_reference(folder)


@pytest.mark.parametrize("read_batch_size", [1, 7])
def test_input_batches_do_not_matter(read_batch_size, model, plain, tmp_path):
    explain(tmp_path / "a", model, plain[1], read_batch_size=read_batch_size)
    assert sums(tmp_path / "a") == sums(plain[0])


def test_two_worker_processes_give_the_same_bytes(model, plain, tmp_path):
    explain(tmp_path / "a", model, plain[1], workers=2, read_batch_size=50)
    assert sums(tmp_path / "a") == sums(plain[0])


def test_a_large_job_compiles_its_paths_and_says_the_same(model, plain, tmp_path, monkeypatch):
    """Large is the job, not the block: batches of reading do not matter here either."""
    config = CONFIG.model_copy(update={"batch_size": 512})
    asked = []
    own = CompiledModel.path_gradients

    def path_gradients(self, encoded, *arguments, **options):
        asked.append(len(encoded))
        return own(self, encoded, *arguments, **options)

    monkeypatch.setattr(CompiledModel, "path_gradients", path_gradients)
    explain(tmp_path / "small", model, plain[1], config=config)
    assert not asked
    monkeypatch.setattr(method, "COMPILED_GRADIENTS", 1)
    explain(tmp_path / "large", model, plain[1], config=config)
    explain(tmp_path / "other", model, plain[1], config=config, read_batch_size=7)
    assert 512 in asked
    assert sums(tmp_path / "large") == sums(tmp_path / "other")
    small, large = rows_of(tmp_path / "small"), rows_of(tmp_path / "large")
    assert small.keys() == large.keys()
    names = [name for name in next(iter(small.values())) if name.startswith("attribution")]
    for name in names:
        ours, theirs = ([row[name] for row in rows.values()] for rows in (small, {k: large[k] for k in small}))
        np.testing.assert_allclose(np.array(ours, float), np.array(theirs, float), atol=1e-3)


def disguised(raw: bytes) -> bytes:
    """The same example with its features in another order, and an empty one more."""
    entries = [
        tf.train.Features(feature={name: feature}).SerializeToString()
        for name, feature in sorted(tf.train.Example.FromString(raw).features.feature.items(), reverse=True)
    ]
    features = b"".join(entries) + tf.train.Features(feature={"unset": tf.train.Feature()}).SerializeToString()
    size, length = len(features), b""
    while True:
        length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
        if not size:
            return b"\n" + length + features


def test_rewritten_examples_in_other_shards_give_the_same_bytes(model, plain, tmp_path):
    rewritten = [disguised(r) for r in reversed(model.examples)]
    assert rewritten[0] != model.examples[-1]
    assert read_example(rewritten[0]) == read_example(model.examples[-1])
    pattern = write_examples(tmp_path / "examples", rewritten, shards=3, compressed=False)
    explain(tmp_path / "a", model, pattern)
    assert sums(tmp_path / "a") == sums(plain[0])


def test_duplicates_weigh_like_a_count(model, plain, tmp_path):
    distinct = list(dict.fromkeys(write_example(read_example(r)) for r in model.examples))
    once = write_examples(tmp_path / "once", distinct)
    twice = write_examples(tmp_path / "twice", [r for r in distinct for _ in range(2)])
    one, two = explain(tmp_path / "a", model, once), explain(tmp_path / "b", model, twice)
    assert two["examples"]["explained_rows"] == one["examples"]["explained_rows"] == len(distinct)
    assert two["examples"]["weight"] == 2 * one["examples"]["weight"]
    assert [(f["name"], f["share"]) for f in two["features"]] == [(f["name"], f["share"]) for f in one["features"]]
    before, after = rows_of(tmp_path / "a"), rows_of(tmp_path / "b")
    assert before.keys() == after.keys()
    for name, row in before.items():
        assert after[name] == row | {"count": 2, "weight": 2.0}


def test_rows_add_up_to_the_statistics_and_to_the_prediction(plain):
    folder, _, summary = plain
    manifest = read_manifest(str(folder), "ModelAttributions")
    stats = read_statistics(manifest.read(BUCKETS_FILE), manifest.read(PREDICTIONS_FILE))["overall"]
    rows = list(rows_of(folder).values())
    columns = [manifest.content["columns"][f] for f in stats.features]
    a = np.array([[r[c] for c in columns] for r in rows], float)
    w = np.array([r["weight"] for r in rows])
    np.testing.assert_allclose(stats.sums["sum"].sum(0), (w[:, None] * a).sum(0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(stats.sums["sum_absolute"].sum(0), (w[:, None] * abs(a)).sum(0), rtol=1e-9)
    assert stats.total_weight == w.sum() == summary["examples"]["weight"]
    # One baseline for all rows: prediction less the sum, less the row's own error, is its prediction.
    delta, prediction = (np.array([r[k] for r in rows]) for k in ("convergence_delta", "prediction"))
    baseline = prediction - a.sum(1) + delta
    np.testing.assert_allclose(baseline, baseline[0], atol=2e-6)
    bucket = np.array([int(r["id"][:2], 16) >> 2 for r in rows])
    assert bucket.tolist() == [r["bucket"] for r in rows]
    np.testing.assert_array_equal(stats.scalars["weight"], np.bincount(bucket, weights=w, minlength=64))


def test_rows_that_fail_are_counted_and_disturb_no_other(model, plain, reference, tmp_path):
    good = model.examples
    broken_values = read_example(good[0])
    number = next(
        n
        for n, (kind, _) in sorted(broken_values.items())
        if kind == "f" and n in {f["name"] for f in plain[2]["features"]}
    )
    not_finite = write_example(broken_values | {number: ("f", (float("nan"),))})
    wrong_kind = write_example(broken_values | {number: ("b", (b"text",))})
    pattern = write_examples(tmp_path / "examples", [*good[:100], BROKEN, not_finite, *good[100:], wrong_kind])
    summary = explain(tmp_path / "a", model, pattern, reference=reference)
    assert summary["examples"]["failed_rows"] == 3
    assert summary["examples"]["failure_reasons"] == {
        f"feature {number!r} is not finite": 1,
        "the model's parser refused the example": 1,
        "the record is no tf.Example": 1,
    }
    # Neighbours moved to other places in their batches: bit for bit the same attributions.
    assert rows_of(tmp_path / "a") == rows_of(plain[0])


def test_a_sample_is_part_of_the_whole(model, plain, reference, tmp_path):
    config = CONFIG.model_copy(update={"max_examples": 100})
    summary = explain(tmp_path / "a", model, plain[1], config=config, reference=reference)
    assert summary["examples"]["explained_rows"] == 100
    assert summary["examples"]["rows"] == len(model.examples)
    whole, part = rows_of(plain[0]), rows_of(tmp_path / "a")
    assert len(part) == 100
    (weight,) = {row["weight"] for row in part.values()}
    assert all(whole[name] | {"weight": weight} == row for name, row in part.items())
    # One row stands for as many as the sample is a part of the whole: the rank of row 101 tells.
    assert weight == pytest.approx(len(model.examples) / 100, rel=0.3)
    assert summary["examples"]["weight"] == pytest.approx(100 * weight)


def test_row_files_can_be_kept_out(model, plain, tmp_path):
    explain(tmp_path / "a", model, plain[1], config=CONFIG.model_copy(update={"write_rows": False}))
    mine = sums(tmp_path / "a")
    assert not any(p.startswith("Split-") for p in mine)
    assert mine[BUCKETS_FILE] == sums(plain[0])[BUCKETS_FILE]


def test_a_job_killed_half_way_and_run_again(model, plain, tmp_path, monkeypatch):
    def dies(*_):
        raise RuntimeError("the container was killed")

    monkeypatch.setattr(results, "slice_tables", dies)
    with pytest.raises(RuntimeError, match="killed"):
        explain(tmp_path / "a", model, plain[1])
    assert list((tmp_path / "a").rglob("attributions-*.parquet"))
    monkeypatch.undo()
    explain(tmp_path / "a", model, plain[1])
    assert sums(tmp_path / "a") == sums(plain[0])


def test_the_signature_that_was_explained_is_pinned(plain):
    """A model may pass by one head and be served by another."""
    settings = read_candidate(str(plain[0])).pins.settings
    assert (settings["signature"], settings["preprocessing_function"]) == ("serving_default", None)


def test_no_rows_are_an_artifact_that_nothing_passes(model, tmp_path):
    summary = explain(tmp_path / "a", model, write_examples(tmp_path / "examples", []))
    assert summary["examples"]["rows"] == 0
    (tmp_path / "b").mkdir()
    none = explain(tmp_path / "b", model, "")
    assert none["examples"]["rows"] == 0
    policy = ValidationConfig.make({"without_reference": {"absolute_checks_decide": {"until": "2999-01-01"}}})
    judged = judge_artifacts(str(tmp_path / "a"), [], policy, datetime.date(2026, 1, 1))
    assert not judged.verdict.blessed
    assert "No row was explained" in judged.verdict.blocking[0].sentence


def test_the_reference_pins_baseline_and_bins(model, plain, reference, tmp_path):
    """Rows of another kind must look like other rows, not like another model."""
    candidate = read_candidate(str(plain[0]))
    few = write_examples(tmp_path / "examples", model.examples[:60])
    explain(tmp_path / "alone", model, few)
    summary = explain(tmp_path / "pinned", model, few, reference=reference)
    assert summary["method"]["input_baseline_source"] == "reference"
    alone, pinned = read_candidate(str(tmp_path / "alone")), read_candidate(str(tmp_path / "pinned"))
    assert alone.pins != candidate.pins
    assert pinned.pins == candidate.pins
    columns, starts = decode(model.examples[:60]).columns, np.cumsum((0, *pinned.statistics.bin_sizes))
    for j, feature in enumerate(pinned.statistics.features):
        (column,) = (c for (name, _), c in columns.items() if name == feature)
        bins = candidate.pins.bins[feature]
        filled = pinned.statistics.bin_sums["bin_weight"].sum(axis=0)[starts[j] : starts[j + 1]]
        assert filled.tolist() == np.bincount(bins.assign(*column.first()), minlength=bins.size).tolist()
    whole = rows_of(plain[0])
    assert all(whole[name] == row for name, row in rows_of(tmp_path / "pinned").items())
    # The same rows are predicted again, so that later models can be compared on them.
    old, new = (pq.read_table(f / "pinned_rows.parquet") for f in (plain[0], tmp_path / "pinned"))
    assert old["id"] == new["id"] and old["prediction"] == new["prediction"]


def test_a_model_that_cannot_be_explained_says_why(plain, tmp_path):
    """Trees, argmax: the artifact tells, and the gate refuses with that sentence."""

    class Threshold(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples):
            parsed = tf.io.parse_example(examples, {n: tf.io.FixedLenFeature([1], tf.float32, 0.0) for n in ("p", "q")})
            return {"outputs": tf.cast(parsed["p"] + parsed["q"] > 0, tf.float32)}

    module = Threshold()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={"serving_default": module.serve})
    other = dataclasses.make_dataclass("Model", ["path"])(str(tmp_path / "model"))
    pattern = write_examples(tmp_path / "examples", [write_example({"p": ("f", (float(i),))}) for i in range(10)])
    summary = explain(tmp_path / "a", other, pattern)
    assert summary["status"] == "not_explained"
    assert summary["reason"]
    judged = judge_artifacts(str(tmp_path / "a"), [], ValidationConfig(), datetime.date(2026, 1, 1))
    assert summary["reason"] in judged.verdict.blocking[0].sentence


def exported(folder: Path, serve):
    module = tf.Module()
    module.serve = tf.function(serve, input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return dataclasses.make_dataclass("Model", ["path"])(str(folder))


def additive(examples):
    """y is optional, with a default; z is not read."""
    spec = {"x": tf.io.FixedLenFeature([1], tf.float32), "y": tf.io.FixedLenFeature([1], tf.float32, 0.5)}
    parsed = tf.io.parse_example(examples, spec)
    return {"outputs": tf.sigmoid(parsed["x"] + 2.0 * parsed["y"])}


def test_which_of_two_equal_rows_was_read_first_does_not_matter(tmp_path):
    """An absent feature takes its default, an empty list is refused by the parser: both are one row."""
    small = exported(tmp_path / "model", additive)
    absent = [write_example({"x": ("f", (float(i),))}) for i in range(50)]
    empty = []
    for raw in absent:
        example = tf.train.Example.FromString(raw)
        example.features.feature["y"].float_list.SetInParent()
        empty.append(example.SerializeToString())
    for name, rows in (("a", absent + empty), ("b", empty + absent)):
        summary = explain(tmp_path / name, small, write_examples(tmp_path / f"examples-{name}", rows))
        assert (summary["examples"]["explained_rows"], summary["examples"]["failed_rows"]) == (50, 0)
    assert sums(tmp_path / "a") == sums(tmp_path / "b")


def test_rows_without_a_weight_are_missed_whatever_the_others_weigh(tmp_path):
    """Half of all rows would count as one in two thousand."""
    small = exported(tmp_path / "model", additive)
    rows = [{"x": ("f", (float(i),))} | ({"w": ("f", (2000.0,))} if i % 2 else {}) for i in range(60)]
    pattern = write_examples(tmp_path / "examples", [write_example(row) for row in rows])
    summary = explain(tmp_path / "a", small, pattern, CONFIG.model_copy(update={"example_weight_key": "w"}))
    examples = summary["examples"]
    assert (examples["explained_rows"], examples["failed_rows"], examples["failed_weight_fraction"]) == (30, 30, 0.5)


def test_a_feature_that_the_first_sample_lacked_keeps_its_absence_as_baseline_and_its_one_bin(tmp_path):
    """Of many rare features each sample lacks others; models stay comparable where a row has one at last."""
    small = exported(tmp_path / "model", additive)
    without = [write_example({"x": ("f", (float(i),))}) for i in range(60)]
    explain(tmp_path / "first", small, write_examples(tmp_path / "examples-first", without))
    first = passed(tmp_path / "first", small.path, tmp_path)
    seldom = without[:50] + [write_example({"x": ("f", (float(i),)), "y": ("f", (9.0,))}) for i in range(10)]
    explain(tmp_path / "second", small, write_examples(tmp_path / "examples", seldom), reference=first)
    second = read_candidate(str(tmp_path / "second"))
    assert second.pins.differences(first.pins, ["x", "y"]) == []
    assert second.statistics.bin_sizes == first.models[0].statistics.bin_sizes
    absolute = dict(zip(second.statistics.features, second.statistics.sums["sum_absolute"].sum(axis=0), strict=True))
    assert absolute["y"] == pytest.approx(10 * 2.0 * (9.0 - 0.5), rel=1e-4)


def test_a_column_that_nobody_reads_may_be_anything(tmp_path):
    small = exported(tmp_path / "model", additive)
    rows = [
        write_example({"x": ("f", (float(i),)), "z": ("f", (float("nan"),) * (1 + i % 2)), "w": ("f", (float("inf"),))})
        for i in range(50)
    ]
    summary = explain(tmp_path / "a", small, write_examples(tmp_path / "examples", rows))
    assert (summary["status"], summary["examples"]["failed_rows"]) == ("explained", 0)
    assert {f["name"] for f in summary["features"]} == {"x", "y"}


def test_the_report_and_the_summary_are_finite_json(plain):
    text = (plain[0] / "summary.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in summary.json"))
    assert "<script" not in (plain[0] / "report.html").read_text()


def passed(folder: Path, uri: str, tmp_path: Path) -> Reference:
    """A reference whose one model lies at `uri`."""
    candidate = read_candidate(str(folder))
    record = candidate.record(uri, "1")
    rows = candidate.manifest.read("pinned_rows.parquet")
    first = Reference("default", candidate.pins, rows, (record,), ("passed", record.fingerprint))
    write_reference(str(tmp_path / "passed"), first)
    return read_reference(str(tmp_path / "passed"))


def test_the_model_that_passed_is_explained_on_the_same_rows(model, plain, tmp_path):
    other = export("vocabulary_smooth")
    earlier = passed(plain[0], model.path, tmp_path)
    config = CONFIG.model_copy(update={"paired": True})
    summary = explain(tmp_path / "a", other, plain[1], config=config, reference=earlier)
    assert summary["paired"]["absent"] is None
    mine, theirs = rows_of(tmp_path / "a"), rows_of(plain[0])
    difference = np.mean([row["prediction"] - theirs[name]["prediction"] for name, row in mine.items()])
    overall = summary["paired"]["overall"]
    assert overall["paired_rows"] == len(model.examples)
    assert overall["prediction_difference"]["value"] == pytest.approx(difference, rel=1e-4)
    shares = {f["name"]: f["share"] for f in plain[2]["features"]}
    for feature in overall["features"]:
        assert feature["reference_share"]["value"] == pytest.approx(shares[feature["name"]], rel=1e-5)
        # The very rows that it was explained on when it passed: nothing of the difference is the data's.
        assert feature["data_part"]["value"] == pytest.approx(0, abs=1e-6)
    stored = read_manifest(str(tmp_path / "a"), "ModelAttributions").read_json("paired.json")
    assert stored["slices"][0] == overall


def test_a_model_that_is_gone_is_said_and_decides_nothing(model, plain, tmp_path):
    earlier = passed(plain[0], str(tmp_path / "gone"), tmp_path)
    config = CONFIG.model_copy(update={"paired": True})
    summary = explain(tmp_path / "a", export("vocabulary_smooth"), plain[1], config=config, reference=earlier)
    assert summary["status"] == "explained" and summary["paired"]["overall"] is None
    assert "gone" in summary["paired"]["absent"]


def test_a_group_of_features_that_nobody_knows_is_refused_by_name(model, plain, tmp_path):
    config = CONFIG.model_copy(update={"feature_groups": {"where": ("lattitude", plain[2]["features"][0]["name"])}})
    summary = explain(tmp_path / "a", model, plain[1], config=config)
    assert summary["status"] == "not_explained" and "lattitude" in summary["reason"]


def test_a_group_with_the_name_of_a_feature_is_refused_by_name(model, plain, tmp_path):
    """Permutation importances and limits go by name: one of the two would stand for both."""
    first, second, third = (f["name"] for f in plain[2]["features"][:3])
    config = CONFIG.model_copy(update={"feature_groups": {first: (second, third)}})
    summary = explain(tmp_path / "a", model, plain[1], config=config)
    assert summary["status"] == "not_explained" and f"no feature has. Received: ['{first}']" in summary["reason"]
