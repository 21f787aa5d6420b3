"""The layer behind joins, shifted by replaced features: it gives what the whole model gives, to rounding."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import NAMES, SPEC, columns, network, random_matrix, save
from tests.fixtures.exported_models.examples import serialise
from tests.fixtures.exported_models.export import KERAS_MODELS, TRANSFORM_MODELS, export, export_with_references

from tfx_explain.engine.feature_graph import PermutationModel, first_layer, narrow, open_model

pytestmark = pytest.mark.tf

ROWS = 64
WORDS = ("red", "green", "blue", "black")


def example(row, word):
    return serialise({k: [float(v)] for k, v in zip(NAMES, row, strict=True)} | {"word": [word]})


def examples(matrix):
    return [example(row, WORDS[i % 4]) for i, row in enumerate(matrix)]


EXAMPLES = examples(random_matrix(ROWS))


@pytest.fixture
def make(tmp_path, monkeypatch):
    """(function of the parsed features, what holds its variables) -> what is opened; the narrowest layer counts."""
    monkeypatch.setattr(first_layer, "LEAST_WIDTH", 2)

    def build(function, net=None, sample=EXAMPLES[:16]):
        spec = SPEC | {"word": tf.io.FixedLenFeature([], tf.string)}
        return open_model(save(tmp_path / "m", lambda p, _: {"score": function(p)}, spec, net), sample=sample)

    return build


def directly(opened, monkeypatch):
    """The model that computes its first layer for every permutation."""
    with monkeypatch.context() as patched:
        patched.setattr(narrow.FirstLayer, "of", lambda *_: None)
        return PermutationModel.of(opened)


def assert_alike(model, expected, given, groups=()):
    """Replaced by the values of other rows, both give one result, to rounding; by their own, the very bytes."""
    order = np.random.default_rng(1).permutation(len(given))
    rows, others = model.encode(given, 2), expected.encode(given, 2)
    own = model.predict(rows)
    scale = np.abs(own).max()
    np.testing.assert_allclose(own, expected.predict(others), rtol=1e-5, atol=1e-5 * scale)
    for features in (*([name] for name in model.features), list(model.features), *groups):
        replaced = {f: [np.concatenate([a[: len(given)][order]] * 2) for a in rows.payloads[f]] for f in features}
        got, wanted = model.predict_permuted(rows, replaced), expected.predict_permuted(others, replaced)
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * scale, err_msg=str(features))
        assert (got != own).any()
        same = model.predict_permuted(rows, {f: rows.payloads[f] for f in features})
        assert same.tobytes() == own.tobytes()


def one_hot(words, size=5):
    return tf.one_hot(tf.strings.to_hash_bucket_fast(words, size), size)


def joined(parsed):
    return tf.concat([columns(parsed), one_hot(parsed["word"])], 1)


class Layers(tf.Module):
    """A hidden layer behind a normalisation, a linear part beside it, and a batch normalisation."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(3)
        self.first = tf.Variable(rng.normal(size=(8, 6)).astype(np.float32))
        self.last = tf.Variable(rng.normal(size=(6, 1)).astype(np.float32))
        self.linear = tf.Variable(rng.normal(size=(8, 1)).astype(np.float32))
        self.batch = keras.layers.BatchNormalization()
        self.batch.build((None, 8))
        self.batch.moving_variance.assign(np.linspace(0.5, 4, 8))

    def normalised(self, x):
        return tf.tanh(tf.matmul((x - 0.3) / 1.7, self.first) + 0.1) @ self.last

    def wide_and_deep(self, x):
        return self.normalised(x) + x @ self.linear

    def batch_normalised(self, x):
        return tf.nn.relu(self.batch(x, training=False) @ self.first) @ self.last

    def additive(self, x):
        return x @ self.linear - 0.2


@pytest.mark.parametrize(
    ("function", "units"), [("normalised", 6), ("wide_and_deep", 7), ("batch_normalised", 6), ("additive", 1)]
)
def test_a_linear_first_layer_is_shifted(function, units, make, monkeypatch):
    layers = Layers()
    opened = make(lambda parsed: getattr(layers, function)(joined(parsed)), layers)
    model = PermutationModel.of(opened)
    assert model._layer is not None and (model._layer.width, model._layer.units) == (8, units)
    assert_alike(model, directly(opened, monkeypatch), EXAMPLES, [["a", "word"]])


