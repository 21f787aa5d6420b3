import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import SPEC, columns, network, numbers, random_matrix, save
from tests.fixtures.exported_models.examples import serialise
from tests.fixtures.exported_models.export import export

from tfx_explain.engine.feature_graph import (
    BatchDependentError,
    ExampleError,
    FeatureModel,
    FeatureModelError,
    NoGradientError,
    NotRepeatableError,
    OutputError,
    SavedModelError,
    SignatureError,
)

pytestmark = pytest.mark.tf

SAMPLE = numbers(random_matrix(16))


def argmax(net):
    return lambda parsed, _: {"classes": tf.cast(tf.argmax(net(columns(parsed)), 1), tf.float32)}


def strings_only(net):
    return lambda parsed, _: {"classes": tf.gather(["x", "y", "z"], tf.argmax(net(columns(parsed)), 1))}


def tree(_):
    weights = tf.constant([1.0, 2.0, 3.0])
    return lambda parsed, _: {"score": tf.reduce_sum(tf.cast(columns(parsed) > 0.1, tf.float32) * weights, 1)}


def batch_sum(net):
    def normalised(parsed, _):
        score = net(columns(parsed))[:, :1]
        return {"score": score / tf.reduce_sum(tf.abs(score))}

    return normalised


def batch_size_branch(net):
    def branch(parsed, _):
        score = net(columns(parsed))[:, :1]
        return {"score": tf.cond(tf.shape(score)[0] > 2, lambda: 2.0 * score, lambda: score)}

    return branch


def fixed_batch(net):
    return lambda parsed, _: {"score": tf.eye(16) @ net(columns(parsed))[:, :1]}


def one_number(net):
    return lambda parsed, _: {"score": tf.reduce_sum(net(columns(parsed)))}


def dropout(net):
    return lambda parsed, _: {"score": net(tf.nn.dropout(columns(parsed), 0.5))[:, :1]}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (argmax, NoGradientError, "features 'a', 'b', 'c' reach the output only through ArgMax"),
        (strings_only, NoGradientError, r"floating output.*'classes': 'string'"),
        (tree, NoGradientError, "features 'a', 'b', 'c' reach the output only through Greater"),
        (batch_sum, BatchDependentError, "'score' of a row depends on the other rows"),
        (batch_size_branch, BatchDependentError, "'score' of a row depends on the other rows"),
        (fixed_batch, BatchDependentError, "at 'StatefulPartitionedCall/matmul'.*takes 16 rows and not 1"),
        (one_number, BatchDependentError, "'score' must have one row an example"),
        (dropout, NotRepeatableError, "'score' changes between two calls"),
    ],
)
def test_refuses_what_cannot_be_attributed(make, error, message, tmp_path):
    net = network(targets=3)
    path = save(tmp_path / "m", make(net), module=net)
    with pytest.raises(error, match=message) as caught:
        FeatureModel.load(path, sample=SAMPLE)
    assert isinstance(caught.value, FeatureModelError)


def test_a_missing_signature_names_those_there_are():
    exported = export("vocabulary_smooth")
    with pytest.raises(SignatureError, match=r"\['serving_default', 'transform_features'\].*signature='predict'"):
        FeatureModel.load(exported.path, sample=exported.examples[:4], signature="predict")


