import keras
import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import NAMES, SPEC, columns, network, numbers, random_matrix, save
from tests.fixtures.exported_models.examples import serialise

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.feature_graph.flat_graph import FlatGraph
from tfx_explain.engine.feature_graph.tf_internals import function_body, has_registered_gradient
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients

pytestmark = pytest.mark.tf

X = random_matrix(24)
EXAMPLES = numbers(X)
BASELINE = numbers(np.full((1, 3), 0.1))[0]


def row_of(values):
    return {name: [float(value)] for name, value in zip(NAMES, values, strict=True)}


@tf.custom_gradient
def reversed_gradient(x):
    return tf.identity(x), lambda upstream: -5.0 * upstream


def stopped(net):
    return lambda parsed, _: {"score": net(tf.stop_gradient(columns(parsed)))}


def gradient_reversal(net):
    return lambda parsed, _: {"score": net(reversed_gradient(columns(parsed)))}


def loop_inside_branch(net):
    def controlled(parsed, _):
        h = net(columns(parsed))
        h = tf.cond(tf.shape(h)[1] > 2, lambda: h * 2.0, lambda: h * 0.5)
        return {"score": tf.while_loop(lambda i, _: i < 3, lambda i, h: (i + 1, tf.tanh(h) + h), [0, h])[1]}

    return controlled


def row_by_row(net):
    def mapped(parsed, _):
        rows = tf.map_fn(lambda row: tf.nn.softplus(row) * 2.0, columns(parsed))
        return {"score": net(tf.reshape(rows, [-1, 3]))}

    return mapped


def own_gradients_in_a_loop(net):
    """Custom and stopped gradients in a loop's body, in functions that it calls, and in their branches."""

    @tf.function
    def called(row):
        return tf.cond(tf.size(row) > 2, lambda: tf.nn.silu(tf.stop_gradient(row)), lambda: row) + tf.stop_gradient(row)

    def mapped(parsed, _):
        return {"score": net(tf.map_fn(lambda row: called(reversed_gradient(tf.nn.silu(row))), columns(parsed)))}

    return mapped


def where_relu(net):
    def leaky(parsed, _):
        h = net(columns(parsed))
        return {"score": tf.where(h > 0, h, 0.1 * h)}

    return leaky


def batch_size_from_examples(net):
    def padded(parsed, examples):
        z = tf.concat([parsed["a"], parsed["b"], parsed["c"] + tf.zeros([tf.shape(examples)[0], 1])], 1)
        return {"score": net(z)}

    return padded


def jitted(net):
    compiled = tf.function(lambda z: net(z), jit_compile=True)
    return lambda parsed, _: {"score": compiled(columns(parsed))}


TRAPS = (
    stopped,
    gradient_reversal,
    loop_inside_branch,
    row_by_row,
    own_gradients_in_a_loop,
    where_relu,
    batch_size_from_examples,
    jitted,
)


@pytest.mark.parametrize("make", TRAPS)
def test_attributions_add_up(make, tmp_path):
    net = network()
    path = save(tmp_path / "m", make(net), module=net)
    model = FeatureModel.load(path, sample=EXAMPLES[:8], input_baseline=BASELINE)
    assert model.features == ("a", "b", "c")
    result = integrated_gradients(model, model.encode(EXAMPLES), model.encode([BASELINE]), 0)
    assert result.converged.all()
    assert (np.abs(result.attributions).mean(axis=0) > 1e-3).all()
    values = (
        tf.saved_model.load(path).signatures["serving_default"](tf.constant([*EXAMPLES, BASELINE]))["score"].numpy()
    )
    np.testing.assert_allclose(result.attributions.sum(axis=1), values[:-1, 0] - values[-1, 0], atol=0.02)


def test_one_process_may_load_a_model_with_loops_twice(tmp_path):
    net = network()
    path = save(tmp_path / "m", loop_inside_branch(net), module=net)
    results = []
    for _ in range(2):
        model = FeatureModel.load(path, sample=EXAMPLES[:8])
        rows, baseline = model.encode(EXAMPLES), model.encode([BASELINE])
        results.append(integrated_gradients(model, rows, baseline, 0).attributions)
    np.testing.assert_array_equal(*results)


