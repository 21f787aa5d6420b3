import concurrent.futures

import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import NAMES, SPEC, columns, network, numbers, random_matrix, save
from tests.fixtures.exported_models.examples import serialise
from tests.fixtures.exported_models.export import RELU_MODELS, SMOOTH_MODELS, WHEEL_MODELS, export

from tfx_explain.engine.feature_graph import ExampleError, FeatureModel, PermutationModel, narrow_cut, open_model
from tfx_explain.engine.feature_graph.flat_graph import FlatGraph

pytestmark = pytest.mark.tf

ROWS = 64
X = random_matrix(ROWS)
WORDS = ("red", "green", "blue", "black")


def rows_with(seed=0, **values_of):
    """Rows of three numbers and of further features, each made by a function of a generator."""
    rng = np.random.default_rng(seed)
    return [
        serialise(
            {**{k: [float(v)] for k, v in zip(NAMES, row, strict=True)}, **{k: f(rng) for k, f in values_of.items()}}
        )
        for row in X
    ]


def spliced(examples, donors, features):
    """The rows with some features as in the donors."""
    rows = []
    for serialised, donor in zip(examples, donors, strict=True):
        row, other = tf.train.Example.FromString(serialised), tf.train.Example.FromString(donor)
        for feature in features:
            row.features.feature.pop(feature, None)
            if feature in other.features.feature:
                row.features.feature[feature].CopyFrom(other.features.feature[feature])
        rows.append(row.SerializeToString(deterministic=True))
    return np.array(rows, dtype=object)


def permuted(model, narrow, features, order):
    return model.predict_permuted(narrow, {name: [a[order] for a in narrow.payloads[name]] for name in features})


def assert_permutes(opened, model, examples, groups=None):
    """Replaced payloads give what the untouched signature gives on spliced raw rows."""
    examples = np.array(examples, dtype=object)
    order = np.random.default_rng(1).permutation(len(examples))
    narrow = model.encode(examples)
    assert len(narrow) == len(examples)
    whole = opened.loaded.outputs(examples)[opened.output.name].reshape(len(examples), -1)
    scale = np.abs(whole).max()
    np.testing.assert_allclose(model.predict(narrow), whole, rtol=0, atol=1e-5 * scale)
    for group in groups or [[name] for name in model.features]:
        raw = spliced(examples, examples[order], group)
        expected = opened.loaded.outputs(raw)[opened.output.name].reshape(len(examples), -1)
        assert np.abs(expected - whole).max() > 1e-4 * scale, f"{group} changes nothing: the test is void"
        got = permuted(model, narrow, group, order)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * scale, err_msg=str(group))


@pytest.fixture
def make(tmp_path):
    """(function, spec, examples) -> what is opened, and its PermutationModel."""

    def build(function, spec, examples, net, sample=16, **options):
        path = save(tmp_path / "m", function, {**SPEC, **spec}, net)
        opened = open_model(path, sample=examples[:sample])
        return opened, PermutationModel.of(opened, **options)

    return build


@pytest.mark.parametrize("name", [*SMOOTH_MODELS, *RELU_MODELS, *WHEEL_MODELS])
def test_every_feature_of_exported_models(name):
    exported = export(name)
    opened = open_model(exported.path, sample=exported.examples[:16], unit="probability")
    model = PermutationModel.of(opened)
    assert model.reparsed == ()
    # Ids before they are encoded, embedding rows included: 8 bytes at the most.
    assert all(4 <= width <= 8 for width in model.row_bytes.values())
    assert model.row_bytes.get("word", 8) == 8
    groups = [[feature] for feature in model.features if feature != "constant"]
    assert_permutes(opened, model, exported.examples, [*groups, list(model.features[:2])])