def test_a_signature_of_dense_inputs_wants_features_of_their_names(tmp_path):
    module = tf.Module()
    spec = tf.TensorSpec([None, 3], tf.float32, name="x")
    module.serve = tf.function(lambda x: {"y": x * 2.0}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": module.serve})
    with pytest.raises(SignatureError, match=r"no feature \['x'\]; the examples have \['a', 'b', 'c'\]"):
        FeatureModel.load(str(tmp_path / "m"), sample=SAMPLE)


def test_rows_that_are_no_examples_have_no_feature_for_a_signature_without_a_parser(tmp_path):
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.string, name="lines")
    module.serve = tf.function(lambda x: {"y": tf.cast(tf.strings.length(x), tf.float32)}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": module.serve})
    with pytest.raises(SignatureError, match=r"no feature \['lines'\]; the examples have \[\]"):
        FeatureModel.load(str(tmp_path / "m"), sample=[b"x", b"yy"])


def test_an_unknown_output_names_those_there_are(tmp_path):
    net = network()
    path = save(tmp_path / "m", lambda parsed, _: {"score": net(columns(parsed))}, module=net)
    with pytest.raises(OutputError, match=r"\['score'\]. Received: output='logit'"):
        FeatureModel.load(path, sample=SAMPLE, output="logit")


def copy_of(name, tmp_path):
    exported = export(name)
    return Path(shutil.copytree(exported.path, tmp_path / "model")), exported.examples[:16]


def test_truncated_variables_are_refused(tmp_path):
    path, sample = copy_of("vocabulary_smooth", tmp_path)
    data = path / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(SavedModelError, match="missing or truncated"):
        FeatureModel.load(str(path), sample=sample)


def test_missing_variables_are_refused(tmp_path):
    path, sample = copy_of("vocabulary_smooth", tmp_path)
    shutil.rmtree(path / "variables")
    with pytest.raises(SavedModelError, match="missing or truncated"):
        FeatureModel.load(str(path), sample=sample)


def test_a_truncated_graph_is_refused(tmp_path):
    path, sample = copy_of("vocabulary_smooth", tmp_path)
    graph = path / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(SavedModelError, match="missing or truncated"):
        FeatureModel.load(str(path), sample=sample)


def test_a_missing_vocabulary_file_is_refused(tmp_path):
    path, sample = copy_of("vocabulary_smooth", tmp_path)
    (path / "assets" / "word").unlink()
    with pytest.raises(SavedModelError, match="word"):
        FeatureModel.load(str(path), sample=sample)


def of_devices(folder, *tags):
    """A SavedModel of TensorFlow 1 with one graph for each set of tags, the first one with the weights."""
    v1 = tf.compat.v1
    builder = v1.saved_model.Builder(str(folder))
    for number, own in enumerate(tags):
        with tf.Graph().as_default(), v1.Session() as session:
            examples = v1.placeholder(tf.string, [None])
            weight = v1.get_variable("weight", [], initializer=v1.constant_initializer(2.0))
            scores = weight * columns(v1.io.parse_example(examples, SPEC))
            session.run(v1.global_variables_initializer())
            signature = v1.saved_model.predict_signature_def({"examples": examples}, {"scores": scores})
            signatures = {"serving_default": signature}
            if number:
                builder.add_meta_graph(list(own), signatures)
            else:
                builder.add_meta_graph_and_variables(session, list(own), signatures)
    builder.save()
    return str(folder)


def test_of_graphs_for_several_devices_the_one_for_none_is_taken(tmp_path):
    model = FeatureModel.load(of_devices(tmp_path / "m", ["serve", "tpu"], ["serve"]), sample=SAMPLE)
    assert model.features == ("a", "b", "c")


def test_several_graphs_for_certain_devices_are_refused(tmp_path):
    path = of_devices(tmp_path / "m", ["serve", "tpu"], ["serve", "gpu"])
    with pytest.raises(SavedModelError, match=r"the tag 'serve' alone \(.*'tpu'.*\). Export it so."):
        FeatureModel.load(path, sample=SAMPLE)


def test_a_folder_without_a_saved_model_is_refused(tmp_path):
    with pytest.raises(SavedModelError, match="must be the folder that holds saved_model.pb"):
        FeatureModel.load(str(tmp_path), sample=SAMPLE)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    net = network()
    return save(tmp_path_factory.mktemp("plain") / "m", lambda p, _: {"score": net(columns(p))}, module=net)


def test_a_sample_that_the_parser_refuses(plain):
    with pytest.raises(ExampleError, match="the model refuses the sample.*c"):
        FeatureModel.load(plain, sample=[serialise({"a": [1.0], "b": [1.0]})] * 2)


def test_rows_that_the_parser_refuses(plain):
    model = FeatureModel.load(plain, sample=SAMPLE)
    for row in (serialise({"a": [1.0], "b": [1.0]}), b"no example"):
        with pytest.raises(ExampleError, match="the model refuses one of 3 rows"):
            model.encode([SAMPLE[0], row, SAMPLE[1]])


@pytest.mark.parametrize("examples", [[], ["text"], [None]])
def test_what_is_no_batch_of_examples(plain, examples):
    with pytest.raises(ValueError, match="examples must be serialised tf.Examples"):
        FeatureModel.load(plain, sample=examples)


def test_an_unknown_unit(plain):
    with pytest.raises(ValueError, match="unit must be 'logit' or 'probability'. Received: unit='log-odds'"):
        FeatureModel.load(plain, sample=SAMPLE, unit="log-odds")


def test_a_sample_of_one_row_is_repeated_and_noted(plain):
    model = FeatureModel.load(plain, sample=SAMPLE[:1])
    assert any("one row only" in note for note in model.notes)
    assert not any("one row only" in note for note in FeatureModel.load(plain, sample=SAMPLE).notes)


def test_an_input_baseline_whose_features_do_not_fit_each_other(tmp_path):
    """As a nested list has it: the usual lengths are those of one row, the usual values those of another."""
    nested = tf.io.RaggedFeature(tf.float32, value_key="values", partitions=[tf.io.RaggedFeature.RowLengths("lengths")])

    def serve(parsed, _):
        sums = tf.reduce_sum(parsed["nested"], 2).to_tensor(shape=[None, 3])
        return {"score": tf.reduce_sum(sums, 1, keepdims=True) * parsed["a"]}

    path = save(tmp_path / "m", serve, {"nested": nested, "a": SPEC["a"]})
    rows = [serialise({"lengths": [1, 2], "values": [float(i), 1.0, 2.0], "a": [0.5 * i]}) for i in range(8)]
    alone = serialise({"lengths": [1, 2], "values": [1.0], "a": [1.0]})
    with pytest.raises(ExampleError, match="the input baseline, .* let input_baseline give fitting values .*Received"):
        FeatureModel.load(path, sample=rows, input_baseline=alone)
    fitting = serialise({"lengths": [1], "values": [1.0], "a": [1.0]})
    model = FeatureModel.load(path, sample=rows, input_baseline=fitting)
    assert model.features == ("a", "lengths x values")


def test_a_dense_feature_of_the_baseline_is_needed_even_if_unused(tmp_path):
    net = network(width=2)
    path = save(tmp_path / "m", lambda p, _: {"score": net(tf.concat([p["a"], p["b"]], 1))}, {**SPEC}, net)
    model = FeatureModel.load(path, sample=SAMPLE)
    assert model.unused_features == ("c",)
    with pytest.raises(ExampleError):
        model.encode([serialise({"a": [0.0], "b": [0.0]})])
    assert np.isfinite(model.predict(model.encode(numbers(np.zeros((1, 3)))))).all()
