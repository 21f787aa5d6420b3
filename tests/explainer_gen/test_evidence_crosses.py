"""A number beside crosses of it: attributed to the pair, or in equal parts; and what it carries in all of them."""

import datetime
import json

import numpy as np
import pytest
import tensorflow as tf
from tests.explainer_gen.evidence_data import NAMES, config, explain, row_table, write_examples

from tfx_explain.attribution_reference.store import Reference, write_reference
from tfx_explain.attribution_validator.evidence import judge_artifacts, read_candidate
from tfx_explain.config import ValidationConfig

pytestmark = pytest.mark.pipeline

TABLE = np.array([1.0, -2.0, 3.0, 5.0], np.float32)
GROUPS = {"both": ("a", "b")}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(x [rows, 3], artifact by rule, summary by rule) of 2 a + TABLE[a > 0, b > 0] + c."""
    folder = tmp_path_factory.mktemp("crosses")
    spec = {name: tf.io.FixedLenFeature([1], tf.float32) for name in NAMES}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        parsed = tf.io.parse_example(examples, spec)
        cell = 2 * tf.cast(parsed["a"] > 0, tf.int32) + tf.cast(parsed["b"] > 0, tf.int32)
        return {"outputs": 2 * parsed["a"] + tf.gather(tf.constant(TABLE), cell) + parsed["c"]}

    tf.saved_model.save(tf.Module(), str(folder / "model"), signatures={"serving_default": serve})
    x = np.random.default_rng(2).normal(size=(400, 3)).astype(np.float32)
    rows = [{n: [float(v)] for n, v in zip(NAMES, values, strict=True)} for values in x]
    examples = write_examples(folder / "examples", rows)
    summaries = {
        rule: explain(
            folder / rule,
            str(folder / "model"),
            examples,
            config(crosses=rule, feature_groups=GROUPS, keep_features=NAMES),
        )
        for rule in ("pair", "equal")
    }
    return folder, summaries


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    """Artifact of a model that leans on `a` in three features of a quarter each, none of which moves with another."""
    folder = tmp_path_factory.mktemp("spread")
    spec = {name: tf.io.FixedLenFeature([1], tf.float32) for name in NAMES}
    differ = tf.constant([0.0, 1.5, 1.5, 0.0])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        parsed = tf.io.parse_example(examples, spec)
        a, b, c = (tf.cast(parsed[name] > 0, tf.int32) for name in NAMES)
        crosses = tf.gather(differ, 2 * a + b) + tf.gather(differ, 2 * a + c)
        return {"outputs": parsed["a"] + crosses + 0.5 * parsed["b"] + 0.5 * parsed["c"]}

    tf.saved_model.save(tf.Module(), str(folder / "model"), signatures={"serving_default": serve})
    x = np.random.default_rng(3).normal(size=(1000, 3)).astype(np.float32)
    rows = [{n: [float(v)] for n, v in zip(NAMES, values, strict=True)} for values in x]
    examples = write_examples(folder / "examples", rows)
    return folder / "artifact", explain(folder / "artifact", str(folder / "model"), examples, config())


def parts(rows):
    """(2 a, the cross) of each row, less what the baseline of zeros gives."""
    a, b = (rows[f"feature_{name}"].to_numpy() for name in "ab")
    return 2 * a, TABLE[2 * (a > 0) + (b > 0)] - TABLE[0]


def test_the_pair_keeps_its_attribution(runs):
    folder, summaries = runs
    assert {f["name"] for f in summaries["pair"]["features"]} == {"a", "a x b", "c"}
    rows = row_table(folder / "pair")
    own, cross = parts(rows)
    np.testing.assert_allclose(rows["attribution_a"], own, atol=1e-5)
    np.testing.assert_allclose(rows["attribution_a_x_b"], cross, atol=1e-5)


def test_equal_parts_reach_rows_shares_and_groups(runs):
    folder, summaries = runs
    summary = summaries["equal"]
    assert {f["name"]: f["cut_policy"] for f in summary["features"]} == dict.fromkeys("abc", "feature")
    assert summary["method"]["crosses"] == "equal" and summaries["pair"]["method"]["crosses"] == "pair"
    rows = row_table(folder / "equal")
    own, cross = parts(rows)
    np.testing.assert_allclose(rows["attribution_a"], own + cross / 2, atol=1e-5)
    np.testing.assert_allclose(rows["attribution_b"], cross / 2, atol=1e-5)
    np.testing.assert_allclose(rows["convergence_delta"], 0, atol=1e-5)
    total = {name: np.abs(rows[f"attribution_{name}"]).sum() for name in "abc"}
    shares = {f["name"]: f["share"] for f in summary["features"]}
    for name, value in total.items():
        assert shares[name] == pytest.approx(value / sum(total.values()), rel=1e-5)
    together = np.abs(rows["attribution_a"] + rows["attribution_b"]).sum()
    assert summary["group_shares"]["both"]["value"] == pytest.approx(together / sum(total.values()), rel=1e-5)


def test_the_rule_is_pinned_and_another_is_not_comparable(runs, tmp_path):
    folder, summaries = runs
    pins = {rule: json.loads((folder / rule / "pins.json").read_text())["settings"] for rule in summaries}
    assert pins["equal"]["crosses"] == "equal" and "crosses" not in pins["pair"]
    digests = {s["fingerprints"]["comparability"] for s in summaries.values()}
    assert len(digests) == 2
    passed = read_candidate(str(folder / "pair"))
    record = passed.record("m", "1")
    rows = passed.manifest.read("pinned_rows.parquet")
    write_reference(
        str(tmp_path / "reference"),
        Reference("default", passed.pins, rows, (record,), ("passed", record.fingerprint)),
    )
    today = datetime.date(2030, 1, 1)
    judged = judge_artifacts(str(folder / "equal"), [str(tmp_path / "reference")], ValidationConfig(), today)
    (result,) = judged.verdict.results
    assert (result.check, result.verdict) == ("comparability", "INCONCLUSIVE")
    assert "crosses ('equal' here, None in the reference)" in result.sentence


def test_a_group_is_measured_with_the_crosses_of_its_members(runs):
    folder, summaries = runs
    summary = summaries["pair"]
    assert summary["groups"] == {"both": ["a", "a x b"]}  # the family of a, too; b stands in its cross alone
    assert summaries["equal"]["groups"] == {"both": ["a", "b"]}
    assert not [note for note in summary["notes"] if "is measured without" in note]
    rows = row_table(folder / "pair")
    total = sum(np.abs(rows[f"attribution_{name}"]).sum() for name in ("a", "a_x_b", "c"))
    together = np.abs(rows["attribution_a"] + rows["attribution_a_x_b"]).sum()
    assert summary["group_shares"]["both"]["value"] == pytest.approx(together / total, rel=1e-5)


def test_a_feature_does_not_hide_in_its_crosses(spread):
    artifact, summary = spread
    assert set(summary["groups"]) == {f"{name} and its crosses" for name in NAMES}
    assert max(f["share"] for f in summary["features"]) < 0.3

    def judged(cap, **settings):
        policy = {
            "evidence": {"min_effective_rows": 500, "min_num_steps": 4},
            "without_reference": {"absolute_checks_decide": {"until": "2999-01-01"}},
            "checks": {"max_share": {"threshold": cap}},
            **settings,
        }
        config = ValidationConfig.model_validate(policy)
        return judge_artifacts(str(artifact), [], config, datetime.date(2030, 1, 1)).verdict

    (result,) = (r for r in judged(0.5).results if r.verdict == "FAIL")
    assert (result.check, result.verdict, result.feature) == ("max_share", "FAIL", "a and its crosses")
    assert "The group 'a and its crosses' ('a', 'a x b', 'a x c') carries" in result.sentence
    by_nature = {"a and its crosses": {"max_share": 0.7, "reason": "it leads by nature"}}
    assert judged(0.5, dominant_features=by_nature).blessed
    assert judged(0.7).blessed