def test_the_taxi_example_is_12_numbers_of_4_bytes():
    exported = export("taxi")
    features = FeatureModel.load(exported.path, sample=exported.examples[:16])
    model = PermutationModel.of(features.opened)
    assert model.features == features.features
    narrow = model.encode(exported.examples)
    assert model.payload_bytes(narrow) == len(exported.examples) * 12 * 4
    expected = features.predict(features.encode(exported.examples))
    np.testing.assert_allclose(model.predict(narrow), expected, atol=1e-5)
    assert (model.link, model.unit, model.num_targets) == ("sigmoid", "logit", 1)


def test_features_that_are_parsed_again_give_the_same_predictions():
    exported = export("taxi")
    opened = open_model(exported.path, sample=exported.examples[:16], unit="probability")
    model = PermutationModel.of(opened, reparse=["company", "trip_miles"])
    assert model.reparsed == ("company", "trip_miles")
    assert any("parsed again" in note for note in model.notes)
    groups = [["company"], ["trip_miles"], ["company", "trip_miles", "fare"], ["fare", "trip_seconds"]]
    assert_permutes(opened, model, exported.examples, groups)


def test_an_id_stands_for_its_embedding_row(make):
    net = network(width=11)
    net.table = tf.Variable(np.random.default_rng(3).normal(size=(5, 8)).astype(np.float32))

    def function(parsed, _):
        return {"score": net(tf.concat([columns(parsed), tf.gather(net.table, parsed["id"][:, 0])], 1))}

    examples = rows_with(id=lambda rng: [int(rng.integers(5))])
    opened, model = make(function, {"id": tf.io.FixedLenFeature([1], tf.int64)}, examples, net)
    assert model.row_bytes == {"a": 4, "b": 4, "c": 4, "id": 8}
    (ids,) = model.encode(examples).payloads["id"]
    assert ids.dtype == np.int64
    assert_permutes(opened, model, examples)


def test_an_id_stands_for_a_string_and_its_one_hot(make):
    net = network(width=8)
    pairs = tf.lookup.KeyValueTensorInitializer(list(WORDS), list(range(4)), tf.string, tf.int64)
    net.table = tf.lookup.StaticHashTable(pairs, 4)

    def function(parsed, _):
        return {"score": net(tf.concat([columns(parsed), tf.one_hot(net.table.lookup(parsed["word"])[:, 0], 5)], 1))}

    examples = rows_with(word=lambda rng: [["pink", *WORDS][rng.integers(5)]])
    opened, model = make(function, {"word": tf.io.FixedLenFeature([1], tf.string)}, examples, net)
    (ids,) = model.encode(examples).payloads["word"]
    assert (ids.dtype, model.row_bytes["word"]) == (np.int64, 8)
    assert set(ids.ravel()) == {0, 1, 2, 3, 4}
    assert_permutes(opened, model, examples)


def test_a_number_that_is_also_bucketised_is_replaced_in_both_places(make):
    net = network(width=7)

    def function(parsed, _):
        buckets = tf.one_hot(tf.raw_ops.Bucketize(input=parsed["a"], boundaries=[-0.5, 0.0, 0.5])[:, 0], 4)
        return {"score": net(tf.concat([columns(parsed), buckets], 1))}

    examples = numbers(X)
    opened, model = make(function, {}, examples, net)
    np.testing.assert_array_equal(model.encode(examples).payloads["a"][0], X[:, :1])
    assert_permutes(opened, model, examples)


def test_several_narrow_tensors_may_stand_for_one_feature(make):
    net = network(width=5)

    def function(parsed, _):
        v = parsed["v"]
        both = [tf.reduce_max(v, 1, keepdims=True), tf.reduce_sum(tf.abs(v), 1, keepdims=True)]
        return {"score": net(tf.concat([columns(parsed), *both], 1))}

    examples = rows_with(v=lambda rng: rng.normal(size=6).tolist())
    opened, model = make(function, {"v": tf.io.FixedLenFeature([6], tf.float32)}, examples, net)
    assert len(model.encode(examples).payloads["v"]) == 2
    assert model.row_bytes["v"] == 8
    assert_permutes(opened, model, examples)


