"""Features without a gradient, wholly or in part: which operation keeps it from them."""

import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import SPEC, columns, network, numbers, random_matrix, save

from tfx_explain.engine.feature_graph import (
    FeatureModel,
    NoGradientError,
    OutputError,
    PermutationModel,
    PredictionModel,
)
from tfx_explain.engine.feature_graph.blocked import without_gradient
from tfx_explain.engine.feature_graph.named_operation import NamedOperation
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients

pytestmark = pytest.mark.tf

X = random_matrix(32)
SAMPLE = numbers(X[:16])


def uncovered(parsed, _):
    smooth = tf.where(tf.greater(parsed["a"], 0.2, name="cond_3"), tf.tanh(parsed["b"]), parsed["b"] * parsed["c"])
    return {"score": smooth}


def in_part(parsed, _):
    return {"score": parsed["a"] + tf.where(tf.greater(parsed["a"], 0.2, name="step"), parsed["b"], parsed["c"])}


def bucketised(parsed, _):
    return {"score": parsed["a"] * parsed["b"] + tf.cast(parsed["a"] > 0.2, tf.float32) + parsed["c"]}


@pytest.mark.parametrize(
    ("make", "features", "missing", "blocked"),
    [
        (uncovered, ("b", "c"), ("a",), {"a": ("Greater", "cond_3")}),
        (in_part, ("a", "b", "c"), (), {"a": ("Greater", "step")}),
        (bucketised, ("a", "b", "c"), (), {}),
    ],
)
def test_what_is_covered_and_what_is_not(make, features, missing, blocked, tmp_path):
    model = FeatureModel.load(save(tmp_path / "m", make), sample=SAMPLE)
    assert (model.features, model.uncovered_features) == (features, missing)
    assert {name: (b.operation, b.name.split("/")[-1]) for name, b in model.blocked.items()} == blocked


def test_what_is_missing_shows_in_the_convergence_delta(tmp_path):
    """Of a + (b where a > 0.2, else c), what the step of a changes is missing: the rest is attributed."""
    model = FeatureModel.load(save(tmp_path / "m", in_part), sample=SAMPLE)
    baseline = np.array([[-1.0, 0.25, 0.5]], np.float32)
    result = integrated_gradients(model, model.encode(numbers(X)), model.encode(numbers(baseline)), 0, num_steps=4)
    above = X[:, 0] > 0.2
    np.testing.assert_allclose(result.attributions[:, 0], X[:, 0] + 1, atol=1e-5)
    np.testing.assert_allclose(result.attributions[:, 1], np.where(above, X[:, 1] - 0.25, 0), atol=1e-5)
    np.testing.assert_allclose(result.convergence_delta, np.where(above, 0.25, 0), atol=1e-5)


def leaves(parsed, _):
    root = tf.cast(tf.greater(parsed["a"], 0.0, name="root"), tf.int32)
    return {"score": tf.gather([1.0, 2.0, 4.0, 8.0], 2 * root + tf.cast(parsed["b"][:, :] > 0.5, tf.int32))}


def sums(parsed, _):
    return {"score": tf.cast(tf.greater(tf.add_n([parsed[n] for n in "abc"]), 0.0, name="above"), tf.float32)}


def words(parsed, _):
    same = tf.logical_and(tf.equal(parsed["word"], "x", name="is_x"), parsed["a"] > 0)
    return {"score": tf.gather([1.0, 3.0], tf.cast(same, tf.int32))}


