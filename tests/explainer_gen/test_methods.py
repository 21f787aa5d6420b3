"""Every method through the job, on a model whose attributions are known in closed form."""

import dataclasses
import datetime
import json

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from tests.explainer_gen.evidence_data import RUNNER, row_table, write_examples
from tests.fixtures.exported_models.examples import serialise

from tfx_explain.artifacts.manifest import read_manifest
from tfx_explain.attribution_reference.store import Reference
from tfx_explain.attribution_validator.evidence import judge_artifacts, read_candidate
from tfx_explain.config import CostConfig, ExplainConfig, ValidationConfig
from tfx_explain.engine.methods.noise import normals
from tfx_explain.explainer_gen.attributions_extractor import TakeSmallestRows, _Model, found
from tfx_explain.explainer_gen.run import Request, run

pytestmark = pytest.mark.pipeline

ROWS = 60
EFFECT = np.array([0.5, -1.0, 2.0])
NAMES = ("a", "b", "c", "kind")
SAMPLES = 4


def rows():
    """Row 0 is the input baseline, row 1 shares its c and its kind."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(ROWS, 3)).astype(np.float32)
    kinds = rng.integers(0, 3, ROWS)
    values[0], kinds[0], values[1, 2], kinds[1] = 0, 0, 0, 0
    kinds[2:] = np.maximum(kinds[2:], 1)
    return [
        {"a": [float(v[0])], "b": [float(v[1])], "c": [float(v[2])], "kind": [int(k)]}
        for v, k in zip(values, kinds, strict=True)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """a b + 2 c + the effect of the kind, by a one-hot vector."""
    path = str(tmp_path_factory.mktemp("model") / "model")
    spec = {name: tf.io.FixedLenFeature([1], tf.float32) for name in NAMES[:3]}
    spec["kind"] = tf.io.FixedLenFeature([1], tf.int64)
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        parsed = tf.io.parse_example(examples, spec)
        one_hot = tf.one_hot(parsed["kind"][:, 0], 3)
        kind = tf.reduce_sum(one_hot * tf.constant(EFFECT, tf.float32), 1, keepdims=True)
        return {"outputs": parsed["a"] * parsed["b"] + 2.0 * parsed["c"] + kind}

    module.serve = serve
    tf.saved_model.save(module, path, signatures={"serving_default": module.serve})
    return path


def config(method, **settings):
    given = {
        "method": method,
        "batch_size": 32,
        "input_baseline": {"a": 0.0, "b": 0.0, "c": 0.0, "kind": 0},
        "smoothgrad": {"samples": SAMPLES},
        "permutation_importance": {"repeats": 0},
        "keep_features": NAMES,
        "cost": CostConfig(forecast=False),
    }
    return ExplainConfig(**(given | settings))


def explain(folder, model, rows, config, reference=None):
    pattern = write_examples(folder / "examples", rows)
    request = Request(str(folder / "a"), "the model", model, [(0, pattern)], config, reference)
    run(request, lambda: beam.Pipeline(options=PipelineOptions([RUNNER])))
    return folder / "a"


@pytest.fixture(scope="module")
def artifacts(model, tmp_path_factory):
    """Artifacts by method; one job each, when it is first asked for."""
    made = {}

    def of(method):
        if method not in made:
            settings = {"cost": CostConfig()} if method == "expected_gradients" else {}
            made[method] = explain(tmp_path_factory.mktemp(method), model, rows(), config(method, **settings))
        return made[method]

    return of


def columns(folder):
    """(features float64 [rows, 3], kind int [rows], attributions float64 [rows, features], the table)."""
    table = row_table(folder)
    kept = read_manifest(str(folder), "ModelAttributions").content
    x = table[[kept["kept_columns"][name] for name in NAMES[:3]]].to_numpy(np.float64)
    found = table[[kept["columns"][name] for name in NAMES]].to_numpy(np.float64)
    return x, table[kept["kept_columns"]["kind"]].to_numpy(int), found, table


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def background(folder):
    """(float64 [rows, 3], kind int [rows]) of the pinned background."""
    pinned = pq.read_table(folder / "pinned_rows.parquet").to_pandas()
    examples = [tf.train.Example.FromString(raw) for raw in pinned[pinned["role"] == "background"]["example"]]
    values = [[e.features.feature[name].float_list.value[0] for name in NAMES[:3]] for e in examples]
    return np.array(values), np.array([e.features.feature["kind"].int64_list.value[0] for e in examples])


def expected_attributions(x, kind, others, other_kind):
    halves = (x[:, None, [1, 0]] + others[None][:, :, [1, 0]]) / 2
    products = ((x[:, None, :2] - others[None, :, :2]) * halves).mean(axis=1)
    effect = EFFECT[kind] - EFFECT[other_kind].mean()
    return np.column_stack([products, 2 * (x[:, 2] - others[:, 2].mean()), effect])


def test_expected_gradients_start_from_the_background(artifacts):
    folder = artifacts("expected_gradients")
    x, kind, attributions, table = columns(folder)
    others, other_kind = background(folder)
    assert len(others) == 48
    np.testing.assert_allclose(attributions, expected_attributions(x, kind, others, other_kind), atol=2e-5)
    method = summary(folder)["method"]
    assert (method["name"], method["is_complete"], method["unit"]) == ("expected_gradients", True, "output")
    assert (method["num_steps"], method["repair_steps"], method["background_rows"]) == (192, [384, 768], 48)
    assert set(table["num_steps"]) == {192}
    assert np.abs(table["convergence_delta"]).max() < 1e-4
    assert summary(folder)["at_input_baseline"] is None
    cost = json.loads((folder / "cost.json").read_text())
    assert abs(cost["off"]["forward_equivalents"]) < 0.5
    assert "48 rows" in (folder / "report.html").read_text()


def test_gradient_x_input_is_the_first_order_term(artifacts):
    folder = artifacts("gradient_x_input")
    x, kind, attributions, table = columns(folder)
    product = x[:, 0] * x[:, 1]
    expected = np.column_stack([product, product, 2 * x[:, 2], EFFECT[kind] - EFFECT[0]])
    np.testing.assert_allclose(attributions, expected, atol=1e-5)
    assert np.isnan(table["convergence_delta"]).all()
    assert summary(folder)["examples"]["unconverged_weight_fraction"]["value"] is None


def test_rows_at_the_input_baseline_are_counted(artifacts):
    """Only row 0 is at the baseline everywhere; row 1 shares its c and its kind."""
    shown = summary(artifacts("gradient_x_input"))["at_input_baseline"]
    assert shown["all_features"] == pytest.approx(1 / ROWS, rel=1e-5)
    assert shown["features"] == pytest.approx({"a": 1 / ROWS, "b": 1 / ROWS, "c": 2 / ROWS, "kind": 2 / ROWS}, rel=1e-5)
    assert "Rows at the input baseline in every feature" in (artifacts("gradient_x_input") / "report.html").read_text()


def test_gradient_keeps_the_sign_of_numbers_and_measures_the_rest(artifacts):
    folder = artifacts("gradient")
    x, kind, attributions, _ = columns(folder)
    length = np.full(ROWS, np.linalg.norm(EFFECT))
    np.testing.assert_allclose(attributions, np.column_stack([x[:, 1], x[:, 0], np.full(ROWS, 2.0), length]), atol=1e-5)
    method = summary(folder)["method"]
    assert (method["is_complete"], method["unit"]) == (False, "output per unit of the cut tensor")
    assert "no gate passes on them" in (folder / "report.html").read_text()


def smooth(x, table):
    """The closed form: the noise of a row is a function of its id."""
    seeds = np.array([int(name[:16], 16) for name in table["id"]], np.uint64)
    moved = [
        x[:, j]
        + np.mean([0.1 * x[:, j].std() * normals(seeds, (1,), name, "0", str(s))[:, 0] for s in range(SAMPLES)], 0)
        for j, name in enumerate("ab")
    ]
    length = np.full(len(x), np.linalg.norm(EFFECT))
    return np.column_stack([moved[1], moved[0], np.full(len(x), 2.0), length])


def test_smoothgrad_is_the_mean_over_noise_of_the_rows_own(artifacts):
    """All 60 rows verify the model, so the spread is theirs."""
    folder = artifacts("smoothgrad")
    x, _, attributions, table = columns(folder)
    np.testing.assert_allclose(attributions, smooth(x, table), atol=1e-5)
    assert np.abs(attributions[:, 0] - x[:, 1]).max() > 0.05
    assert set(table["num_steps"]) == {SAMPLES}
    pins = json.loads((folder / "pins.json").read_text())["settings"]
    assert (pins["method"], pins["smoothgrad"]["samples"]) == ("smoothgrad", SAMPLES)


@pytest.mark.parametrize("method", ["expected_gradients", "smoothgrad"])
def test_an_evaluator_attributes_as_the_job_does(method, model, artifacts):
    """TFMA's batches are padded to another shape, and come in another order."""
    raw = [serialise(row) for row in rows()]
    take = TakeSmallestRows(10_000, 0)
    foundation = found(take.extract_output(take.add_input(take.create_accumulator(), np.array(raw, object))))
    loaded = _Model(model, config(method, batch_size=7), foundation)
    by_feature = loaded.attributions(raw[::-1])
    x, _, attributions, _ = columns(artifacts(method))
    order = [int(np.flatnonzero((x == [row[n][0] for n in NAMES[:3]]).all(axis=1))[0]) for row in rows()[::-1]]
    theirs = np.column_stack([by_feature[name] for name in NAMES]).astype(np.float64)
    np.testing.assert_array_equal(theirs, attributions[order])


