"""Signatures of dense tensors: exports of Keras 3 and of tf_keras, alone and behind a Transform graph."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tests.fixtures.exported_models.examples import serialise

from tfx_explain.engine.feature_graph import FeatureModel, SignatureError
from tfx_explain.engine.methods.quadrature import gauss_legendre

pytestmark = pytest.mark.tf

SIZES = {"age": 1, "kind": 1, "scores": 3}


def rows(count: int, seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [
        {
            "age": [float(rng.normal())],
            "kind": [int(rng.integers(4))],
            "scores": rng.normal(size=3).astype(np.float32).tolist(),
            "label": [int(rng.integers(2))],
        }
        for _ in range(count)
    ]


SAMPLE = rows(24)
EXAMPLES = [serialise(row) for row in SAMPLE]


def functional(library):
    """age [rows, 1], kind as an embedded id, scores [rows, 3] -> three classes."""
    keras.utils.set_random_seed(4)
    tf.random.set_seed(4)
    inputs = {
        "age": library.Input((1,), name="age"),
        "kind": library.Input((1,), name="kind", dtype="int32"),
        "scores": library.Input((3,), name="scores"),
    }
    embedded = library.layers.Flatten()(library.layers.Embedding(4, 2)(inputs["kind"]))
    hidden = library.layers.Concatenate()([inputs["age"], embedded, inputs["scores"]])
    hidden = library.layers.Dense(8, activation="tanh")(hidden)
    return library.Model(inputs, library.layers.Dense(3, activation="softmax")(hidden))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(4, 2)
        self.hidden = keras.layers.Dense(8, activation="tanh")
        self.head = keras.layers.Dense(3, activation="softmax")

    def call(self, inputs):
        embedded = tf.reshape(self.embedding(inputs["kind"]), [-1, 2])
        return self.head(self.hidden(tf.concat([inputs["age"], embedded, inputs["scores"]], 1)))


def dense(row_list):
    return {
        "age": np.array([row["age"] for row in row_list], np.float32),
        "kind": np.array([row["kind"] for row in row_list], np.int32),
        "scores": np.array([row["scores"] for row in row_list], np.float32),
    }


def save(kind, folder):
    if kind == "keras_3_export":
        model = functional(keras)
        model.export(folder)
    elif kind == "keras_3_subclassed":
        keras.utils.set_random_seed(4)
        model = Subclassed()
        model({name: tf.constant(value) for name, value in dense(SAMPLE[:2]).items()})
        spec = {
            name: tf.TensorSpec([None, size], tf.int32 if name == "kind" else tf.float32, name=name)
            for name, size in SIZES.items()
        }
        serve = tf.function(lambda inputs: {"scores": model(inputs)}, input_signature=[spec])
        tf.saved_model.save(model, folder, signatures={"serving_default": serve})
    else:
        model = functional(tf_keras)
        model.save(folder, save_format="tf")
    return model


def tape_attributions(model, x, b, target, embedding):
    """Integrated gradients by a tape on the bare model, its ids replaced by their embedding."""
    nodes, weights = gauss_legendre(50)
    dense_layers = [layer for layer in model.layers if type(layer).__name__ == "Dense"]

    def logits(age, embedded, scores):
        hidden = dense_layers[0](tf.concat([age, embedded, scores], 1))
        return hidden @ dense_layers[1].kernel + dense_layers[1].bias

    def parts(values):
        embedded = tf.reshape(embedding(tf.constant(values["kind"])), [-1, 2])
        return [tf.constant(values["age"]), embedded, tf.constant(values["scores"])]

    end, start = parts(x), parts(b)
    sums = [tf.zeros_like(part) for part in end]
    for node, weight in zip(nodes.astype(np.float32), weights.astype(np.float32), strict=True):
        points = [s + node * (e - s) for s, e in zip(start, end, strict=True)]
        with tf.GradientTape() as tape:
            tape.watch(points)
            value = logits(*points)
            value = tf.gather(value - tf.reduce_mean(value, 1, keepdims=True), target, axis=1, batch_dims=1)
        sums = [t + weight * g for t, g in zip(sums, tape.gradient(value, points), strict=True)]
    return np.stack([tf.reduce_sum((e - s) * t, 1).numpy() for s, e, t in zip(start, end, sums, strict=True)], axis=1)


@pytest.mark.parametrize("kind", ["keras_3_export", "keras_3_subclassed", "tf_keras_save"])
def test_a_signature_of_tensors_reads_features_of_its_names(kind, tmp_path):
    model = save(kind, str(tmp_path / "m"))
    ours = FeatureModel.load(str(tmp_path / "m"), sample=EXAMPLES)
    assert ours.features == ("age", "kind", "scores")
    assert (ours.link, ours.num_targets) == ("softmax", 3)
    assert any("takes tensors" in note for note in ours.notes)
    encoded = ours.encode(EXAMPLES)
    target = np.argmax(ours.predict(encoded), axis=1).astype(np.int32)
    baseline = rows(1, seed=9)
    got = ours.path_gradients(encoded, ours.encode([serialise(baseline[0])]), target, *gauss_legendre(50))
    embedding = next(layer for layer in model.layers if type(layer).__name__ == "Embedding")
    want = tape_attributions(model, dense(SAMPLE), dense(baseline), target, embedding)
    total = np.abs(want).sum(axis=1, keepdims=True)
    assert (np.abs(got.attributions - want) <= 1e-4 * total).all()


def saved_module(folder, **signatures):
    module = tf.Module()
    for name, function in signatures.items():
        setattr(module, name, function)
    tf.saved_model.save(module, folder, signatures=dict(signatures))
    return folder


def serving(function, **specs):
    spec = {name: tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in specs.items()}
    return tf.function(lambda **tensors: {"score": function(tensors)}, input_signature=None).get_concrete_function(
        **spec
    )


def test_types_ranks_and_open_lengths(tmp_path):
    """Booleans, doubles, [rows] and an open number of values, padded with zeros."""
    function = serving(
        lambda t: (
            tf.cast(t["flag"], tf.float32) * 2.0 + tf.cast(t["amount"], tf.float32) ** 2 + tf.reduce_sum(t["many"], 1)
        ),
        flag=([None], tf.bool),
        amount=([None], tf.float64),
        many=([None, None], tf.float32),
    )
    path = saved_module(str(tmp_path / "m"), serving_default=function)
    made = [{"flag": [i % 2], "amount": [float(i)], "many": [1.0] * (i + 1)} for i in range(4)]
    model = FeatureModel.load(path, sample=[serialise(row) for row in made])
    got = model.predict(model.encode([serialise(row) for row in made]))[:, 0]
    np.testing.assert_allclose(got, [i % 2 * 2.0 + i**2 + (i + 1) for i in range(4)], rtol=1e-6)
    assert {"amount", "many"} <= set(model.features)


def test_names_that_the_examples_lack_are_refused_with_both(tmp_path):
    function = serving(
        lambda t: t["age"] * 2.0 + t["income"], age=([None, 1], tf.float32), income=([None, 1], tf.float32)
    )
    path = saved_module(str(tmp_path / "m"), serving_default=function)
    with pytest.raises(SignatureError, match=r"no feature \['income'\]; the examples have \['age', 'kind'"):
        FeatureModel.load(path, sample=EXAMPLES)


def transform_features():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def transform(examples):
        parsed = tf.io.parse_example(examples, {"age": tf.io.FixedLenFeature([1], tf.float32)})
        return {"age_xf": parsed["age"] * 10.0}

    return transform


def test_a_preprocessing_function_feeds_transformed_features(tmp_path):
    function = serving(lambda t: t["age_xf"] * 3.0, age_xf=([None, 1], tf.float32))
    path = saved_module(str(tmp_path / "m"), serving_default=function, transform_features=transform_features())
    with pytest.raises(SignatureError, match=r"set preprocessing_function to one of \['transform_features'\]"):
        FeatureModel.load(path, sample=EXAMPLES)
    model = FeatureModel.load(path, sample=EXAMPLES, preprocessing_function="transform_features")
    assert model.features == ("age",)
    got = model.path_gradients(
        model.encode(EXAMPLES[:2]), model.encode([serialise({"age": [0.0]})]), 0, *gauss_legendre(2)
    )
    np.testing.assert_allclose(got.attributions[:, 0], [30 * row["age"][0] for row in SAMPLE[:2]], rtol=1e-5)
    with pytest.raises(SignatureError, match="must be one of.*preprocessing_function='absent'"):
        FeatureModel.load(path, sample=EXAMPLES, preprocessing_function="absent")
    with pytest.raises(SignatureError, match=r"without \['other'\]; it gives \['age_xf'\]"):
        other = saved_module(
            str(tmp_path / "o"),
            serving_default=serving(lambda t: t["other"], other=([None, 1], tf.float32)),
            transform_features=transform_features(),
        )
        FeatureModel.load(other, sample=EXAMPLES, preprocessing_function="transform_features")


def test_a_string_feature_is_no_batch_of_examples(tmp_path):
    """Without a parser in the graph, one input of strings is a feature like others."""
    function = serving(lambda t: tf.cast(tf.strings.length(t["word"]), tf.float32), word=([None], tf.string))
    path = saved_module(str(tmp_path / "m"), serving_default=function)
    words = [serialise({"word": ["abc"]}), serialise({"word": ["de"]})]
    model = FeatureModel.load(path, sample=words)
    got = model.path_gradients(model.encode(words), model.encode(words[1:]), 0, *gauss_legendre(1))
    assert (model.features, got.attributions.tolist()) == (("word",), [[1.0], [0.0]])


def test_names_of_classes_come_from_the_signatures_strings(tmp_path):
    names = tf.constant(["cat", "dog", "owl"])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        x = tf.io.parse_example(examples, {"scores": tf.io.FixedLenFeature([3], tf.float32)})["scores"]
        return {"classes": tf.tile(names[None], [tf.shape(x)[0], 1]), "scores": tf.nn.softmax(x * [1.0, 2.0, 3.0])}

    model = FeatureModel.load(saved_module(str(tmp_path / "m"), serving_default=serve), sample=EXAMPLES)
    assert (model.output, model.class_names) == ("scores", ("cat", "dog", "owl"))
