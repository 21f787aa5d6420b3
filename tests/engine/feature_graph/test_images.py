import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.element_paths import assert_close, by_element, centred
from tests.fixtures.exported_models.export import export

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.feature_graph.images import blurred, gaussian_weights, image_shape
from tfx_explain.engine.methods.quadrature import gauss_legendre

pytestmark = pytest.mark.tf

_ROWS = 16
_STEPS = 24
_FEATURES = {"digit_files": "file", "digit_floats": "image", "mnist": "image_floats"}


@pytest.fixture(scope="module")
def load():
    """name -> (export, model, rows encoded, input baseline encoded, pixels of the rows and of the baseline)."""
    loaded = {}

    def by_name(name):
        if name not in loaded:
            exported = export(name)
            model = FeatureModel.load(exported.path, sample=exported.examples[:8])
            rows, baseline = model.encode(exported.examples[:_ROWS]), model.encode([exported.input_baseline])
            pixels = [_pixels(name, e) for e in (exported.examples[:_ROWS], [exported.input_baseline])]
            loaded[name] = exported, model, rows, baseline, *pixels
        return loaded[name]

    yield by_name
    loaded.clear()


def _pixels(name, examples):
    """What the network behind the signature gets."""
    from tests.fixtures.exported_models.digit_models import decoded

    features = [tf.train.Example.FromString(raw).features.feature[_FEATURES[name]] for raw in examples]
    if name == "digit_files":
        return decoded(tf.constant([f.bytes_list.value[0] for f in features]))
    numbers = np.array([f.float_list.value for f in features], np.float32)
    return tf.constant(numbers.reshape(-1, 8, 8, 1) if name == "digit_floats" else numbers)


def _logits(exported):
    """pixels -> logits of the bare model."""
    model = exported.keras_model()
    last = model.layers[-1]

    def logits(pixels):
        hidden = pixels
        for layer in model.layers[:-1]:
            if type(layer).__name__ != "InputLayer":
                hidden = layer(hidden, training=False) if type(layer).__name__ == "Dropout" else layer(hidden)
        return hidden @ last.kernel + last.bias

    return logits


@pytest.mark.parametrize("name", sorted(_FEATURES))
def test_pixels_agree_with_the_tape_on_the_bare_network(name, load):
    exported, model, rows, baseline, x, b = load(name)
    target = np.argmax(model.predict(rows), axis=1).astype(np.int32)
    rule = gauss_legendre(_STEPS)
    got = model.path_gradients(rows, baseline, target, *rule, elements={_FEATURES[name]})
    logits = _logits(exported)

    def explained(points):
        values = logits(points[0])
        # The wheel's mnist has no softmax, and nothing declares its scores to be logits.
        return tf.gather(values, target, axis=1, batch_dims=1) if name == "mnist" else centred(values, target)

    (by_pixel,) = by_element(explained, [x], [tf.repeat(b, _ROWS, axis=0)], *rule)
    by_pixel = by_pixel if name == "mnist" else by_pixel.sum(3)
    total = np.abs(by_pixel).reshape(_ROWS, -1).sum(1)
    delta = np.abs(got.attributions.sum(1) - (got.prediction - got.baseline_prediction))
    slack = 0.0 if name == "digit_floats" else delta
    assert_close(got.prediction, explained([x]).numpy(), total)
    assert_close(got.elements[_FEATURES[name]], by_pixel, total, slack)
    assert_close(got.attributions[:, 0], by_pixel.reshape(_ROWS, -1).sum(1), total, slack)


def test_encoded_images_are_known_by_their_decoder(load):
    assert load("digit_files")[1].encoded_images == ("file",)
    assert load("digit_floats")[1].encoded_images == ()
    assert load("mnist")[1].encoded_images == ()


@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_each_row_against_its_own_blurred_image(sigma, load):
    """The explained value at the baseline is the network's on the blurred image; attributions are complete to it."""
    exported, model, rows, _, x, _ = load("digit_floats")
    blurring = rows.mapped(lambda cuts: {"image": [blurred(cuts["image"][0], sigma)]})
    rule = gauss_legendre(_STEPS)
    got = model.path_gradients(rows, blurring, 3, *rule, elements={"image"})
    logits, target = _logits(exported), np.full(_ROWS, 3, np.int32)
    start = blurred(x, sigma)
    (by_pixel,) = by_element(lambda points: centred(logits(points[0]), target), [x], [start], *rule)
    total = np.abs(by_pixel).reshape(_ROWS, -1).sum(1)
    assert_close(got.baseline_prediction, centred(logits(start), target).numpy(), total)
    assert_close(got.elements["image"], by_pixel.sum(3), total)
    assert_close(got.attributions.sum(1), got.prediction - got.baseline_prediction, total)


def test_the_blur_is_the_gaussian_sum_over_all_pixels():
    rng = np.random.default_rng(0)
    pixels, sigma = rng.normal(size=(2, 5, 7, 3)).astype(np.float32), 1.3
    i, j = np.mgrid[:5, :7]
    expected = np.zeros_like(pixels)
    for y in range(5):
        for x in range(7):
            weights = np.exp(-((i - y) ** 2 + (j - x) ** 2) / (2 * sigma**2))
            expected[:, y, x] = np.einsum("hw,bhwc->bc", weights / weights.sum(), pixels)
    np.testing.assert_allclose(blurred(tf.constant(pixels), sigma), expected, atol=1e-6)
    np.testing.assert_allclose(blurred(tf.constant(pixels[..., 0]), sigma), expected[..., 0], atol=1e-6)


def test_the_blur_leaves_a_uniform_image_and_refuses_no_width():
    np.testing.assert_allclose(gaussian_weights(9, 2.0).sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(blurred(tf.fill([1, 8, 8, 1], 0.25)), np.full((1, 8, 8, 1), 0.25), atol=1e-6)
    with pytest.raises(ValueError, match="sigma must be > 0"):
        blurred(tf.zeros([1, 8, 8, 1]), 0.0)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([(8, 8)], (8, 8)),
        ([(8, 6, 3)], (8, 6, 3)),
        ([(64,)], None),
        ([(8, 8), (8, 8)], None),
        ([(2, 8, 8, 3)], None),
    ],
)
def test_an_image_is_one_tensor_of_two_or_three_axes(shapes, expected):
    assert image_shape(shapes) == expected