def tags(rng):
    return rng.integers(5, size=rng.integers(0, 4)).tolist()


def test_a_sparse_feature_is_cut_at_its_multi_hot(make):
    net = network(width=8)

    def function(parsed, _):
        hot = tf.cast(tf.sparse.to_indicator(parsed["tags"], 5), tf.float32)
        return {"score": net(tf.concat([columns(parsed), tf.reshape(hot, [-1, 5])], 1))}

    examples = rows_with(tags=tags)
    opened, model = make(function, {"tags": tf.io.VarLenFeature(tf.int64)}, examples, net)
    assert model.row_bytes["tags"] == 5  # booleans
    assert_permutes(opened, model, examples)


def test_a_ragged_feature_is_cut_at_its_mean(make):
    net = network(width=4)

    def function(parsed, _):
        mean = tf.math.divide_no_nan(tf.reduce_sum(parsed["v"], 1), tf.cast(parsed["v"].row_lengths(), tf.float32))
        return {"score": net(tf.concat([columns(parsed), mean[:, None]], 1))}

    examples = rows_with(v=lambda rng: rng.normal(size=rng.integers(0, 4)).tolist())
    spec = {"v": tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int64)}
    opened, model = make(function, spec, examples, net)
    assert (model.reparsed, model.row_bytes["v"]) == ((), 4)
    assert_permutes(opened, model, examples)


def test_a_sparse_feature_with_one_value_a_row_in_the_sample_is_not_taken_for_dense(make):
    """Its padded ids, 8 bytes, look like one a row; what holds for any number of values is the sum of one-hots."""
    net = network(width=8)

    def function(parsed, _):
        ids = tf.sparse.to_dense(parsed["tags"], -1)
        return {"score": net(tf.concat([columns(parsed), tf.reduce_sum(tf.one_hot(ids, 5), 1)], 1))}

    first = rows_with(tags=lambda rng: [int(rng.integers(5))])[:16]
    examples = [*first, *rows_with(tags=tags)[16:]]
    opened, model = make(function, {"tags": tf.io.VarLenFeature(tf.int64)}, examples, net)
    assert model.row_bytes["tags"] == 20
    assert_permutes(opened, model, examples)


def test_a_hashed_cross_of_dense_strings_has_strings_as_payload(make):
    net = network(width=3 + 7)

    def function(parsed, _):
        crossed = tf.strings.join([parsed["left"], parsed["right"]], "_x_")
        return {
            "score": net(tf.concat([columns(parsed), tf.one_hot(tf.strings.to_hash_bucket_fast(crossed, 7), 7)], 1))
        }

    def word(rng):
        return [WORDS[rng.integers(4)]]

    examples = rows_with(left=word, right=word)
    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in ("left", "right")}
    opened, model = make(function, spec, examples, net)
    assert model.reparsed == ()
    left = model.encode(examples).payloads["left"][0]
    assert (left.dtype, left.shape) == (object, (ROWS,))
    assert set(left) == {word.encode() for word in WORDS}
    assert 3 <= model.row_bytes["left"] <= 5
    assert_permutes(opened, model, examples, [["left"], ["right"], ["left", "right"], ["a", "right"], ["c"]])


def sparse_cross(net):
    def function(parsed, _):
        crossed = tf.sparse.cross_hashed([parsed["left"], parsed["right"]], num_buckets=7)
        return {"score": net(tf.concat([columns(parsed), tf.cast(tf.sparse.to_indicator(crossed, 7), tf.float32)], 1))}

    spec = {name: tf.io.VarLenFeature(tf.string) for name in ("left", "right")}

    def words(rng):
        return [WORDS[i] for i in rng.integers(4, size=rng.integers(0, 3))]

    return function, spec, rows_with(left=words, right=words), net


