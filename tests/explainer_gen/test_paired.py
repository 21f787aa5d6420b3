"""Two exported models on the same rows, through the Beam job."""

import dataclasses
import json

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from tests.engine.feature_graph.small_models import SPEC, columns, numbers, random_matrix, save

from tfx_explain.config import ExplainConfig
from tfx_explain.diagnosis.job import PAIRS_FILE, pair_examples
from tfx_explain.engine.aggregates.buckets import Rows, accumulate
from tfx_explain.explainer_gen.job import release_models
from tfx_explain.explainer_gen.job_spec import JobSpec, ModelFacts
from tfx_explain.explainer_gen.paired import Partner, StoredShares, incomparable, reference_spec
from tfx_explain.explainer_gen.slicing import Slicing
from tfx_explain.names import OVERALL

pytestmark = pytest.mark.pipeline

RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
ROWS = 600
BASELINE = dict.fromkeys("abc", 0.0)
CONFIG = ExplainConfig(batch_size=128, input_baseline=BASELINE, permutation_importance={"repeats": 0})


def linear(path, weights):
    """Logit = weights . (a, b, c)."""

    def function(parsed, _):
        return {"outputs": tf.sigmoid(tf.matmul(columns(parsed), tf.constant(weights, tf.float32)[:, None]))}

    return save(path, function)


def classes(path, weights):
    """Two classes' softmax; the second class's logit is weights . (a, b, c)."""

    def function(parsed, _):
        logit = tf.linalg.matvec(columns(parsed), tf.constant(weights, tf.float32))
        return {"outputs": tf.nn.softmax(tf.stack([tf.zeros_like(logit), logit], axis=1))}

    return save(path, function)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paired")
    matrix = random_matrix(ROWS)
    for name, rows in (("rows", matrix), ("shifted", matrix * np.array([3, 1, 1], np.float32))):
        with tf.io.TFRecordWriter(str(folder / name)) as writer:
            for row in numbers(rows):
                writer.write(row)
    linear(folder / "one", [1.0, 1.0, 0.0])
    linear(folder / "two", [3.0, 1.0, 0.0])
    return folder


def stored(weights, matrix, examples=""):
    a = (matrix * np.array(weights, np.float32))[:, :2]
    n = len(a)
    none = np.zeros(0, int)
    rows = Rows(
        np.arange(n) % 64,
        np.ones(n),
        a,
        np.ones(n, bool),
        a.sum(1).astype(float),
        np.zeros((n, 2), np.int32),
        none,
        none * 1.0,
    )
    return StoredShares({OVERALL: accumulate(("a", "b"), (1, 1), rows, 1.0)}, examples)


def pairs(
    folder,
    out,
    candidate="two",
    reference="one",
    rows="rows",
    config=CONFIG,
    shares=None,
    workers=1,
    size=1000,
    slicing=None,
):
    spec = JobSpec(str(folder / candidate), config, slicing or Slicing(), fingerprint=candidate)
    arguments = [RUNNER]
    if workers > 1:
        arguments += ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    with beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
        pair_examples(
            pipeline,
            [(0, str(folder / rows))],
            spec,
            Partner(reference_spec(spec, str(folder / reference), reference), shares or StoredShares({})),
            str(out),
            size,
        )
    release_models()
    return json.loads((out / PAIRS_FILE).read_text())


def feature(entry, name):
    (found,) = [f for f in entry["features"] if f["name"] == name]
    return found


def shares_of(matrix, weights):
    sums = np.abs(matrix.astype(float) * weights).sum(0)
    return sums / sums.sum()


def test_the_model_part_is_the_difference_on_the_same_rows(folder, tmp_path):
    matrix = random_matrix(ROWS)
    result = pairs(folder, tmp_path / "a", shares=stored([1, 1, 0], matrix))
    assert result["absent"] is None
    (overall,) = result["slices"]
    assert (overall["name"], overall["paired_rows"], overall["other_target_rows"]) == (OVERALL, ROWS, 0)
    ours, theirs = shares_of(matrix, [3, 1, 0]), shares_of(matrix, [1, 1, 0])
    a = feature(overall, "a")
    assert a["share"]["value"] == pytest.approx(ours[0], abs=1e-5)
    assert a["reference_share"]["value"] == pytest.approx(theirs[0], abs=1e-5)
    assert a["model_part"]["value"] == pytest.approx(ours[0] - theirs[0], abs=1e-5)
    assert a["model_part"]["low"] > 0
    assert a["correlation"]["value"] == pytest.approx(1, abs=1e-5)
    # The reference's model has the shares of its time on the same rows: the data part is 0.
    assert a["data_part"]["value"] == pytest.approx(0, abs=1e-5)
    moved = overall["absolute_prediction_difference"]["value"]
    assert moved == pytest.approx(np.abs(2 * matrix[:, 0]).mean(), rel=1e-4)
    assert (a["rank"], a["reference_rank"]) == (1, int(theirs[0] < theirs[1]) + 1)


