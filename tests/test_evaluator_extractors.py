"""A stock Evaluator with our module: TFMA's attribution metrics are the means of our own attributions."""

import json
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tests.fixtures.exported_models.export import export
from tfx.components.evaluator.executor import Executor
from tfx.types import standard_artifacts
from tfx.utils import proto_utils
from tfx_bsl.tfxio import tf_example_record

from tfx_explain import ExplainConfig
from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients
from tfx_explain.evaluator_extractors import custom_extractors
from tfx_explain.explainer_gen.attributions_extractor import TakeSmallestRows, found
from tfx_explain.explainer_gen.evaluator_metrics import join_slices, read_evaluator_metrics
from tfx_explain.explainer_gen.examples import read_example, write_example

pytestmark = pytest.mark.pipeline

ROWS = 200
METRICS = ("TotalAttributions", "TotalAbsoluteAttributions", "MeanAttributions", "MeanAbsoluteAttributions")


@pytest.fixture(scope="module")
def model():
    return export("bucketize_smooth")


def eval_config(metrics=METRICS):
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(label_key="label", signature_name="serving_default")],
        slicing_specs=[config_pb2.SlicingSpec(), config_pb2.SlicingSpec(feature_keys=["label"])],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[config_pb2.MetricConfig(class_name=name) for name in ("ExampleCount", "AUC", *metrics)]
            )
        ],
    )


def write_rows(folder: Path, rows):
    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "data-00000-of-00001.gz"), "GZIP") as writer:
        for row in rows:
            writer.write(row)


def own_attributions(model, rows, baseline):
    """float64 [rows, features], and the features' names."""
    loaded = FeatureModel.load(model.path, sample=rows[:64], input_baseline=baseline)
    encoded = loaded.encode(rows)
    result = integrated_gradients(loaded, encoded, loaded.encode([baseline]), 0)
    assert result.converged.all()
    return result.attributions.astype(np.float64), loaded.features


def labels_of(rows):
    return np.array([read_example(row)["label"][1][0] for row in rows])