def judged(folder, references=()):
    policy = ValidationConfig.make(
        {
            "evidence": {"min_effective_rows": 10},
            "without_reference": {"absolute_checks_decide": {"until": "2999-01-01"}},
        }
    )
    return judge_artifacts(str(folder), references, policy, datetime.date(2026, 1, 1)).verdict


def test_the_gate_takes_complete_methods_alone(artifacts):
    def verdicts(method):
        return {r.check: r.verdict for r in judged(artifacts(method)).results}

    complete = verdicts("expected_gradients")
    assert (complete["evidence_floor"], complete["completeness"]) == ("PASS", "PASS")
    for method in ("gradient", "gradient_x_input", "smoothgrad"):
        other = verdicts(method)
        assert (other["evidence_floor"], other["completeness"]) == ("INCONCLUSIVE", "INCONCLUSIVE")
        assert any(method in r.sentence for r in judged(artifacts(method)).blocking)


def reference_of(folder) -> Reference:
    candidate = read_candidate(str(folder))
    record = candidate.record("m", "1")
    pinned = candidate.manifest.read("pinned_rows.parquet")
    return Reference("default", candidate.pins, pinned, (record,), ("passed", record.fingerprint))


def test_the_reference_pins_the_background(model, artifacts, tmp_path):
    """Fewer rows would have a background of their own; with the reference's, a row's attributions are the same bits."""
    whole = artifacts("expected_gradients")
    reference = reference_of(whole)
    few = explain(tmp_path, model, rows()[:30], config("expected_gradients"), reference)
    assert read_candidate(str(few)).pins == reference.pins
    ours, theirs = (row_table(folder).set_index("id") for folder in (few, whole))
    assert len(ours) == 30
    names = [c for c in ours if c.startswith("attribution_")]
    np.testing.assert_array_equal(ours[names], theirs.loc[ours.index, names])


def test_another_method_or_background_is_not_comparable(artifacts):
    pins = reference_of(artifacts("expected_gradients")).pins
    other = read_candidate(str(artifacts("gradient_x_input"))).pins
    assert any("method ('gradient_x_input' here" in words for words in other.differences(pins, NAMES))
    moved = dataclasses.replace(pins, settings={**pins.settings, "background": "another"})
    assert [words.split()[0] for words in moved.differences(pins, NAMES)] == ["background"]
    assert moved.digest() != pins.digest()
