import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.keras_reference import reference
from tests.fixtures.exported_models.export import RELU_MODELS, SMOOTH_MODELS, WHEEL_MODELS, export

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients
from tfx_explain.engine.methods.quadrature import gauss_legendre

pytestmark = pytest.mark.tf

_RELU = (*RELU_MODELS, "penguin")
_COMPARED_ROWS = 128
_TAXI_FEATURES = {
    *("fare", "trip_miles", "trip_seconds", "company", "payment_type"),
    *("trip_start_hour", "trip_start_day", "trip_start_month"),
    *("pickup_latitude", "pickup_longitude", "dropoff_latitude", "dropoff_longitude"),
}


def baseline_of(exported):
    """Without scores, the masked mean is cut behind the mask: the place where the Keras model has it too."""
    row = tf.train.Example.FromString(exported.input_baseline)
    row.features.feature.pop("scores", None)
    return row.SerializeToString(deterministic=True)


@pytest.fixture(scope="module")
def load():
    """name -> (export, model, all rows encoded, input baseline encoded); each model is loaded once."""
    loaded = {}

    def by_name(name):
        if name not in loaded:
            exported = export(name)
            baseline = baseline_of(exported)
            model = FeatureModel.load(exported.path, sample=exported.examples[:16], input_baseline=baseline)
            loaded[name] = exported, model, model.encode(exported.examples), model.encode([baseline])
        return loaded[name]

    yield by_name
    loaded.clear()  # before the interpreter ends: TensorFlow's destructors complain then


@pytest.mark.parametrize("name", [*SMOOTH_MODELS, *RELU_MODELS, *WHEEL_MODELS])
def test_attributions_agree_with_the_tape_on_the_bare_model(name, load):
    exported, model, all_rows, baseline = load(name)
    keras_side = reference(exported)
    examples, rows = exported.examples[:_COMPARED_ROWS], all_rows.take(np.arange(_COMPARED_ROWS))
    target = np.argmax(model.predict(rows), axis=1).astype(np.int32)
    result = integrated_gradients(model, rows, baseline, target, repair_steps=())

    x, b = keras_side.encode(examples), keras_side.encode([baseline_of(exported)])
    logits = np.take_along_axis(keras_side.head(x).numpy(), target[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(result.prediction, logits, rtol=1e-4, atol=1e-4)
    expected = keras_side.attributions(x, b, target, *gauss_legendre(50))
    assert set(expected) == set(model.features) | (set(expected) & set(model.unused_features))
    total = np.abs(result.attributions).sum(axis=1)
    allowed = 1e-4 * total + 1e-6
    if name in _RELU:
        allowed = np.maximum(allowed, np.abs(result.convergence_delta))
    for index, feature in enumerate(model.features):
        difference = np.abs(result.attributions[:, index] - expected[feature])
        assert (difference <= allowed).all(), (feature, float((difference / allowed).max()))


@pytest.mark.parametrize("name", [*SMOOTH_MODELS, "taxi"])
def test_every_row_of_a_smooth_network_converges(name, load):
    _, model, rows, baseline = load(name)
    assert integrated_gradients(model, rows, baseline, 0).converged.all()


@pytest.mark.parametrize("name", _RELU)
def test_the_repair_leaves_at_most_half_a_percent_of_a_relu_network(name, load):
    _, model, rows, baseline = load(name)
    repaired = integrated_gradients(model, rows, baseline, 0)
    assert np.mean(~repaired.converged) <= 0.005
    assert repaired.num_steps.max() > 50 or repaired.converged.all()


def test_the_taxi_example_is_attributed_to_its_raw_features(load):
    _, model, _, _ = load("taxi")
    assert set(model.features) == _TAXI_FEATURES
    assert set(model.unused_features) >= {"trip_start_timestamp", "pickup_census_tract", "dropoff_census_tract"}
    assert model.uncovered_features == ()
    assert (model.link, model.unit, model.num_targets) == ("sigmoid", "logit", 1)
    assert set(model.cut_policies.values()) == {"feature"}


def test_the_penguin_example_has_logits_without_a_link(load):
    _, model, _, _ = load("penguin")
    assert model.features == ("body_mass_g", "culmen_depth_mm", "culmen_length_mm", "flipper_length_mm")
    assert (model.link, model.unit, model.num_targets) == ("raw", "output", 3)


def test_declared_logits_are_explained_against_their_mean():
    """`from_logits`: the target's logit minus the row's mean logit, and softmax probabilities where those are asked."""
    exported = export("penguin")
    load = {"sample": exported.examples[:16], "from_logits": True}
    model = FeatureModel.load(exported.path, **load)
    assert (model.link, model.unit) == ("softmax", "logit")
    encoded, baseline = model.encode(exported.examples[:50]), model.encode([exported.input_baseline])
    logits, target = model.predict(encoded), np.arange(50) % 3
    got = model.path_gradients(encoded, baseline, target, *gauss_legendre(50))
    centred = logits - logits.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(got.prediction, centred[np.arange(50), target], atol=1e-5)
    probabilities = FeatureModel.load(exported.path, **load, unit="probability")
    np.testing.assert_allclose(probabilities.predict(encoded).sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("name", ["taxi", "vocabulary_smooth", "missing_relu"])
def test_predictions_are_the_signatures(name):
    exported = export(name)
    signature = tf.saved_model.load(exported.path)
    expected = signature.signatures["serving_default"](tf.constant(exported.examples))["outputs"].numpy()
    model = FeatureModel.load(exported.path, sample=exported.examples[:16], unit="probability")
    np.testing.assert_allclose(model.predict(model.encode(exported.examples)), expected, atol=1e-6)


def test_a_feature_that_equals_the_baseline_is_attributed_nothing(load):
    exported, model, _, _ = load("vocabulary_smooth")
    row = tf.train.Example.FromString(exported.examples[0])
    baseline = tf.train.Example.FromString(baseline_of(exported))
    row.features.feature["word"].CopyFrom(baseline.features.feature["word"])
    rows = model.encode([row.SerializeToString(), exported.examples[1]])
    result = integrated_gradients(model, rows, model.encode([baseline_of(exported)]), 0)
    assert result.attributions[0, model.features.index("word")] == 0
    assert result.attributions[0, model.features.index("number")] != 0
