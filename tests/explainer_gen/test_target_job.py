"""Targets through the job: by class name, label or prediction; what artifacts say of them, and what is comparable."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from tests.explainer_gen.evidence_data import NAMES, config, explain, row_table, statistics, write_examples

from tfx_explain.artifacts.pins import PINS_FILE, Pins
from tfx_explain.explainer_gen.job_spec import JobSpec, ModelFacts
from tfx_explain.explainer_gen.labels import Source
from tfx_explain.explainer_gen.paired import incomparable, reference_spec
from tfx_explain.explainer_gen.results import pins_of

pytestmark = pytest.mark.pipeline

CLASSES = ("cat", "dog", "owl")
WEIGHTS = np.array([[1.0, -2.0, 0.5], [0.5, 1.0, -1.0], [2.0, 0.0, 1.0]], np.float32)
CENTRED = WEIGHTS - WEIGHTS.mean(axis=1, keepdims=True)


def served(path, names, weights):
    """A signature of tensors: softmax of a linear model, and the classes' names."""
    module = tf.Module()
    specs = [tf.TensorSpec([None], tf.float32, name=name) for name in NAMES]

    @tf.function(input_signature=specs)
    def serve(a, b, c):
        classes = tf.tile(tf.constant([names]), [tf.shape(a)[0], 1])
        return {"classes": classes, "scores": tf.nn.softmax(tf.stack([a, b, c], 1) @ weights)}

    module.serve = serve
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    return str(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return served(tmp_path_factory.mktemp("model") / "m", CLASSES, WEIGHTS)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Sixty rows, `c` an int; two of them have no label that is a class."""
    rng = np.random.default_rng(5)
    rows = []
    for i in range(60):
        a, b, c = (*rng.normal(size=2).tolist(), int(rng.integers(-3, 4)))
        rows.append({"a": [a], "b": [b], "c": [c], "kind": [CLASSES[i % 3]], "rank": [i]})
    rows[0]["kind"], rows[1]["kind"] = ["cow"], []
    return write_examples(tmp_path_factory.mktemp("examples") / "data", rows), rows


def run(folder, model, examples, **settings):
    """(summary, row files by rank, pins) of a job whose input baseline is zeros."""
    baseline = {"a": 0.0, "b": 0.0, "c": 0}
    settings = config(batch_size=32, label={"key": "kind"}, keep_features=["rank"], input_baseline=baseline, **settings)
    summary = explain(folder, model, examples[0], settings)
    pins = Pins.from_json((folder / PINS_FILE).read_text())
    return summary, row_table(folder).sort_values("feature_rank"), pins


@pytest.fixture(scope="module")
def runs(model, examples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {t: (*run(folder / str(t), model, examples, target=t), folder / str(t)) for t in ("dog", "label", None)}


def expected(rows, columns):
    """Each weight by its input, of the target's column: [rows, 3]."""
    inputs = np.array([[row[n][0] for n in NAMES] for row in rows], np.float64)
    return inputs * CENTRED.T[columns]


def attributed(table):
    return table[[f"attribution_{name}" for name in NAMES]].to_numpy()


def test_a_class_is_explained_by_its_name(runs, examples):
    summary, table, pins, folder = runs["dog"]
    assert (summary["model"]["target"], summary["model"]["class_names"]) == ("dog", list(CLASSES))
    assert (summary["model"]["unit"], summary["examples"]["failed_rows"]) == ("logit", 0)
    assert set(table["target"]) == {1} and set(table["target_name"]) == {"dog"}
    assert set(statistics(folder)["target"]) == {"dog"} and pins.settings["target"] == "dog"
    np.testing.assert_allclose(attributed(table), expected(examples[1], [1] * 60), atol=1e-5)


def test_each_rows_own_class_is_explained(runs, examples):
    summary, table, _, _ = runs["label"]
    columns = [CLASSES.index(row["kind"][0]) for row in examples[1][2:]]
    assert table["target"].tolist() == columns
    assert table["target_name"].tolist() == [CLASSES[i] for i in columns]
    np.testing.assert_allclose(attributed(table), expected(examples[1][2:], columns), atol=1e-5)
    assert summary["examples"]["failed_rows"] == 2
    ((reason, count),) = summary["examples"]["failure_reasons"].items()
    assert "label" in reason and count == 2


def test_names_are_labels_of_metrics(runs, examples):
    summary, table, _, _ = runs[None]
    assert summary["model"]["target"] == "predicted"
    inputs = np.array([[row[n][0] for n in NAMES] for row in examples[1]])
    predicted = np.argmax(inputs @ WEIGHTS, axis=1)
    assert table["target"].tolist() == predicted.tolist()
    right = [CLASSES[p] == row["kind"][0] for p, row in zip(predicted[2:], examples[1][2:], strict=True)]
    assert summary["metrics"]["sparse_categorical_accuracy"]["value"] == pytest.approx(np.mean(right), abs=1e-5)


def test_targets_are_comparable_with_themselves_alone(runs, model, examples, tmp_path):
    digests = {name: pins.digest() for name, (_, _, pins, _) in runs.items()}
    _, _, by_number, _ = (*run(tmp_path / "number", model, examples, target=1), None)
    assert by_number.digest() == digests["dog"]
    assert len(set(digests.values())) == 3
    differences = runs["dog"][2].differences(runs[None][2], ())
    assert differences == ["target ('dog' here, 'predicted' in the reference)"]
    swapped = served(tmp_path / "swapped", ("dog", "cat", "owl"), WEIGHTS[:, [1, 0, 2]])
    _, _, other, _ = (*run(tmp_path / "other", swapped, examples), None)
    assert [d.split(" ")[0] for d in other.differences(runs[None][2], ())] == ["class_names"]


def test_a_label_that_is_the_target_must_be_configured(model, examples, tmp_path):
    settings = config(batch_size=32, target="label", input_baseline={"a": 0.0, "b": 0.0, "c": 0})
    summary = explain(tmp_path / "a", model, examples[0], settings)
    assert summary["status"] == "not_explained"
    assert "target 'label' needs labels, and there are none" in summary["reason"]


def test_the_reference_model_reads_the_label_that_is_the_target():
    label = Source("kind")
    spec = JobSpec(model_path="m", config=config(target="label", label={"key": "kind"}), label=label)
    assert reference_spec(spec, "other", "f").label == label
    other = dataclasses.replace(spec, config=config(label={"key": "kind"}))
    assert reference_spec(other, "other", "f").label is None
    one = ModelFacts(target="predicted", class_names=CLASSES)
    assert "class_names" in (incomparable(one, dataclasses.replace(one, class_names=CLASSES[::-1])) or "")
    assert json.loads(spec.config.to_json())["target"] == "label"


def test_the_label_that_is_the_target_is_pinned():
    """By another label other columns are explained, and a model is compared with what it is not."""

    def pins(key, target="label"):
        spec = JobSpec(model_path="m", config=config(target="label", label={"key": key}), label=Source(key))
        return pins_of(spec, ModelFacts(target=target), (), 1.0)

    assert pins("kind").differences(pins("kind"), ()) == []
    assert pins("guess").differences(pins("kind"), ()) == ["label ('guess' here, 'kind' in the reference)"]
    assert pins("guess", "predicted").differences(pins("kind", "predicted"), ()) == []
