import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import NAMES, SPEC, columns, network, random_matrix, save
from tests.fixtures.exported_models.examples import serialise
from tests.fixtures.exported_models.export import KERAS_MODELS, TRANSFORM_MODELS, export, export_with_references

from tfx_explain.engine.feature_graph import ExampleError, PermutationModel, narrow, open_model

pytestmark = pytest.mark.tf

ROWS = 64
X = random_matrix(ROWS)
WORDS = ("red", "green", "blue", "black")
CROSSED = ("left", "right")


@pytest.fixture(autouse=True)
def joins_alone(monkeypatch):
    """Joins give the very bytes; what shortens the layer behind them rounds otherwise (test_first_layer.py)."""
    monkeypatch.setattr(narrow.FirstLayer, "of", lambda *_: None)


def joins_of(model):
    return [] if model._splicer is None else [len(join.inputs) for join in model._splicer._cut.joins]


def plain(opened, monkeypatch, **options):
    """The model without joins: all behind the narrow cut is computed for every permutation."""
    with monkeypatch.context() as patched:
        patched.setattr(narrow, "find_joins", lambda *_: None)
        model = PermutationModel.of(opened, **options)
    assert not joins_of(model)
    return model


def assert_same_bytes(model, expected, examples, groups=()):
    """Both give one result, bit by bit, whatever is replaced, and keep nothing of it."""
    order = np.random.default_rng(1).permutation(len(examples))
    rows, others = model.encode(examples), expected.encode(examples)
    own = model.predict(rows)
    for features in ([], *([name] for name in model.features), list(model.features), *groups):
        replaced = {name: [array[order] for array in rows.payloads[name]] for name in features}
        got, wanted = model.predict_permuted(rows, replaced), expected.predict_permuted(others, replaced)
        assert got.tobytes() == wanted.tobytes(), features
    assert model.predict(rows).tobytes() == own.tobytes() == expected.predict(others).tobytes()


def example(row, rng):
    words = {k: [WORDS[rng.integers(4)]] for k in ("word", "left", "right")}
    return serialise({k: [float(v)] for k, v in zip(NAMES, row, strict=True)} | words)


EXAMPLES = [example(row, np.random.default_rng(i)) for i, row in enumerate(X)]


@pytest.fixture
def make(tmp_path):
    """(function of the parsed features, names of further string features) -> what is opened."""

    def build(function, words=(), net=None):
        spec = SPEC | {name: tf.io.FixedLenFeature([], tf.string) for name in words}
        path = save(tmp_path / "m", lambda parsed, _: {"score": function(parsed)}, spec, net)
        return open_model(path, sample=EXAMPLES[:16])

    return build


@pytest.mark.parametrize(
    ("name", "joins"),
    [
        ("taxi", [10]),  # nine wide columns, and the deep part of three numbers
        ("penguin", [4]),
        ("vocabulary_relu", [3]),
        ("missing_smooth", [4]),
        ("raw_and_bucketised_relu", [3]),
        # These cross two features by hashing.
        ("wide_and_deep", [8]),
        ("keras_3_functional", [8]),
        ("tf_keras_subclassed", [8]),
        ("numbers", [5]),
        ("categories", [5]),
        ("masked_mean_smooth", [3]),
        ("ids_gru", [2]),  # the number does not make it read the text again
    ],
)
def test_exported_models_give_the_bytes_that_they_give_without_joins(name, joins, monkeypatch):
    exported = (export_with_references if name in (*KERAS_MODELS, *TRANSFORM_MODELS) else export)(name)
    opened = open_model(exported.path, sample=exported.examples[:16])
    model = PermutationModel.of(opened)
    assert joins_of(model) == joins
    features = model.features
    assert_same_bytes(model, plain(opened, monkeypatch), exported.examples, [features[:2], features[1:]])


def one_hot(words, size=5):
    return tf.one_hot(tf.strings.to_hash_bucket_fast(words, size), size)


def test_a_feature_beside_its_join_is_replaced_in_both_places(make, monkeypatch):
    net = network(width=9)

    def function(parsed):
        joined = tf.concat([columns(parsed), one_hot(parsed["word"]), tf.abs(parsed["a"])], 1)
        return net(joined) * parsed["a"] + tf.reduce_sum(one_hot(parsed["word"]) * parsed["b"], 1, keepdims=True)

    opened = make(function, ["word"], net)
    model = PermutationModel.of(opened)
    assert joins_of(model) == [5]  # the columns that are joined first are five with the others
    assert len(model._splicer._cut.direct) == 3  # a, b and the word, which has a hash for each place
    assert_same_bytes(model, plain(opened, monkeypatch), EXAMPLES, [["a", "word"], ["b", "word"]])


