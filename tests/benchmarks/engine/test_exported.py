import numpy as np
import pytest

from benchmarks.engine import networks, reference, rules

pytestmark = pytest.mark.tf

ROWS = 40


@pytest.mark.parametrize("name", ["wide", "cnn"])
def test_engine_and_bound_give_the_attributions_of_the_weights(tmp_path, monkeypatch, name):
    from benchmarks.engine import bare, ours, subject
    from benchmarks.engine.compare import difference

    monkeypatch.setattr(bare, "CANDIDATES", ((32, 1, False), (16, 5, False)))
    monkeypatch.setattr(ours, "BLOCK_ROWS", 64)
    rule = rules.gauss_legendre(10)
    made = subject.built(name, ROWS, tmp_path)
    exact = np.empty(made.columns.shape)
    for i, row in enumerate(made.columns.astype(np.float64)):
        found = reference.forward(made.network, rule[0][:, None] * row)
        exact[i] = (rule[1] @ reference.gradients(made.network, found)) * row
    engine = ours.Engine(made.path, made.examples, made.baseline)
    assert engine.model.features == made.network.features
    blocks, _ = engine.blocks(made.examples)
    integral = engine.integrate(blocks, ROWS, *rule)
    assert difference(made.network, made.columns, integral.attributions, exact, *rule).equal
    logits = reference.forward(made.network, made.columns).logits
    np.testing.assert_allclose(integral.prediction, logits, rtol=1e-5, atol=1e-5)
    bound = bare.Bound(made.head, made.encode(0, ROWS), made.encoded_baseline, *rule)
    (theirs,) = bound.attribute(made.encode(0, ROWS))
    assert difference(made.network, made.columns, made.network.by_feature(exact), theirs, *rule).equal


def test_numbers_and_words_stand_in_their_examples():
    import tensorflow as tf

    from benchmarks.engine.exported import serialise

    network = networks.make("wide")
    inputs = networks.rows_for(network, 3)
    for example, columns, word in zip(serialise(network, inputs), inputs.columns, inputs.word, strict=True):
        features = tf.train.Example.FromString(example).features.feature
        numbers = [features[name].float_list.value[0] for name in network.features if name != "word"]
        np.testing.assert_array_equal(np.float32(numbers), columns[16:])
        assert features["word"].bytes_list.value[0] == b"w%04d" % word


def test_keras_gives_the_logits_of_the_weights():
    from benchmarks.engine.peers.tf_network import build

    for name in networks.NAMES:
        network = networks.make(name)
        rows = networks.rows_for(network, 5).columns
        np.testing.assert_allclose(
            build(network)(rows).numpy()[:, 0], reference.forward(network, rows).logits, rtol=1e-5, atol=1e-5
        )