def test_a_hashed_cross_of_sparse_strings_is_parsed_again(make):
    opened, model = make(*sparse_cross(network(width=3 + 7)))
    assert model.features == ("a", "b", "c", "left", "right")
    assert model.reparsed == ("left", "right")
    examples = sparse_cross(None)[2]
    segment = model.encode(examples).payloads["left"][0]
    for raw, own in zip(examples, segment, strict=True):
        values = tf.train.Example.FromString(raw).features.feature
        assert (own == b"") == ("left" not in values)
        assert own == b"" or tf.train.Example.FromString(own).features.feature["left"] == values["left"]
    assert_permutes(opened, model, examples, [["left"], ["right"], ["left", "right"], ["b"], ["a", "c", "left"]])


def test_features_that_must_agree_are_replaced_together(make):
    net = network(width=7)
    net.table = tf.Variable(np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32))

    def function(parsed, _):
        mean = tf.nn.safe_embedding_lookup_sparse(net.table, parsed["ids"], parsed["weights"], combiner="sum")
        return {"score": net(tf.concat([columns(parsed), tf.reshape(mean, [-1, 4])], 1))}

    rng = np.random.default_rng(0)
    lengths = iter(rng.integers(0, 4, size=ROWS))
    counts = []

    def ids(rng):
        counts.append(int(next(lengths)))
        return rng.integers(5, size=counts[-1]).tolist()

    examples = rows_with(ids=ids, weights=lambda rng: rng.uniform(1, 2, size=counts[-1]).tolist())
    spec = {"ids": tf.io.VarLenFeature(tf.int64), "weights": tf.io.VarLenFeature(tf.float32)}
    opened, model = make(function, spec, examples, net)
    assert model.reparsed == ("ids", "weights")
    assert_permutes(opened, model, examples, [["a"], ["b"], ["c"], ["ids", "weights"]])
    assert model.refused_alone == ("ids", "weights")
    assert any("cannot be replaced alone" in note and "['ids', 'weights']" in note for note in model.notes)
    narrow = model.encode(examples)
    with pytest.raises(ExampleError, match="the model refuses one of 64 rows"):
        model.predict_permuted(narrow, {"ids": [np.full(ROWS, narrow.payloads["ids"][0].max(), dtype=object)]})


def tree(_):
    weights = tf.constant([1.0, 2.0, 3.0])
    return lambda parsed, _: {"score": tf.reduce_sum(tf.cast(columns(parsed) > 0.1, tf.float32) * weights, 1)}


def stumps(_):
    return lambda parsed, _: {
        "score": tf.add_n([k * tf.cast(parsed[name] > 0.1, tf.float32) for k, name in enumerate(NAMES, 1)])[:, 0]
    }


def argmax(net):
    return lambda parsed, _: {"classes": tf.cast(tf.argmax(net(columns(parsed)), 1), tf.float32)}


@pytest.mark.parametrize(("of_net", "width"), [(tree, 4), (stumps, 1), (argmax, 4)])
def test_no_gradient_is_needed(of_net, width, make):
    net = network(targets=3)
    opened, model = make(of_net(net), {}, numbers(X), net)
    assert (model.features, model.reparsed) == (NAMES, ())
    # Of stumps the booleans are narrowest.
    assert set(model.row_bytes.values()) == {width}
    assert_permutes(opened, model, numbers(X), [["a"], ["b"], ["c"], ["a", "c"], list(NAMES)])


def test_with_one_feature_the_prediction_itself_is_narrowest(tmp_path):
    net = network(width=4)
    spec = {"v": tf.io.FixedLenFeature([4], tf.float32)}
    path = save(tmp_path / "m", lambda parsed, _: {"score": net(parsed["v"])}, spec, net)
    examples = [serialise({"v": row.tolist()}) for row in np.random.default_rng(0).normal(size=(20, 4))]
    opened = open_model(path, sample=examples[:8])
    model = PermutationModel.of(opened)
    assert model.row_bytes == {"v": 4}
    assert_permutes(opened, model, examples)