@pytest.mark.parametrize(
    "join",
    [
        lambda parts: tf.concat([v[:, None] for v in parts], 1),
        lambda parts: tf.stack(parts, 1),
        lambda parts: tf.stack(parts, -1),
        lambda parts: tf.transpose(tf.stack(parts, 0)),
        lambda parts: tf.transpose(tf.reshape(tf.concat(parts, 0), [3, -1])),
    ],
)
def test_every_way_to_join_along_any_axis(join, make, monkeypatch):
    net = network()
    opened = make(lambda parsed: net(join([tf.square(parsed[name][:, 0]) for name in NAMES])), net=net)
    model = PermutationModel.of(opened)
    assert joins_of(model) == [3]
    assert_same_bytes(model, plain(opened, monkeypatch), EXAMPLES, [["a", "c"]])


def test_an_output_that_is_a_join_is_copied_before_the_feature_is_taken_out(make, monkeypatch):
    opened = make(lambda parsed: columns(parsed))
    model = PermutationModel.of(opened)
    assert joins_of(model) == [3]
    rows = model.encode(EXAMPLES)
    np.testing.assert_array_equal(model.predict(rows), X)
    got = model.predict_permuted(rows, {"b": [np.full([ROWS, 1], 7, np.float32)]})
    np.testing.assert_array_equal(got, np.stack([X[:, 0], np.full(ROWS, 7), X[:, 2]], 1))
    np.testing.assert_array_equal(model.predict(rows), X)
    assert_same_bytes(model, plain(opened, monkeypatch), EXAMPLES)


def test_a_refused_row_leaves_the_others_as_they_were(make):
    """A number above 10 is an id that the table does not have."""

    def function(parsed):
        ids = tf.cast(tf.reduce_max(columns(parsed), 1), tf.int32)
        return tf.gather(tf.range(11.0), tf.maximum(ids, 0)) + tf.reduce_sum(columns(parsed), 1)

    model = PermutationModel.of(make(function))
    rows = model.encode(EXAMPLES)
    own = model.predict(rows)
    with pytest.raises(ExampleError, match="refuses one of 64 rows"):
        model.predict_permuted(rows, {"a": [np.full([ROWS, 1], 12, np.float32)]})
    np.testing.assert_array_equal(model.predict(rows), own)


def cross(parsed):
    return one_hot(tf.strings.join([parsed["left"], parsed["right"]], "_x_"))


def test_a_cross_is_computed_from_both_features(make, monkeypatch):
    net = network(width=9)
    opened = make(lambda parsed: net(tf.concat([columns(parsed), cross(parsed), parsed["a"]], 1)), CROSSED, net)
    model = PermutationModel.of(opened)
    assert joins_of(model) == [5]
    assert_same_bytes(model, plain(opened, monkeypatch), EXAMPLES, [["left", "a"], ["left", "right"]])


def test_a_concatenation_of_large_parts_is_no_join_but_what_they_are_made_of_is(make, monkeypatch):
    net = network(width=3)
    opened = make(lambda parsed: tf.concat([net(columns(parsed)), parsed["a"]], 1), net=net)
    model = PermutationModel.of(opened)
    assert joins_of(model) == [3]
    assert len(model._splicer._cut.direct) == 1
    assert_same_bytes(model, plain(opened, monkeypatch), EXAMPLES, [["a", "b"]])


def test_what_is_parsed_again_passes_by_the_joins(make, monkeypatch):
    net = network(width=8)
    opened = make(lambda parsed: net(tf.concat([columns(parsed), one_hot(parsed["word"])], 1)), ["word"], net)
    for reparse in (["a"], ["a", "word"]):
        model = PermutationModel.of(opened, reparse=reparse)
        assert joins_of(model)
        expected = plain(opened, monkeypatch, reparse=reparse)
        assert_same_bytes(model, expected, EXAMPLES, [["a", "b"], ["b", "c"], ["b", "word"]])


@pytest.mark.parametrize(
    "function",
    [
        lambda parsed: parsed["a"] + tf.square(parsed["b"]) * parsed["c"],
        lambda parsed: tf.concat([tf.cast(parsed[name], tf.bfloat16) for name in NAMES], 1),
        lambda parsed: tf.concat([parsed["a"] * parsed["b"], parsed["b"] * parsed["c"]], 1),
        lambda parsed: tf.concat([parsed["a"], tf.square(parsed["a"])], 1),
    ],
    ids=["no concatenation", "a type that numpy does not have", "of mixtures", "of one feature"],
)
def test_without_joins_all_is_computed(function, make):
    opened = make(lambda parsed: tf.reduce_sum(tf.cast(function(parsed), tf.float32), 1))
    model = PermutationModel.of(opened)
    assert model._splicer is None
    rows = model.encode(EXAMPLES)
    assert model.predict_permuted(rows, {"a": rows.payloads["a"]}).tobytes() == model.predict(rows).tobytes()


