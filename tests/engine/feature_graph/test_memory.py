import numpy as np
import pytest
import tensorflow as tf
from tests.fixtures.exported_models.export import export

from tfx_explain.engine.feature_graph import FeatureModel, memory
from tfx_explain.engine.feature_graph.flat_graph import FlatGraph
from tfx_explain.engine.feature_graph.memory import parts, rows_at_once
from tfx_explain.engine.methods.quadrature import gauss_legendre

pytestmark = pytest.mark.tf

RULE = gauss_legendre(8)
LIMIT = 5


def loaded(name):
    exported = export(name)
    model = FeatureModel.load(exported.path, sample=exported.examples[:16])
    return model, model.encode(exported.examples[:12]), model.encode([exported.input_baseline])


def limited(model, monkeypatch):
    """Lets the model take few rows at once, and tells how many each call got."""
    monkeypatch.setattr(model, "_gradient_rows", LIMIT)
    monkeypatch.setattr(model, "_forward_rows", LIMIT)
    calls = []
    own = model._functions.integrate()

    def integrate(elements=()):
        def watched(cuts, frozen, baseline_cuts, baseline_frozen, target, nodes, weights):
            calls.append(len(target) * nodes.shape[1])
            return own(cuts, frozen, baseline_cuts, baseline_frozen, target, nodes, weights)

        return watched

    monkeypatch.setattr(model._functions, "integrate", integrate)
    return calls


@pytest.mark.parametrize("name", ["digit_floats", "text_lstm", "taxi", "masked_mean_smooth"])
def test_rows_in_parts_are_explained_as_together(name, monkeypatch):
    model, encoded, baseline = loaded(name)
    target = np.arange(12) % model.num_targets
    whole = model.path_gradients(encoded, baseline, target, *RULE)
    gradients, predicted = model.gradients(encoded, target), model.predict(encoded)

    calls = limited(model, monkeypatch)
    in_parts = model.path_gradients(encoded, baseline, target, *RULE)
    assert len(calls) == 3 and max(calls) <= LIMIT
    scale = np.abs(whole.attributions).sum(axis=1, keepdims=True).max()
    np.testing.assert_allclose(in_parts.attributions, whole.attributions, atol=1e-5 * scale)
    np.testing.assert_allclose(in_parts.prediction, whole.prediction, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.predict(encoded), predicted, rtol=1e-5, atol=1e-6)
    for feature, values in model.gradients(encoded, target).items():
        np.testing.assert_allclose(values, gradients[feature], atol=1e-4 * np.abs(gradients[feature]).max())


def test_each_row_keeps_its_own_baseline_and_its_elements(monkeypatch):
    model, encoded, _ = loaded("digit_floats")
    baselines = encoded.take(np.arange(12)[::-1])
    whole = model.path_gradients(encoded, baselines, 0, *RULE, elements=["image"])
    monkeypatch.setattr(model, "_gradient_rows", LIMIT)
    in_parts = model.path_gradients(encoded, baselines, 0, *RULE, elements=["image"])
    np.testing.assert_allclose(in_parts.attributions, whole.attributions, atol=1e-5)
    np.testing.assert_allclose(in_parts.elements["image"], whole.elements["image"], atol=1e-5)


def test_rows_follow_from_the_bytes_that_gradients_keep_and_a_forward_pass_holds(monkeypatch):
    @tf.function(input_signature=[tf.TensorSpec([None, 100], tf.float32), tf.TensorSpec([100, 50], tf.float32)])
    def product(x, weights):
        return {"y": tf.tanh(tf.matmul(x, weights))}

    flat = FlatGraph.from_signature(product.get_concrete_function())
    feeds, target = flat.input_names, flat.output_names["y"]
    monkeypatch.setattr(memory, "BYTES_AT_ONCE", 64_000)
    row = 4 * (100 + 50 + 50 + 50)  # x, the product, its tanh, the output; weights are no row of anyone
    gradients, forward = rows_at_once(flat, feeds, target, 1)
    assert gradients == 2 ** int(np.log2(64_000 / row))
    assert forward == 2 ** int(np.log2(64_000 / (3 * 400)))


def test_a_row_that_is_too_large_still_goes_alone(monkeypatch):
    monkeypatch.setattr(memory, "BYTES_AT_ONCE", 1)
    exported = export("digit_floats")
    model = FeatureModel.load(exported.path, sample=exported.examples[:4])
    assert model._gradient_rows == model._forward_rows == 1
    assert np.isfinite(model.predict(model.encode(exported.examples[:3]))).all()


def test_parts_cover_all_rows_in_order():
    assert [list(part) for part in parts(7, 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(parts(0, 3)) == []
