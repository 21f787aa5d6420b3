"""Which output is explained, what stands behind it, and how its columns are called."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tests.engine.feature_graph.small_models import SPEC, columns, network, numbers, random_matrix, save

from tfx_explain.engine.feature_graph import BatchDependentError, FeatureModel, OutputError, PermutationModel
from tfx_explain.engine.methods.quadrature import gauss_legendre

pytestmark = pytest.mark.tf

MATRIX = random_matrix(16)
SAMPLE = numbers(MATRIX)
NAMES = ("cat", "dog", "owl")
WEIGHTS = tf.constant([[1.0, -2.0, 0.5], [0.5, 1.0, -1.0], [2.0, 0.0, 1.0]])


def scores(parsed):
    return columns(parsed) @ WEIGHTS


def tiled(parsed):
    return tf.tile(tf.constant([NAMES]), [tf.shape(parsed["a"])[0], 1])


def attributions(model, target=0):
    rule = gauss_legendre(32)
    return model.path_gradients(model.encode(SAMPLE), model.encode(numbers(np.zeros((1, 3)))), target, *rule)


def test_classification_beside_other_outputs(tmp_path):
    """Strings a row, a constant that has no rows, and one number a row do not stand in the way."""

    def serve(parsed, examples):
        return {
            "classes": tiled(parsed),
            "id": tf.strings.as_string(tf.strings.length(examples)),
            "scores": tf.nn.softmax(scores(parsed)),
            "total": tf.reduce_sum(scores(parsed), 1),
            "version": tf.constant("7"),
            "mean_of_the_batch": tf.reduce_mean(scores(parsed)),
        }

    path = save(tmp_path / "m", serve)
    model = FeatureModel.load(path, sample=SAMPLE)
    assert (model.output, model.link, model.num_targets, model.class_names) == ("scores", "softmax", 3, NAMES)
    assert any("['mean_of_the_batch', 'scores', 'total'] 'scores' is explained" in note for note in model.notes)
    logits = WEIGHTS.numpy() - WEIGHTS.numpy().mean(axis=1, keepdims=True)
    np.testing.assert_allclose(attributions(model, 1).attributions, MATRIX * logits[:, 1], atol=1e-5)
    total = FeatureModel.load(path, sample=SAMPLE, output="total")
    assert (total.num_targets, total.unit, total.class_names) == (1, "output", None)
    assert not any("is explained; `output`" in note for note in total.notes)
    np.testing.assert_allclose(attributions(total).attributions, MATRIX * WEIGHTS.numpy().sum(axis=1), atol=1e-5)
    with pytest.raises(OutputError, match=r"\['mean_of_the_batch', 'scores', 'total'\]. Received: output='classes'"):
        FeatureModel.load(path, sample=SAMPLE, output="classes")
    with pytest.raises(BatchDependentError, match="'mean_of_the_batch' must have one row"):
        FeatureModel.load(path, sample=SAMPLE, output="mean_of_the_batch")


def by_falling_score(parsed):
    return tf.gather(tf.constant(NAMES), tf.argsort(scores(parsed), direction="DESCENDING"))


@pytest.mark.parametrize(
    ("strings", "expected"),
    [
        (lambda parsed: {"classes": tf.constant(NAMES)}, NAMES),
        (lambda parsed: {"labels": tiled(parsed)}, NAMES),
        (lambda parsed: {"classes": by_falling_score(parsed)}, None),
        (lambda parsed: {"classes": tf.constant(["cat", "cat", "owl"])}, None),
        (lambda parsed: {"classes": tf.constant(NAMES[:2])}, None),
        (lambda parsed: {"left": tiled(parsed), "right": tf.constant(["x", "y", "z"])}, None),
        (lambda parsed: {"classes": tiled(parsed), "right": tf.constant(["x", "y", "z"])}, NAMES),
    ],
)
def test_names_of_columns_are_those_that_no_row_changes(strings, expected, tmp_path):
    same = numbers(np.tile(MATRIX[:1], (4, 1)))  # in this sample even sorted classes look constant
    path = save(tmp_path / "m", lambda parsed, _: {"scores": tf.nn.softmax(scores(parsed)), **strings(parsed)})
    assert FeatureModel.load(path, sample=same).class_names == expected


@tf.custom_gradient
def passed_on(x):
    return tf.identity(x), lambda gradient: gradient


def of_unknown_rank(x):
    """As tf.sparse.reduce_sum gives it, whatever its axes."""
    return tf.reshape(x, tf.cond(tf.shape(x)[0] > 0, lambda: tf.shape(x), lambda: tf.constant([0])))


@pytest.mark.parametrize(
    ("after", "link"),
    [
        (lambda x: tf.identity(tf.sigmoid(x)), "sigmoid"),
        (lambda x: tf.expand_dims(tf.sigmoid(x), 2), "sigmoid"),
        (lambda x: tf.sigmoid(x)[:, None], "sigmoid"),
        (lambda x: tf.nn.softmax(x)[:, :3, tf.newaxis], "softmax"),
        (lambda x: tf.sigmoid(x[:, :, None]), "sigmoid"),
        (lambda x: tf.sigmoid(of_unknown_rank(x)), "sigmoid"),
        (lambda x: tf.nn.softmax(of_unknown_rank(x)), "softmax"),
        (lambda x: tf.nn.softmax(of_unknown_rank(tf.stack([x, 2.0 * x], 1))), "raw"),
        (lambda x: tf.sigmoid(x)[:, ::-1], "raw"),
        (lambda x: tf.sigmoid(x)[:, :2], "raw"),
        (lambda x: tf.cast(tf.cast(tf.sigmoid(x), tf.float64), tf.float32), "sigmoid"),
        (lambda x: tf.ensure_shape(tf.nn.softmax(x), [None, 3]), "softmax"),
        (lambda x: passed_on(tf.nn.softmax(x)), "softmax"),
        (lambda x: tf.debugging.check_numerics(tf.nn.log_softmax(x), "scores"), "logsoftmax"),
        (lambda x: 2.0 * tf.sigmoid(x), "raw"),
    ],
)
def test_the_logit_is_found_behind_what_only_passes_it_on(after, link, tmp_path):
    model = FeatureModel.load(save(tmp_path / "m", lambda parsed, _: {"y": after(scores(parsed))}), sample=SAMPLE)
    assert (model.link, model.unit) == (link, "output" if link == "raw" else "logit")
    if link != "raw":
        np.testing.assert_allclose(model.predict(model.encode(SAMPLE)), MATRIX @ WEIGHTS.numpy(), atol=1e-5)


@pytest.mark.parametrize("library", [keras, tf_keras])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_the_logit_is_found_under_mixed_precision(library, activation, tmp_path):
    inputs = library.Input((3,), name="x")
    hidden = library.layers.Dense(4, activation="tanh", dtype="mixed_bfloat16")(inputs)
    logits = library.layers.Dense(3, dtype="mixed_bfloat16")(hidden)
    outputs = library.layers.Activation(activation, dtype="float32")(logits)
    net = library.Model(inputs, outputs)
    path = save(tmp_path / "m", lambda parsed, _: {"y": net(columns(parsed))}, module=net)
    assert FeatureModel.load(path, sample=SAMPLE).link == activation


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
@pytest.mark.parametrize("after", [lambda x: x, lambda x: tf.cast(x, tf.float32)])
def test_probabilities_in_half_precision(after, dtype, tmp_path):
    """They are rounded to steps of 1e-3 and 8e-3, which is no fault of the parts."""
    path = save(tmp_path / "m", lambda parsed, _: {"y": after(tf.sigmoid(tf.cast(scores(parsed), dtype)))})
    model = FeatureModel.load(path, sample=SAMPLE)
    assert model.link == "sigmoid"
    np.testing.assert_allclose(model.predict(model.encode(SAMPLE)), MATRIX @ WEIGHTS.numpy(), rtol=0.01, atol=0.01)
    assert PermutationModel.of(model.opened).reparsed == ()


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_logits_in_half_precision_can_be_declared(dtype, tmp_path):
    path = save(tmp_path / "m", lambda parsed, _: {"y": tf.cast(scores(parsed), dtype)})
    assert FeatureModel.load(path, sample=SAMPLE, from_logits=True).link == "softmax"


@pytest.mark.parametrize("link", [tf.nn.softmax, tf.nn.log_softmax])
def test_a_softmax_of_each_token_is_explained_as_it_is(link, tmp_path):
    """TimeDistributed flattens rows and tokens: no row of [rows * tokens, classes] is a row of the output."""

    def serve(parsed, _):
        tokens = tf.stack([scores(parsed), 2.0 * scores(parsed)], 1)
        return {"y": tf.reshape(link(tf.reshape(tokens, [-1, 3])), [-1, 2, 3])}

    model = FeatureModel.load(save(tmp_path / "m", serve), sample=SAMPLE)
    assert (model.link, model.unit, model.num_targets) == ("raw", "output", 6)
    result = attributions(model, 4)
    np.testing.assert_allclose(result.attributions.sum(1), result.prediction - result.baseline_prediction, atol=1e-4)


def test_two_columns_behind_a_softmax_are_log_odds(tmp_path):
    net = network(targets=2)
    path = save(tmp_path / "m", lambda parsed, _: {"y": tf.nn.softmax(net(columns(parsed)))}, module=net)
    model = FeatureModel.load(path, sample=SAMPLE)
    logits = net(MATRIX).numpy()
    second, first = attributions(model, 1), attributions(model, 0)
    np.testing.assert_allclose(second.prediction, logits[:, 1] - logits[:, 0], atol=1e-5)
    np.testing.assert_allclose(first.attributions, -second.attributions, atol=1e-6)


def test_several_labels_behind_a_sigmoid_stand_alone(tmp_path):
    path = save(tmp_path / "m", lambda parsed, _: {"y": tf.sigmoid(scores(parsed))})
    model = FeatureModel.load(path, sample=SAMPLE)
    assert (model.link, model.num_targets) == ("sigmoid", 3)
    for column in range(3):
        np.testing.assert_allclose(
            attributions(model, column).attributions, MATRIX * WEIGHTS.numpy()[:, column], atol=1e-5
        )


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_heads_of_a_dict(library, tmp_path):
    """A functional model with two named heads, exported as its library does."""
    library.utils.set_random_seed(5)
    inputs = {name: library.Input((1,), name=name) for name in SPEC}
    hidden = library.layers.Dense(8, activation="tanh")(library.layers.Concatenate()(list(inputs.values())))
    heads = {
        "buy": library.layers.Dense(1, activation="sigmoid", name="buy")(hidden),
        "kind": library.layers.Dense(3, activation="softmax", name="kind")(hidden),
    }
    net, path = library.Model(inputs, heads), str(tmp_path / "m")
    net.export(path, verbose=False) if library is keras else net.save(path)
    expected = net({name: MATRIX[:, i : i + 1] for i, name in enumerate(SPEC)})
    for name, link, targets in (("buy", "sigmoid", 1), ("kind", "softmax", 3)):
        model = FeatureModel.load(path, sample=SAMPLE, output=name, unit="probability")
        assert (model.link, model.num_targets) == (link, targets)
        np.testing.assert_allclose(model.predict(model.encode(SAMPLE)), expected[name].numpy(), atol=1e-6)
    assert FeatureModel.load(path, sample=SAMPLE).output == "buy"