def test_a_sparse_feature_of_any_length_is_cut_where_rows_have_one_shape(tmp_path):
    net = network(width=7)
    table = tf.Variable(np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32))
    net.table = table
    spec = {**SPEC, "tags": tf.io.VarLenFeature(tf.int64)}

    def mean_embedding(parsed, _):
        mean = tf.nn.safe_embedding_lookup_sparse(table, parsed["tags"], combiner="mean")
        return {"score": net(tf.concat([columns(parsed), mean], 1))}

    path = save(tmp_path / "m", mean_embedding, spec, net)
    rng = np.random.default_rng(4)
    rows = [
        serialise({**row_of(row), "tags": rng.integers(5, size=k).tolist()})
        for row, k in zip(X, rng.integers(0, 5, size=len(X)), strict=True)
    ]
    model = FeatureModel.load(path, sample=rows[:8], input_baseline=BASELINE)
    assert model.features == ("a", "b", "c", "tags")
    result = integrated_gradients(model, model.encode(rows), model.encode([BASELINE]), 0)
    assert result.converged.all()


def test_tokens_are_frozen_under_element_and_pooled_under_feature(tmp_path):
    keras.utils.set_random_seed(1)
    ids = keras.Input((6,), dtype="int64")
    hidden = keras.layers.LSTM(5)(keras.layers.Embedding(9, 4, mask_zero=True)(ids))
    sequence = keras.Model(ids, keras.layers.Dense(1)(hidden))
    net = network()
    net.sequence = sequence
    spec = {**SPEC, "ids": tf.io.FixedLenFeature([6], tf.int64)}

    def tokens(parsed, _):
        return {"score": net(columns(parsed)) + sequence(parsed["ids"])}

    path = save(tmp_path / "m", tokens, spec, net)
    rng = np.random.default_rng(4)
    rows = [serialise({**row_of(row), "ids": rng.integers(1, 9, size=6).tolist()}) for row in X]
    whole = FeatureModel.load(path, sample=rows[:8])
    tokens_ = FeatureModel.load(path, sample=rows[:8], cut_policies={"ids": "element"})
    assert tokens_.cut_policies["ids"] == "element"
    widths = [model.gradients(model.encode(rows), 0)["ids"].shape[1] for model in (whole, tokens_)]
    assert widths[1] == 6 * 4
    assert widths[0] < widths[1]


def test_functions_are_inlined_and_blockers_removed(tmp_path):
    net = network()
    path = save(tmp_path / "m", stopped(net), module=net)
    loaded = tf.saved_model.load(path)
    flat = FlatGraph.from_signature(loaded.signatures["serving_default"])
    types = {op.type for op in flat.graph.get_operations()}
    assert not types & {"PartitionedCall", "StatefulPartitionedCall", "StopGradient"}
    assert {"ParseExampleV2", "MatMul"} <= types
    function = flat.function(flat.input_names, list(flat.output_names.values()))
    expected = loaded.signatures["serving_default"](tf.constant(EXAMPLES))["score"]
    np.testing.assert_allclose(function(tf.constant(EXAMPLES))[0], expected, atol=1e-6)


def test_the_private_parts_of_tensorflow_still_do_what_is_relied_on():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def inner(x):
        a, b = tf.split(x, 2)
        return a + b, tf.floor(x)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def outer(x):
        return inner(x)[0]

    graph = outer.get_concrete_function().graph
    functions = [f for f in graph.as_graph_def().library.function if "inner" in f.signature.name]
    body, names = function_body(functions[0], graph)
    types = {node.op for node in body.node}
    assert {"Split", "AddV2", "Floor", "Placeholder"} <= types
    outputs = {names[name].rsplit(":", 1)[0] for name in functions[0].ret.values()}
    assert outputs <= {node.name for node in body.node}
    operations = {op.type: op for op in inner.get_concrete_function().graph.get_operations()}
    assert has_registered_gradient(operations["AddV2"])
    with tf.Graph().as_default():
        assert not has_registered_gradient(tf.shape(tf.random.normal([2])).op)
        assert not has_registered_gradient(tf.io.decode_raw(["ab"], tf.uint8).op)