@pytest.mark.parametrize("reparse", [[], ["c"]])
def test_copies_are_the_rows_several_times_over(reparse, make):
    net = network(width=8)
    opened = make(lambda parsed: net(tf.concat([columns(parsed), one_hot(parsed["word"])], 1)), ["word"], net)
    model = PermutationModel.of(opened, reparse=reparse)
    once, thrice = model.encode(EXAMPLES * 3), model.encode(EXAMPLES, 3)
    assert len(once) == len(thrice) == 3 * ROWS
    order = np.random.default_rng(2).permutation(3 * ROWS)
    for features in ([], ["a"], ["word", "b"], ["c"]):
        replaced = {name: [array[order] for array in once.payloads[name]] for name in features}
        got, wanted = (model.predict_permuted(rows, replaced) for rows in (thrice, once))
        np.testing.assert_array_equal(got, wanted)
    for name, arrays in once.payloads.items():
        for array, other in zip(arrays, thrice.payloads[name], strict=True):
            np.testing.assert_array_equal(array, other)


def test_what_is_not_replaced_is_not_computed_again(monkeypatch):
    exported = export("taxi")
    model = PermutationModel.of(open_model(exported.path, sample=exported.examples[:16]))
    rows = model.encode(exported.examples[:ROWS])
    name = model.features[0]
    asked = []
    given = model._splicer._given

    def watched(feature, values):
        asked.append(feature)
        return given(feature, values)

    monkeypatch.setattr(model._splicer, "_given", watched)
    monkeypatch.setattr(model._splicer, "_join", None)  # would be called for the whole join
    model.predict_permuted(rows, {name: rows.payloads[name]})
    assert asked == [name]


@pytest.mark.parametrize("name", ["taxi", "masked_mean_smooth", "digit_floats"])
def test_rows_in_parts_are_predicted_as_together(name, monkeypatch):
    exported = export(name)
    model = PermutationModel.of(open_model(exported.path, sample=exported.examples[:16]))
    rows = model.encode(exported.examples[:48], 3)
    order = np.random.default_rng(1).permutation(len(rows))

    def predictions():
        replaced = [{n: [a[order] for a in rows.payloads[n]]} for n in model.features]
        return [model.predict(rows), *(model.predict_permuted(rows, values) for values in replaced)]

    whole = predictions()
    monkeypatch.setattr(model, "rows_at_once", 20)
    for got, expected in zip(predictions(), whole, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def assert_stacks(model, examples):
    """Rows from the payloads of two batches, three times over: bit by bit what encoding them anew gives."""
    half = len(examples) // 2
    parts = [model.encode(examples[:half]).payloads, model.encode(examples[half:]).payloads]
    payloads = {f: [np.concatenate(arrays) for arrays in zip(*(p[f] for p in parts), strict=True)] for f in parts[0]}
    stacked, expected = model.stack(payloads, 3), model.encode(examples, 3)
    assert len(stacked) == len(expected) == 3 * len(examples)
    order = np.random.default_rng(2).permutation(len(expected))
    for features in ([], *([name] for name in model.features)):
        replaced = {name: [array[order] for array in expected.payloads[name]] for name in features}
        got, wanted = model.predict_permuted(stacked, replaced), model.predict_permuted(expected, replaced)
        assert got.tobytes() == wanted.tobytes(), features
    once = model.predict(model.encode(examples))
    np.testing.assert_allclose(model.predict(stacked), np.concatenate([once] * 3), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["taxi", *sorted({*TRANSFORM_MODELS} - {"numbers"})])  # it reads the batch itself
def test_rows_are_stacked_from_their_payloads(name):
    exported = (export_with_references if name in TRANSFORM_MODELS else export)(name)
    model = PermutationModel.of(open_model(exported.path, sample=exported.examples[:16]))
    assert not model.needs_examples
    assert model._splicer is None or model._joins_repeat
    assert_stacks(model, list(exported.examples))


def test_a_join_whose_rows_lie_along_another_axis_is_computed_for_all_copies(make):
    weights = tf.constant([[1.0, -2.0, 3.0]])
    opened = make(lambda p: tf.matmul(weights, tf.stack([p[name][:, 0] for name in NAMES]))[0, :, None])
    model = PermutationModel.of(opened)
    assert joins_of(model) == [3] and not model._joins_repeat
    assert_stacks(model, EXAMPLES)


def test_what_is_parsed_again_is_not_stacked(make):
    opened = make(lambda p: tf.add_n([p[name] for name in NAMES]))
    model = PermutationModel.of(opened, reparse=["b"])
    assert model.needs_examples
    with pytest.raises(ValueError, match=r"payloads must be those of all features \['a', 'b', 'c'\].*True"):
        model.stack(model.encode(EXAMPLES).payloads)
    model = PermutationModel.of(opened)
    with pytest.raises(ValueError, match=r"Received: \['a'\]"):
        model.stack({"a": model.encode(EXAMPLES).payloads["a"]})