@pytest.mark.parametrize(
    ("make", "first", "used"),
    [
        (leaves, {"a": "root", "b": "Greater"}, ("a", "b")),
        (sums, dict.fromkeys("abc", "above"), ("a", "b", "c")),
        (words, {"a": "Greater", "word": "is_x"}, ("a", "word")),
    ],
)
def test_a_model_without_gradients_predicts_and_permutes(make, first, used, tmp_path):
    spec = {**SPEC, "word": tf.io.FixedLenFeature([1], tf.string, "x")}
    path = save(tmp_path / "m", make, spec)
    with pytest.raises(NoGradientError) as caught:
        FeatureModel.load(path, sample=SAMPLE)
    model = PredictionModel.load(path, sample=SAMPLE, reason="unknown")
    assert model.reason == str(caught.value)
    assert (model.features, model.uncovered_features) == ((), used)
    assert set(model.unused_features) == {*spec} - {*used}
    assert {name: blocker.name.split("/")[-1] for name, blocker in model.blocked.items()} == first
    for name, blocker in model.blocked.items():
        assert f"'{name}'" in model.reason and str(blocker) in model.reason
    whole = tf.saved_model.load(path).signatures["serving_default"](tf.constant(numbers(X)))["score"].numpy()
    encoded = model.encode(numbers(X))
    np.testing.assert_array_equal(model.predict(encoded), whole)
    np.testing.assert_array_equal(model.explained_value(encoded, np.zeros(len(X))), whole[:, 0])
    assert PermutationModel.of(model.opened).features == used


def test_an_output_of_class_numbers_is_predicted(tmp_path):
    net = network(targets=3)
    path = save(tmp_path / "m", lambda p, _: {"classes": tf.argmax(net(columns(p)), 1, name="best")}, module=net)
    with pytest.raises(NoGradientError, match="'classes': 'int64'"):
        FeatureModel.load(path, sample=SAMPLE)
    model = PredictionModel.load(path, sample=SAMPLE, reason="unknown", from_logits=True)
    assert (model.output, model.link, model.unit, model.num_targets) == ("classes", "class", "output", 1)
    assert "features 'a', 'b', 'c' reach the output only through ArgMax" in model.reason
    expected = tf.argmax(net(X), 1).numpy()
    np.testing.assert_array_equal(model.predict(model.encode(numbers(X)))[:, 0], expected)
    assert len(set(expected)) > 1
    assert not model.notes  # an argmax is a class: nothing to choose
    amount = PredictionModel.load(path, sample=SAMPLE, reason="unknown", integer_output="amount")
    assert amount.link == "raw"
    with pytest.raises(OutputError, match="'scores'"):
        PredictionModel.load(save(tmp_path / "n", bucketised), sample=SAMPLE, reason="unknown", output="scores")


def test_integers_that_are_no_argmax_are_classes_with_a_note(tmp_path):
    path = save(tmp_path / "m", lambda p, _: {"n": tf.cast(tf.round(p["a"] + p["b"]), tf.int64)})
    (note,) = PredictionModel.load(path, sample=SAMPLE, reason="unknown").notes
    assert "'n'" in note and "integer_output: amount" in note
    amount = PredictionModel.load(path, sample=SAMPLE, reason="unknown", integer_output="amount")
    assert (amount.link, amount.notes) == ("raw", ())


def test_names_of_classes_get_their_numbers(tmp_path):
    def serve(parsed, _):
        return {"name": tf.gather(["red", "green", "none"], tf.argmax(columns(parsed), 1))[:, None]}

    path = save(tmp_path / "m", serve)
    with pytest.raises(NoGradientError, match="'name': 'string'.* class_names"):
        PredictionModel.load(path, sample=SAMPLE, reason="unknown")
    model = PredictionModel.load(path, sample=SAMPLE, reason="unknown", class_names=("green", "red"))
    assert (model.output, model.link, model.uncovered_features) == ("name", "class", ("a", "b", "c"))
    assert "class_names" in model.notes[0] and len(model.notes) == 1
    found = model.predict(model.encode(numbers(X)))[:, 0]
    np.testing.assert_array_equal(found, np.array([1, 0, -1])[X.argmax(axis=1)])
    assert PermutationModel.of(model.opened).features == ("a", "b", "c")


def test_many_features_are_told_by_operation():
    forest = {f"f{i:02}": NamedOperation("Greater", f"cond_{i % 12}") for i in range(40)}
    sentence = without_gradient(forest, forest)
    assert sentence.startswith("features 'f00', 'f12', 'f24', 'f36' reach the output only through Greater ('cond_0'),")
    assert sentence.endswith("others go through 2 more operations")
    assert without_gradient(["g"], {}) == (
        "feature 'g' reaches the output by no tensor of one feature with one row an example"
    )