def test_the_data_part_is_what_the_rows_changed(folder, tmp_path):
    matrix = random_matrix(ROWS)
    result = pairs(folder, tmp_path / "a", "one", "one", "shifted", shares=stored([1, 1, 0], matrix))
    (overall,) = result["slices"]
    a = feature(overall, "a")
    assert a["model_part"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    expected = shares_of(matrix * [3, 1, 1], [1, 1, 0])[0] - shares_of(matrix, [1, 1, 0])[0]
    assert a["data_part"]["value"] == pytest.approx(expected, abs=1e-5)
    assert a["data_part"]["low"] > 0


def test_a_feature_that_one_model_lacks_is_named(folder, tmp_path):
    def reads(path, names, weights):
        def function(parsed, _):
            total = sum(w * parsed[n] for n, w in zip(names, weights, strict=True))
            return {"outputs": tf.sigmoid(total)}

        return save(path, function, {n: SPEC[n] for n in names})

    reads(folder / "ab", "ab", (1.0, 1.0))
    reads(folder / "bc", "bc", (1.0, 1.0))
    (overall,) = pairs(folder, tmp_path / "a", "bc", "ab")["slices"]
    assert {f["name"]: f["absent_from"] for f in overall["features"]} == {"a": "candidate", "b": "", "c": "reference"}
    assert feature(overall, "c")["reference_rank"] is None
    assert feature(overall, "c")["reference_share"]["value"] == 0


def test_workers_and_batches_do_not_matter(folder, tmp_path):
    """Two processes load two models each, hence its time."""
    config = CONFIG.model_copy(update={"batch_size": 64})
    expected = pairs(folder, tmp_path / "a", config=config)
    assert pairs(folder, tmp_path / "b", config=config, size=50, workers=2) == expected


def test_slices_are_the_candidates(folder, tmp_path):
    with tf.io.TFRecordWriter(str(folder / "sliced")) as writer:
        for i, raw in enumerate(numbers(random_matrix(ROWS))):
            example = tf.train.Example.FromString(raw)
            example.features.feature["half"].int64_list.value.append(i % 3 // 2)
            writer.write(example.SerializeToString())
    result = pairs(folder, tmp_path / "a", rows="sliced", slicing=Slicing.of_specs([{"feature_keys": ["half"]}]))
    assert {s["name"]: s["paired_rows"] for s in result["slices"]} == {OVERALL: 600, "half=0": 400, "half=1": 200}
    matrix = random_matrix(ROWS)[2::3]
    second = next(s for s in result["slices"] if s["name"] == "half=1")
    expected = shares_of(matrix, [3, 1, 0])[0] - shares_of(matrix, [1, 1, 0])[0]
    assert feature(second, "a")["model_part"]["value"] == pytest.approx(expected, abs=1e-5)
    assert feature(second, "a")["data_part"] is None


def test_rows_of_other_predicted_classes_are_not_paired(folder, tmp_path):
    classes(folder / "plus", [1.0, 1.0, 0.0])
    classes(folder / "minus", [-1.0, 1.0, 0.0])
    (overall,) = pairs(folder, tmp_path / "a", "plus", "minus")["slices"]
    matrix = random_matrix(ROWS)
    agree = int(((matrix[:, 0] + matrix[:, 1] > 0) == (matrix[:, 1] - matrix[:, 0] > 0)).sum())
    assert (overall["paired_rows"], overall["other_target_rows"]) == (agree, ROWS - agree)


def test_rows_that_one_model_cannot_run_are_counted(folder, tmp_path):
    def picky(parsed, _):
        return {"outputs": tf.sigmoid(parsed["a"] + parsed["d"])}

    save(folder / "picky", picky, {"a": SPEC["a"], "d": tf.io.FixedLenFeature([1], tf.float32)})
    with tf.io.TFRecordWriter(str(folder / "gaps")) as writer:
        for i, raw in enumerate(numbers(random_matrix(ROWS))):
            example = tf.train.Example.FromString(raw)
            if i >= 5:
                example.features.feature["d"].float_list.value.append(1.0)
            writer.write(example.SerializeToString())
    config = CONFIG.model_copy(update={"input_baseline": BASELINE | {"d": 0.0}})
    (one,) = pairs(folder, tmp_path / "a", "one", "picky", "gaps", config)["slices"]
    assert (one["paired_rows"], one["candidate_only_rows"], one["reference_only_rows"]) == (ROWS - 5, 5, 0)
    (two,) = pairs(folder, tmp_path / "b", "picky", "one", "gaps", config)["slices"]
    assert (two["paired_rows"], two["candidate_only_rows"], two["reference_only_rows"]) == (ROWS - 5, 0, 5)
    there, back = (feature(entry, "a")["model_part"]["value"] for entry in (one, two))
    assert there == pytest.approx(-back, abs=1e-5)


def test_a_reference_model_that_cannot_be_explained_gives_its_reason(folder, tmp_path):
    gone = pairs(folder, tmp_path / "a", reference="gone")
    assert gone["slices"] == []
    assert "could not be explained" in gone["absent"] and "saved_model.pb" in gone["absent"]
    (folder / "broken").mkdir(exist_ok=True)
    (folder / "broken" / "saved_model.pb").write_bytes(b"not a model")
    broken = pairs(folder, tmp_path / "b", reference="broken")
    assert broken["absent"] and broken["slices"] == []
    classes(folder / "two_classes", [1.0, 1.0, 0.0])
    other = pairs(folder, tmp_path / "c", reference="two_classes")
    assert "the last model that passed has another output: num_targets 2 (the candidate's is 1)" in other["absent"]


def test_what_must_agree():
    facts = ModelFacts(unit="logit", num_targets=1, target="0", link="sigmoid")
    assert incomparable(facts, dataclasses.replace(facts, link="other", features=("x",))) is None
    assert "unit 'probability'" in (incomparable(facts, dataclasses.replace(facts, unit="probability")) or "")
