"""What the inputs of a signature of tensors may be, and how examples become them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import random_matrix
from tests.fixtures.exported_models.examples import serialise

from tfx_explain.engine.feature_graph import BatchDependentError, FeatureModel, SignatureError
from tfx_explain.engine.methods.quadrature import gauss_legendre

pytestmark = pytest.mark.tf

ROWS = 12
STEPS = 8
MATRIX = random_matrix(ROWS, seed=1)
CODES = np.random.default_rng(1).integers(0, 5, ROWS)


def examples(**columns):
    """Rows of columns, each [rows] or [rows, n]."""
    names = list(columns)
    return [
        serialise({n: np.atleast_1d(v).tolist() for n, v in zip(names, row, strict=True)})
        for row in zip(*columns.values(), strict=True)
    ]


class Subclassed(keras.Model):
    """Two numbers, by name, to one sigmoid."""

    def __init__(self):
        super().__init__()
        keras.utils.set_random_seed(4)
        self.hidden, self.last = keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1, activation="sigmoid")

    def call(self, features):
        return self.last(self.hidden(tf.concat([features["a"], features["b"]], 1)))


def attributions(model, rows, baseline, target=0):
    encoded, start = model.encode(rows), model.encode([baseline])
    return model.path_gradients(encoded, start, target, *gauss_legendre(STEPS)).attributions


def test_numbered_inputs_are_mapped_to_features(tmp_path):
    bare = Subclassed()
    bare({"a": tf.zeros([2, 1]), "b": tf.zeros([2, 1])})
    bare.export(str(tmp_path / "m"), verbose=False)
    rows = examples(a=MATRIX[:, 0], b=MATRIX[:, 1])
    with pytest.raises(
        SignatureError, match=r"no feature \['args_0', 'args_0_1'\]; the examples have \['a', 'b'\].*input_f"
    ):
        FeatureModel.load(str(tmp_path / "m"), sample=rows)
    inputs = {"args_0": "a", "args_0_1": "b"}
    model = FeatureModel.load(str(tmp_path / "m"), sample=rows, input_features=inputs, unit="probability")
    expected = bare({"a": MATRIX[:, :1], "b": MATRIX[:, 1:2]}).numpy()
    np.testing.assert_allclose(model.predict(model.encode(rows)), expected, atol=1e-6)
    with pytest.raises(SignatureError, match=r"must name inputs .*\['args_0', 'args_0_1'\]. Received: \['x'\]"):
        FeatureModel.load(str(tmp_path / "m"), sample=rows, input_features={"x": "a"})


def save(path, **functions):
    """Exports (function of the inputs by name, their specs) pairs as signatures."""
    module = tf.Module()
    signatures = {}
    for name, (function, specs) in functions.items():
        serve = tf.function(function, input_signature=[tf.TensorSpec(s.shape, s.dtype, name=n) for n, s in specs])
        setattr(module, name, serve)
        signatures[name] = serve
    tf.saved_model.save(module, str(path), signatures=signatures)
    return str(path)


def one_input(path, dtype, function, shape=(None,)):
    return save(path, serving_default=(function, [("x", tf.TensorSpec(shape, dtype))]))


@pytest.mark.parametrize(
    ("dtype", "values", "baseline"),
    [
        (tf.float64, MATRIX[:, 0], 0.5),
        (tf.float16, MATRIX[:, 0], 0.5),
        (tf.bfloat16, np.arange(ROWS), 1),
        (tf.float32, np.arange(ROWS), 1),
        (tf.int32, np.arange(ROWS), 1),
        (tf.int16, np.arange(ROWS), 1),
        (tf.uint8, np.arange(ROWS), 1),
        (tf.int64, np.arange(ROWS), 1),
        (tf.bool, np.arange(ROWS) % 2, 0),
    ],
)
def test_any_number_is_parsed_and_cast(dtype, values, baseline, tmp_path):
    path = one_input(tmp_path / "m", dtype, lambda x: {"y": 2.0 * tf.cast(x, tf.float32)})
    rows = examples(x=values)
    model = FeatureModel.load(path, sample=rows)
    rounded = tf.cast(tf.cast(values, dtype), tf.float32).numpy()
    np.testing.assert_allclose(model.predict(model.encode(rows))[:, 0], 2.0 * rounded)
    got = attributions(model, rows, examples(x=[baseline])[0])[:, 0]
    np.testing.assert_allclose(got, 2.0 * (values - baseline), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("dtype", "values", "message"),
    [
        (tf.int64, MATRIX[:, 0], "feature 'x' must come as ints to be an input of type int64. Received: floats"),
        (tf.float32, ["u", "v"] * 6, "must come as floats or ints .* float32. Received: strings"),
        (tf.string, MATRIX[:, 0], "must come as strings .* string. Received: floats"),
    ],
)
def test_a_feature_of_another_kind_is_refused(dtype, values, message, tmp_path):
    path = one_input(tmp_path / "m", dtype, lambda x: {"y": tf.zeros([tf.shape(x)[0]])}, (None, 1))
    with pytest.raises(SignatureError, match=message):
        FeatureModel.load(path, sample=examples(x=values))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3,), "first dimension that is open"),
        ((None, 2, None), "one open dimension beside the rows, the first"),
        (None, "first dimension that is open"),
    ],
)
def test_a_shape_that_rows_cannot_fill_is_refused(shape, message, tmp_path):
    path = one_input(tmp_path / "m", tf.float32, lambda x: {"y": tf.reduce_sum(x)[None]}, shape)
    with pytest.raises(SignatureError, match=f"input 'x' .*{message}"):
        FeatureModel.load(path, sample=examples(x=MATRIX))


@pytest.mark.parametrize("shape", [(None,), (None, 1)])
def test_a_single_string_feature_is_no_serialised_example(shape, tmp_path):
    def length(text):
        size = tf.reshape(tf.cast(tf.strings.length(text), tf.float32), [-1])
        return {"y": 3.0 * size}

    path = one_input(tmp_path / "m", tf.string, length, shape)
    texts = ["a", "bb", "cccc"]
    model = FeatureModel.load(path, sample=examples(x=texts))
    assert any("taken for the string feature 'x'" in note for note in model.notes)
    got = attributions(model, examples(x=texts), examples(x=[""])[0] or serialise({"x": [""]}))
    np.testing.assert_allclose(got[:, 0], [3.0, 6.0, 12.0], rtol=1e-6)


def test_serialised_examples_in_a_feature_of_the_inputs_name_are_not_mistaken(tmp_path):
    def serve(x):
        return {"y": tf.io.parse_example(x, {"a": tf.io.FixedLenFeature([1], tf.float32)})["a"]}

    path = one_input(tmp_path / "m", tf.string, serve)
    rows = examples(a=MATRIX[:, 0], x=["text"] * ROWS)
    assert FeatureModel.load(path, sample=rows).features == ("a",)


def test_rows_of_any_length_are_padded(tmp_path):
    weights = tf.constant([1.0, 2.0, 3.0, 4.0])

    def serve(x):
        return {"y": tf.reduce_sum(x * weights[: tf.shape(x)[1]], axis=1)}

    path = one_input(tmp_path / "m", tf.float32, serve, (None, None))
    values = [[1.0], [1.0, -1.0, 2.0], [0.5, 0.25], [3.0, 1.0, 1.0, 1.0]]
    rows = [serialise({"x": v}) for v in values]
    model = FeatureModel.load(path, sample=rows)
    assert any("padded with zeros" in note and "['x']" in note for note in model.notes)
    expected = [np.dot(v, [1.0, 2.0, 3.0, 4.0][: len(v)]) for v in values]
    np.testing.assert_allclose(model.predict(model.encode(rows))[:, 0], expected, rtol=1e-6)
    mean = one_input(tmp_path / "mean", tf.float32, lambda x: {"y": tf.reduce_mean(x, axis=1)}, (None, None))
    with pytest.raises(BatchDependentError, match="'y' of a row depends on the other rows"):
        FeatureModel.load(mean, sample=rows)


def test_a_sparse_input_is_made_of_its_components(tmp_path):
    table = tf.constant([[0.5], [-1.0], [2.0], [0.25]])
    module = tf.Module()
    module.serve = tf.function(
        lambda ids: {"y": tf.nn.embedding_lookup_sparse(table, ids, None, combiner="sum")},
        input_signature=[tf.SparseTensorSpec([None, None], tf.int64)],
    )
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": module.serve})
    values = [[0], [1, 2], [3, 3, 0], [2]]
    rows = [serialise({"ids": v}) for v in values]
    model = FeatureModel.load(str(tmp_path / "m"), sample=rows)
    assert model.features == ("ids",)
    expected = [table.numpy()[v].sum() for v in values]
    np.testing.assert_allclose(model.predict(model.encode(rows))[:, 0], expected, rtol=1e-6)


def test_a_ragged_input_is_made_of_its_components(tmp_path):
    table = tf.constant([[0.5], [-1.0], [2.0], [0.25]])
    module = tf.Module()
    module.serve = tf.function(
        lambda ids: {"y": tf.reduce_sum(tf.gather(table, ids), axis=1)},
        input_signature=[tf.RaggedTensorSpec([None, None], tf.int32)],
    )
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": module.serve})
    values = [[0], [1, 2], [3, 3, 0], [2]]
    rows = [serialise({"ids": v}) for v in values]
    model = FeatureModel.load(str(tmp_path / "m"), sample=rows)
    assert model.features == ("ids",)
    expected = [table.numpy()[v].sum() for v in values]
    np.testing.assert_allclose(model.predict(model.encode(rows))[:, 0], expected, rtol=1e-6)


def transformed(path):
    """z = 2 a + 1 and w = b as an int by `transform`; the model takes z and w."""

    def model(w, z):
        return {"y": tf.square(z) + 3.0 * tf.cast(w, tf.float32)[:, None]}

    def transform(examples):
        parsed = tf.io.parse_example(
            examples,
            {"a": tf.io.FixedLenFeature([1], tf.float32), "b": tf.io.FixedLenFeature([1], tf.int64)},
        )
        return {"z": 2.0 * parsed["a"][:, 0] + 1.0, "w": parsed["b"], "label": parsed["a"]}

    return save(
        path,
        serving_default=(
            model,
            [("w", tf.TensorSpec([None], tf.int64)), ("z", tf.TensorSpec([None, 1], tf.float32))],
        ),
        transform=(transform, [("examples", tf.TensorSpec([None], tf.string))]),
    )


def test_a_preprocessing_function_is_chained(tmp_path):
    path = transformed(tmp_path / "m")
    rows = examples(a=MATRIX[:, 0], b=CODES)
    with pytest.raises(
        SignatureError, match=r"no feature \['w', 'z'\].*preprocessing_function to one of \['transform'\]"
    ):
        FeatureModel.load(path, sample=rows)
    model = FeatureModel.load(path, sample=rows, preprocessing_function="transform")
    assert model.features == ("a", "b")
    a = MATRIX[:, 0].astype(np.float64)
    got = attributions(model, rows, examples(a=[0.0], b=[1])[0])
    np.testing.assert_allclose(got, np.stack([(2 * a + 1) ** 2 - 1, 3.0 * (CODES - 1)], 1), rtol=1e-4, atol=1e-5)


def test_what_is_no_preprocessing_function(tmp_path):
    path = transformed(tmp_path / "m")
    rows = examples(a=MATRIX[:, 0], b=CODES)
    with pytest.raises(SignatureError, match=r"\['serving_default', 'transform'\]. Received: .*='tft'"):
        FeatureModel.load(path, sample=rows, preprocessing_function="tft")
    with pytest.raises(SignatureError, match="must be left out where the signature takes serialised tf.Examples"):
        FeatureModel.load(path, sample=rows, signature="transform", preprocessing_function="transform")


def test_the_only_other_signature_is_named_not_taken(tmp_path):
    def serialised(examples):
        return {"y": 2.0 * tf.io.parse_example(examples, {"a": tf.io.FixedLenFeature([1], tf.float32)})["a"]}

    path = save(
        tmp_path / "m",
        serving_default=(lambda hidden: {"y": 2.0 * hidden}, [("hidden", tf.TensorSpec([None, 1]))]),
        from_examples=(serialised, [("examples", tf.TensorSpec([None], tf.string))]),
    )
    rows = examples(a=MATRIX[:, 0])
    for arguments in ({}, {"signature": "predict"}):
        with pytest.raises(SignatureError, match="'from_examples' can be used: set signature: from_examples"):
            FeatureModel.load(path, sample=rows, **arguments)
    assert FeatureModel.load(path, sample=rows, signature="from_examples").features == ("a",)


def test_a_string_input_for_each_of_several_features(tmp_path):
    def serve(first, second):
        lengths = [tf.cast(tf.strings.length(x), tf.float32) for x in (first, second)]
        return {"y": tf.stack(lengths, 1) @ tf.constant([[1.0], [2.0]])}

    specs = [(n, tf.TensorSpec([None], tf.string)) for n in ("first", "second")]
    path = save(tmp_path / "m", serving_default=(serve, specs))
    rows = examples(first=["a", "bb"], second=["ccc", ""])
    rows[1] = serialise({"first": ["bb"], "second": [""]})
    model = FeatureModel.load(path, sample=rows)
    np.testing.assert_allclose(model.predict(model.encode(rows))[:, 0], [7.0, 2.0])
