"""Evaluator's slices, label and weight in a job that is given its result."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tests.explainer_gen.evidence_data import (
    NAMES,
    WEIGHTS,
    config,
    explain,
    planted,
    statistics,
    table,
    write_examples,
)
from tests.report.page_reader import Page

from tfx_explain.names import slice_name

pytestmark = pytest.mark.pipeline

METRICS = ("ExampleCount", "WeightedExampleCount", "AUC", "BinaryCrossentropy", "BinaryAccuracy")


def make_rows(count=400):
    rng = np.random.default_rng(9)
    x = rng.normal(size=(count, 3)).astype(np.float32)
    label = rng.random(count) < 1 / (1 + np.exp(-x @ np.array(WEIGHTS)))
    rows = []
    for i in range(count):
        row = {n: [float(v)] for n, v in zip(NAMES, x[i], strict=True)}
        row |= {"city": ["xyz"[i % 3]], "hour": [int(i % 2)]}
        rows.append(row | {"y": [int(label[i])], "w": [float(np.float32(rng.uniform(0.5, 2)))]})
    return rows + rows[:30]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """(artifact, summary, Evaluator's result)."""
    folder = tmp_path_factory.mktemp("evaluation")
    model = planted(folder / "model", sigmoid=True)
    examples = write_examples(folder / "examples", make_rows())
    eval_config = config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(label_key="y", example_weight_key="w", signature_name="serving_default")],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=["city", "hour"]),
            config_pb2.SlicingSpec(feature_values={"city": "x"}),
            config_pb2.SlicingSpec(feature_keys=["band"]),
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=[config_pb2.MetricConfig(class_name=name) for name in METRICS])],
    )
    result = tfma.run_model_analysis(
        eval_shared_model=tfma.default_eval_shared_model(model, eval_config=eval_config),
        eval_config=eval_config,
        data_location=examples,
        output_path=str(folder / "evaluation"),
    )
    chosen = config(
        slices={"specs": [{"feature_keys": ["hour"]}], "min_slice_size": 1},
        required_slices=[{"feature_values": {"hour": 1}}],
    )
    summary = explain(folder / "out", model, examples, chosen, evaluation=str(folder / "evaluation"))
    return folder / "out", summary, result


def test_evaluators_slices_are_taken_and_all_are_joined(job):
    out, summary, result = job
    theirs = {key for key, _ in result.slicing_metrics}
    assert len(theirs) == 1 + 6 + 1 + len({key for key in theirs if key and key[0][0] == "band"})
    names = set(table(out, "slices.parquet")["slice"])
    # Those of the configuration give way to Evaluator's; what checks name stays.
    assert names == {slice_name(key) for key in theirs} | {"hour=1"}
    slicing = summary["slicing"]
    assert slicing["joined"] == len(theirs)
    assert slicing["only_evaluators"] == [] and slicing["only_ours"] == ["hour=1"]
    assert summary["evaluation"] is not None


def test_evaluators_metrics_stand_beside_ours(job):
    out, summary, result = job
    found, slices = statistics(out)["value"], table(out, "slices.parquet").set_index("slice")
    entries = {entry["name"]: entry for entry in summary["slices"]}
    for key, _ in result.slicing_metrics:
        name = slice_name(key)
        shown = summary if not key else entries[name]
        theirs = {m: v["value"] for m, v in shown["evaluator_metrics"].items()}
        expected = result.get_metrics_for_slice(key)
        assert set(theirs) == set(expected) >= {"auc", "binary_crossentropy", "example_count"}
        for metric, value in theirs.items():
            raw = expected[metric]["doubleValue"]
            if value is not None and raw != "NaN":
                assert value == pytest.approx(raw, rel=1e-5)
        # Evaluator's label and weight are ours: the same rows give the same numbers.
        assert theirs["weighted_example_count"] == pytest.approx(slices["weight"][name], rel=1e-5)
        assert found[name, "", "binary_crossentropy"] == pytest.approx(theirs["binary_crossentropy"], abs=1e-5)
        assert found[name, "", "binary_accuracy"] == pytest.approx(theirs["binary_accuracy"], abs=1e-5)
        if found[name, "", "label_mean"] in (0, 1):
            assert np.isnan(found[name, "", "auc"])  # TFMA has 0 here
        else:
            # Scores of one histogram bin are tied here: in slices of some 70 rows that is worth a pair or two.
            assert found[name, "", "auc"] == pytest.approx(theirs["auc"], abs=4e-3)
    assert "evaluator_metrics" not in entries["hour=1"]


def test_the_weight_is_pinned_so_that_rows_that_weigh_otherwise_are_not_compared(job):
    pins = json.loads((job[0] / "pins.json").read_text())
    assert pins["settings"]["example_weight_key"] == "w"


def test_the_tables_for_tfma_keep_evaluators_configuration(job):
    ours = tfma.load_eval_result(str(job[0] / "tfma"))
    assert [list(s.feature_keys) for s in ours.config.slicing_specs] == [
        list(s.feature_keys) for s in job[2].config.slicing_specs
    ]
    assert ours.config.model_specs[0].label_key == "y"
    assert tf.io.gfile.exists(str(job[0] / "tfma" / "eval_config.json"))


def test_metrics_of_another_signature_are_joined_with_a_warning(job, tmp_path):
    folder = job[0].parent
    assert job[1]["evaluator_differs"] == []
    evaluation = shutil.copytree(folder / "evaluation", tmp_path / "evaluation")
    stored = evaluation / "eval_config.json"
    stored.write_text(stored.read_text().replace("serving_default", "serving_raw"))
    summary = explain(
        tmp_path / "out", str(folder / "model"), str(folder / "examples"), config(), evaluation=str(evaluation)
    )
    (sentence,) = summary["evaluator_differs"]
    assert "'serving_raw'" in sentence and "'serving_default'" in sentence
    assert set(summary["evaluator_metrics"]) >= {"auc"}
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert sentence in page.text