def test_a_feature_that_tells_by_its_number_of_values_alone_is_not_forgotten(tmp_path):
    net = network()

    def function(parsed, _):
        return {"score": net(columns(parsed)) + tf.cast(tf.size(parsed["tags"].values), tf.float32)}

    path = save(tmp_path / "m", function, {**SPEC, "tags": tf.io.VarLenFeature(tf.int64)}, net)
    loaded = tf.saved_model.load(path)
    flat = FlatGraph.from_signature(loaded.signatures["serving_default"])
    sample = np.array(rows_with(tags=tags)[:16], dtype=object)
    cut = narrow_cut.find_narrow_cut(flat, flat.output_names["score"], sample)
    assert (sorted(cut.payloads), cut.reparsed) == (["a", "b", "c"], ("tags",))


def test_a_feature_that_fails_the_check_is_parsed_again(make, monkeypatch):
    """A cut that leaves one of two paths open."""
    net = network(width=5)

    def function(parsed, _):
        v = parsed["v"]
        both = [tf.reduce_max(v, 1, keepdims=True), tf.reduce_sum(tf.abs(v), 1, keepdims=True)]
        return {"score": net(tf.concat([columns(parsed), *both], 1))}

    true_cut = narrow_cut.min_vertex_cut
    monkeypatch.setattr(narrow_cut, "min_vertex_cut", lambda *arguments: true_cut(*arguments)[:1])
    examples = rows_with(v=lambda rng: rng.normal(size=6).tolist())
    opened, model = make(function, {"v": tf.io.FixedLenFeature([6], tf.float32)}, examples, net)
    assert model.reparsed == ("v",)
    assert any("did not give the whole model's output are parsed again: ['v']" in note for note in model.notes)
    assert_permutes(opened, model, examples)


@pytest.mark.parametrize("features", [["b"], ["left"], ["b", "left"]])
def test_a_row_does_not_depend_on_the_other_rows(features, make):
    _, model = make(*sparse_cross(network(width=3 + 7)))
    examples = sparse_cross(None)[2]
    first, order = model.encode(examples), np.random.default_rng(2).permutation(ROWS)
    once = permuted(model, first, features, order)
    np.testing.assert_array_equal(once, permuted(model, first, features, order))
    mixed = model.encode([*examples[:32], *examples[:16], *examples[:16]])
    donors = {name: [array[order] for array in first.payloads[name]] for name in features}
    np.testing.assert_array_equal(once[:32], model.predict_permuted(mixed, donors)[:32])
    np.testing.assert_array_equal(model.predict(first)[:32], model.predict(mixed)[:32])


def test_threads_share_one_model(make):
    _, model = make(*sparse_cross(network(width=3 + 7)))
    narrow = model.encode(sparse_cross(None)[2])
    jobs = [([name], np.random.default_rng(k).permutation(ROWS)) for k in range(4) for name in model.features]
    expected = [permuted(model, narrow, *job) for job in jobs]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for a, b in zip(expected, pool.map(lambda job: permuted(model, narrow, *job), jobs), strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_does_not_fit_is_refused(make):
    opened, model = make(*sparse_cross(network(width=3 + 7)))
    narrow = model.encode(sparse_cross(None)[2])
    with pytest.raises(ValueError, match=r"replaced must name features of \['a', 'b', 'c', 'left', 'right'\].*'d'"):
        model.predict_permuted(narrow, {"d": narrow.payloads["a"]})
    for wrong in ([], [np.zeros([ROWS, 1])], [np.zeros([3, 1], np.float32)], [[[0.0]] * ROWS]):
        with pytest.raises(ValueError, match="the payload of 'a' must have the shapes and types"):
            model.predict_permuted(narrow, {"a": wrong})
    with pytest.raises(ExampleError, match="the model refuses one of 1 rows"):
        model.encode([b"no example"])
    with pytest.raises(ValueError, match=r"reparse must name features.*\['d'\]"):
        PermutationModel.of(opened, reparse=["d"])
