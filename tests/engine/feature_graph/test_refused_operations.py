"""Operations that make a model unusable are named, with the way out."""

import keras
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tests.engine.feature_graph.small_models import SPEC, columns, numbers, random_matrix, save

from tfx_explain.engine.feature_graph import (
    BatchDependentError,
    FeatureModel,
    NotRepeatableError,
    SavedModelError,
    UnsupportedOpError,
)

pytestmark = pytest.mark.tf

SAMPLE = numbers(random_matrix(16))


def score(parsed):
    return tf.reduce_sum(columns(parsed) * [1.0, 2.0, 3.0], 1, keepdims=True)


class Module(tf.Module):
    """Holds what a signature captures."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def drifting():
    module = Module(drift=tf.Variable(0.0, name="drift"))

    def serve(parsed, _):
        module.drift.assign_add(1e-7)  # far below what two calls show
        return {"score": score(parsed) + module.drift}

    return module, serve


def stateful_recurrence():
    module = Module(state=tf.Variable(tf.zeros([16, 1]), name="memory"))

    def serve(parsed, _):
        state = tf.tanh(score(parsed) + module.state)
        module.state.assign(state)
        return {"score": state}

    return module, serve


def written_in_a_loop():
    module = Module(total=tf.Variable(0.0, name="total"))

    def serve(parsed, _):
        tf.while_loop(lambda i: i < 3, lambda i: i + tf.cast(module.total.assign_add(1.0) > -1, tf.int32), [0])
        return {"score": score(parsed) + module.total}

    return module, serve


def calls_python():
    def serve(parsed, _):
        return {"score": tf.py_function(lambda x: 2.0 * x, [score(parsed)], tf.float32)}

    return None, serve


def training_normalisation():
    layer = keras.layers.BatchNormalization(name="norm")
    layer.build((None, 3))

    def serve(parsed, _):
        return {"score": tf.reduce_sum(layer(columns(parsed), training=True) * [1.0, 2.0, 3.0], 1, keepdims=True)}

    return Module(layer=layer), serve


def size_of_the_batch():
    def serve(parsed, _):
        own = score(parsed)
        return {"score": tf.cond(tf.shape(own)[0] > 2, lambda: 2.0 * own, lambda: own, name="large")}

    return None, serve


def noise():
    return None, lambda parsed, _: {"score": score(parsed) + tf.random.normal([1, 1], name="noise")}


def noise_of_a_seed():
    return None, lambda parsed, _: {
        "score": score(parsed) + tf.random.stateless_normal([tf.shape(parsed["a"])[0], 1], [1, 2], name="noise")
    }


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (drifting, NotRepeatableError, "AssignAddVariableOp .* writes 'drift:0', which an output reads: export"),
        (stateful_recurrence, NotRepeatableError, "AssignVariableOp .* writes 'memory:0', .*stateful recurrent"),
        (written_in_a_loop, NotRepeatableError, "AssignAddVariableOp .* writes a variable in a loop or a branch"),
        (calls_python, UnsupportedOpError, "EagerPyFunc .* calls Python code.*: write that step with TensorFlow"),
        (
            training_normalisation,
            BatchDependentError,
            "the rows of a batch in Mean .*moments/mean.*training=False",
        ),
        (size_of_the_batch, BatchDependentError, "mixes the rows of a batch in StatelessIf .*large"),
        (noise, NotRepeatableError, "draws random numbers in RandomStandardNormal .*noise.*: export"),
        (noise_of_a_seed, BatchDependentError, "mixes the rows of a batch in StatelessRandomNormal.*noise"),
    ],
)
def test_the_operation_is_named(make, error, message, tmp_path):
    module, serve = make()
    path = save(tmp_path / "m", serve, module=module)
    with pytest.raises(error, match=message) as caught:
        FeatureModel.load(path, sample=SAMPLE)
    assert str(caught.value).endswith(".") and ". " not in str(caught.value)


@pytest.mark.parametrize("default", [True, False])
def test_control_flow_of_tensorflow_1(default, tmp_path):
    """A Merge takes whichever branch comes first where its control edges are gone: it was right by chance."""
    v1, path = tf.compat.v1, str(tmp_path / "m")
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default(), v1.Session() as session:
            examples = v1.placeholder(tf.string, [None])
            training = v1.placeholder_with_default(tf.constant(default), [], name="training")
            factor = v1.cond(training, lambda: tf.constant(5.0), lambda: tf.constant(-1.0), name="rate")
            scores = factor * score(v1.io.parse_example(examples, SPEC))
            v1.saved_model.simple_save(session, path, {"examples": examples}, {"score": scores})
    finally:
        v1.enable_control_flow_v2()
    with pytest.raises(UnsupportedOpError, match="but Merge .*rate/Merge.* TensorFlow 1: call .* and export again"):
        FeatureModel.load(path, sample=SAMPLE)


def test_a_counter_that_no_output_reads_is_let_be(tmp_path):
    module = Module(calls=tf.Variable(0.0))

    def serve(parsed, _):
        module.calls.assign_add(1.0)
        return {"score": score(parsed)}

    model = FeatureModel.load(save(tmp_path / "m", serve, module=module), sample=SAMPLE)
    assert model.features == ("a", "b", "c")


def test_noise_that_changes_nothing_is_noted(tmp_path):
    quiet = lambda parsed, _: {"score": score(parsed) + 0.0 * tf.random.normal([1, 1])}  # noqa: E731
    model = FeatureModel.load(save(tmp_path / "m", quiet), sample=SAMPLE)
    assert any("RandomStandardNormal" in note for note in model.notes)


def test_a_signature_of_eight_rows(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([8], tf.string, name="examples")])
    def serve(examples):
        return {"score": score(tf.io.parse_example(examples, SPEC))}

    tf.saved_model.save(tf.Module(), str(tmp_path / "m"), signatures={"serving_default": serve})
    with pytest.raises(BatchDependentError, match="any size, but its input 'examples' takes 8 rows: export it with"):
        FeatureModel.load(str(tmp_path / "m"), sample=SAMPLE)


def test_an_operation_that_is_not_registered(tmp_path):
    path = save(tmp_path / "m", lambda parsed, _: {"score": tf.nn.selu(score(parsed))})
    file = tmp_path / "m" / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    nodes = [node for f in saved.meta_graphs[0].graph_def.library.function for node in f.node_def if node.op == "Selu"]
    assert nodes
    for node in nodes:
        node.op = "SomeLibrary>Selu"
    file.write_bytes(saved.SerializeToString())
    message = "'SomeLibrary>Selu' is not: import the library that defines it .* by op_libraries in ExplainConfig"
    with pytest.raises(UnsupportedOpError, match=message):
        FeatureModel.load(path, sample=SAMPLE)


def test_a_table_that_nothing_fills(tmp_path):
    path = str(tmp_path / "m")
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, [None], name="examples")
        parsed = tf.io.parse_example(examples, {"a": tf.io.FixedLenFeature([1], tf.float32)})
        filling = tf.lookup.KeyValueTensorInitializer(tf.constant([0, 1], tf.int64), tf.constant([1.0, 2.0]))
        table = tf.lookup.StaticHashTable(filling, 0.0)
        found = table.lookup(tf.cast(parsed["a"] > 0, tf.int64), name="look_up") * parsed["a"]
        signature = v1.saved_model.predict_signature_def({"examples": examples}, {"score": found})
        v1.get_default_graph().clear_collection(v1.GraphKeys.TABLE_INITIALIZERS)
        builder = v1.saved_model.Builder(path)
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    with pytest.raises(SavedModelError, match="filled when it is loaded, but .* at .*look_up.*: keep the table"):
        FeatureModel.load(path, sample=SAMPLE)