def test_features_that_are_stacked_and_one_beside_the_join(make, monkeypatch):
    net = network()
    opened = make(lambda parsed: net(tf.stack([parsed[n][:, 0] for n in NAMES], 1)) * tf.exp(parsed["a"]), net)
    model = PermutationModel.of(opened)
    assert model._layer is not None and model._layer.width == 3
    assert_alike(model, directly(opened, monkeypatch), EXAMPLES, [["a", "b"]])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.square(x),
        lambda x: x * x[:, :1],  # a cross of the join with itself
        lambda x: tf.cast(tf.cast(x, tf.bfloat16) * 3, tf.float32),
        lambda x: tf.reshape(x, [-1, 2, 4])[:, 0] * 2.0,  # keeps its rows, but not all is linear in two axes
    ],
    ids=["square", "cross", "half precision", "reshaped"],
)
def test_what_is_not_linear_row_by_row_is_computed_as_ever(function, make, monkeypatch):
    opened = make(lambda parsed: tf.tanh(tf.reduce_sum(function(joined(parsed)), 1, keepdims=True)))
    expected = directly(opened, monkeypatch)
    model = PermutationModel.of(opened)
    rows = model.encode(EXAMPLES)
    replaced = {"a": [array[::-1].copy() for array in rows.payloads["a"]]}
    got, wanted = (m.predict_permuted(rows, replaced) for m in (model, expected))
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_narrow_joins_are_not_worth_it(make, monkeypatch):
    monkeypatch.undo()
    layers = Layers()
    assert PermutationModel.of(make(lambda parsed: layers.normalised(joined(parsed)), layers))._layer is None


def test_rows_that_stand_out_are_predicted_without_the_shortcut(make, monkeypatch):
    """h of such a row rounds to more than all that is left of it when its feature is replaced."""
    layers = Layers()
    opened = make(lambda parsed: layers.normalised(joined(parsed)), layers)
    model, expected = PermutationModel.of(opened), directly(opened, monkeypatch)
    matrix = random_matrix(ROWS)
    matrix[5, 0], matrix[9, 1] = 3e8, -2e7
    rows, others = model.encode(examples(matrix)), expected.encode(examples(matrix))
    assert np.flatnonzero(rows._layer.apart).tolist() == [5, 9]
    for feature in ("a", "b", "c"):
        replaced = {feature: [np.roll(array, 1, axis=0) for array in rows.payloads[feature]]}
        got, wanted = model.predict_permuted(rows, replaced), expected.predict_permuted(others, replaced)
        assert got[[5, 9]].tobytes() == wanted[[5, 9]].tobytes()
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
    # The other rows do not know of them.
    usual = model.encode(EXAMPLES)
    got = [model.predict_permuted(r, {"c": [np.roll(r.payloads["c"][0], 1, axis=0)]}) for r in (rows, usual)]
    assert np.delete(got[0], [5, 9], 0).tobytes() == np.delete(got[1], [5, 9], 0).tobytes()


def test_values_that_are_not_finite_are_put_in_directly(make, monkeypatch):
    layers = Layers()
    opened = make(lambda parsed: layers.normalised(joined(parsed)), layers)
    model, expected = PermutationModel.of(opened), directly(opened, monkeypatch)
    rows, others = model.encode(EXAMPLES), expected.encode(EXAMPLES)
    values = rows.payloads["a"][0].copy()
    values[3], values[4] = np.inf, np.nan
    got, wanted = model.predict_permuted(rows, {"a": [values]}), expected.predict_permuted(others, {"a": [values]})
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
    assert np.isnan(got[4]).all()


@pytest.mark.parametrize("name", ["taxi", "penguin", "wide_and_deep", "keras_3_functional", "categories", "numbers"])
def test_exported_models_predict_as_without_it(name, monkeypatch):
    monkeypatch.setattr(first_layer, "LEAST_WIDTH", 2)
    exported = (export_with_references if name in (*KERAS_MODELS, *TRANSFORM_MODELS) else export)(name)
    opened = open_model(exported.path, sample=exported.examples[:16])
    model = PermutationModel.of(opened)
    assert model._layer is not None
    expected = directly(opened, monkeypatch)
    rows, others = model.encode(exported.examples), expected.encode(exported.examples)
    order = np.random.default_rng(1).permutation(len(rows))
    for feature in model.features:
        replaced = {feature: [array[order] for array in rows.payloads[feature]]}
        got, wanted = model.predict_permuted(rows, replaced), expected.predict_permuted(others, replaced)
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5, err_msg=feature)