def lower_medians(rows):
    """What the sample's baseline must be, worked out without the package's own code: all features hold numbers."""
    table = {}
    for row in rows:
        for name, (kind, values) in read_example(row).items():
            table.setdefault((name, kind), []).append(values[0])
    return write_example(
        {name: (kind, [sorted(values)[(len(values) - 1) // 2]]) for (name, kind), values in table.items()}
    )


def check(result, attributions, features, labels):
    chosen = {(): np.ones(len(labels), bool)} | {(("label", int(v)),): labels == v for v in np.unique(labels)}
    assert len(chosen) == 3
    assert {key for key, _ in result.attributions} == set(chosen)
    for key, rows in chosen.items():
        of_slice = attributions[rows]
        for name, expected in (
            ("total_attributions", of_slice.sum(axis=0)),
            ("total_absolute_attributions", np.abs(of_slice).sum(axis=0)),
            ("mean_attributions", of_slice.mean(axis=0)),
            ("mean_absolute_attributions", np.abs(of_slice).mean(axis=0)),
        ):
            got = result.get_attributions_for_slice(key, metric_name=name)
            assert set(got) == set(features)
            scale = rows.sum() if name.startswith("total") else 1
            values = np.array([got[f]["doubleValue"] for f in features])
            np.testing.assert_allclose(values / scale, expected / scale, rtol=0, atol=1e-6)


def test_a_stock_evaluator_attributes_against_the_medians_of_its_rows(model, tmp_path):
    rows = model.examples[:ROWS]
    write_rows(tmp_path / "examples" / "Split-eval", rows)
    examples, trained, evaluation, blessing = (
        standard_artifacts.Examples(),
        standard_artifacts.Model(),
        standard_artifacts.ModelEvaluation(),
        standard_artifacts.ModelBlessing(),
    )
    for artifact, name in ((examples, "examples"), (trained, "model"), (evaluation, "out"), (blessing, "blessing")):
        artifact.uri = str(tmp_path / name)
    examples.split_names = json.dumps(["eval"])
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "Format-Serving").symlink_to(model.path)
    Executor().Do(
        {"examples": [examples], "model": [trained]},
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(eval_config()),
            "example_splits": json.dumps(["eval"]),
            "module_path": "tfx_explain.evaluator_extractors",
        },
    )
    result = tfma.load_eval_result(evaluation.uri)
    attributions, features = own_attributions(model, rows, lower_medians(rows))
    check(result, attributions, features, labels_of(rows))
    assert tfma.view.render_slicing_attributions(result, metric_name="mean_attributions").data[0]["slice"] == "Overall"
    # what Evaluator wrote is what the reader of its metrics takes
    metrics = read_evaluator_metrics(evaluation.uri)
    assert metrics.slices[()]["example_count"].value == ROWS
    assert metrics.slices[()]["auc"].value == pytest.approx(result.get_metrics_for_slice()["auc"]["doubleValue"])
    ours = [(), (("label", 0),), (("label", 1),), (("label", 2),)]
    joined = join_slices(ours, metrics.slices)
    assert (len(joined.matched), joined.only_ours, joined.only_evaluators) == (3, ((("label", 2),),), ())


def test_a_given_baseline_and_a_baseline_model(model, tmp_path):
    """Both models are attributed, against the baseline that a module of one's own gives."""
    rows = model.examples[:70]
    config = ExplainConfig(input_baseline={"amount": 1.0, "number": 2.0, "other": 0.5, "label": 0}, batch_size=16)
    write_rows(tmp_path / "examples", rows)
    settings = eval_config(("MeanAttributions",))
    settings = tfma.utils.update_eval_config_with_defaults(settings, has_baseline=True)
    models = [
        tfma.default_eval_shared_model(export(exported).path, model_name=name, eval_config=settings)
        for name, exported in (("candidate", "bucketize_smooth"), ("baseline", "bucketize_relu"))
    ]
    source = tf_example_record.TFExampleRecord(
        str(tmp_path / "examples" / "*"), raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN
    )
    with beam.Pipeline() as pipeline:
        _ = (
            pipeline
            | "Read" >> source.BeamSource(batch_size=33)
            | tfma.ExtractEvaluateAndWriteResults(
                eval_shared_model=models,
                eval_config=settings,
                extractors=custom_extractors(models, settings, None, config=config),
                output_path=str(tmp_path / "out"),
            )
        )
    given = write_example({"amount": ("f", [1.0]), "number": ("f", [2.0]), "other": ("f", [0.5]), "label": ("i", [0])})
    for name, exported in (("candidate", "bucketize_smooth"), ("baseline", "bucketize_relu")):
        expected, features = own_attributions(export(exported), rows, given)
        got = tfma.load_eval_result(str(tmp_path / "out"), model_name=name).get_attributions_for_slice()
        values = [got[f]["doubleValue"] for f in features]
        np.testing.assert_allclose(values, expected.mean(axis=0), rtol=0, atol=1e-6)


def test_the_extractor_stands_behind_the_predictions_and_only_where_it_is_asked_for(model):
    shared = tfma.default_eval_shared_model(model.path, eval_config=eval_config())
    names = [e.stage_name for e in custom_extractors(shared, eval_config())]
    assert names.index("ExtractAttributions") == names.index("ExtractPredictions") + 1
    assert names.index("ExtractAttributions") < names.index("ExtractUnbatchedInputs")
    plain = [e.stage_name for e in custom_extractors(shared, eval_config(()))]
    assert plain == [n for n in names if n != "ExtractAttributions"]
    assert plain == [e.stage_name for e in tfma.default_extractors(shared, eval_config())]


def test_ready_predictions_are_refused():
    with pytest.raises(ValueError, match="attributions need a SavedModel"):
        custom_extractors(None, eval_config())


def test_the_sample_does_not_depend_on_bundles(model):
    rows = np.array([*model.examples[:40], *model.examples[:10]], object)
    combine = TakeSmallestRows(25, seed=3)

    def joined(cuts):
        parts = [combine.add_input(combine.create_accumulator(), part) for part in np.split(rows, cuts)]
        return combine.extract_output(combine.merge_accumulators(parts))

    whole, pieces = joined([]), joined([7, 20, 44])
    assert (whole.keys == pieces.keys).all()
    assert (whole.count == pieces.count).all()
    assert len(whole.keys) == 25
    twice = set(model.examples[:10])
    assert [raw in twice for raw in whole.raw] == (whole.count == 2).tolist()
    assert 0 < (whole.count == 2).sum() < 25
    assert [p.central for p in found(whole).profiles] == [p.central for p in found(pieces).profiles]
    assert found(whole).sample == found(pieces).sample
