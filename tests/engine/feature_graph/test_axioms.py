import keras
import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import numbers, random_matrix, save

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.methods.quadrature import gauss_legendre

pytestmark = pytest.mark.tf

ROWS = 40
X = random_matrix(ROWS)
B = random_matrix(1, seed=1)
EXAMPLES, BASELINE = numbers(X), numbers(B)
NODES, WEIGHTS = gauss_legendre(64)


def dense(units, activation=None):
    return keras.layers.Dense(units, activation=activation)


def networks():
    """By name, functions of (a, b, c), each [rows, 1], and the layers that they use."""
    keras.utils.set_random_seed(4)
    f = keras.Sequential([keras.Input((3,)), dense(8, "tanh"), dense(6, "swish"), dense(1)])
    g = keras.Sequential([keras.Input((3,)), dense(5, "gelu"), dense(1)])
    # A dense layer followed by batch normalisation, and the one dense layer that computes the same.
    plain, norm, last = dense(7), keras.layers.BatchNormalization(), dense(1)
    normalised = keras.Sequential([keras.Input((3,)), plain, norm, keras.layers.Activation("tanh"), last])
    rng = np.random.default_rng(5)
    for weight in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance):
        weight.assign(np.abs(rng.normal(size=weight.shape)) + 0.3)
    scale = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    shift = norm.beta.numpy() - scale * norm.moving_mean.numpy()
    kernel, bias = plain.kernel.numpy() * scale, plain.bias.numpy() * scale + shift
    # The same dense layer once more, as the sum of two halves of its inputs.
    halves = tf.constant(kernel[:1]), tf.constant(kernel[1:])
    symmetric = keras.Sequential([keras.Input((2,)), dense(9, "tanh"), dense(1)])
    functions = {
        "f": f,
        "g": g,
        "f_plus_g": lambda z: f(z) + g(z),
        "normalised": normalised,
        "folded": lambda z: last(tf.tanh(z @ tf.constant(kernel) + bias)),
        "split": lambda z: last(tf.tanh(z[:, :1] @ halves[0] + z[:, 1:] @ halves[1] + bias)),
        "symmetric": lambda z: symmetric(tf.concat([z[:, :1] + z[:, 1:2], z[:, 2:]], 1)),
        "cut_off": lambda z: symmetric(z[:, :2]),
    }
    return functions, [f, g, normalised, symmetric]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """All networks as the outputs of one SavedModel; loads each once."""
    functions, layers = networks()
    module = tf.Module()
    module.layers = layers

    def outputs(parsed, _):
        z = tf.concat([parsed["a"], parsed["b"], parsed["c"]], 1)
        without_c = functions["cut_off"](tf.concat([parsed["a"], parsed["b"]], 1))
        return {"without_c": without_c, **{name: function(z) for name, function in functions.items()}}

    path = save(tmp_path_factory.mktemp("axioms") / "m", outputs, module=module)
    loaded = {}

    def by_name(name):
        if name not in loaded:
            loaded[name] = FeatureModel.load(path, sample=EXAMPLES[:8], output=name)
        return loaded[name]

    yield by_name
    loaded.clear()


def explain(model, examples=EXAMPLES, baseline=BASELINE, nodes=NODES, weights=WEIGHTS):
    return model.path_gradients(model.encode(examples), model.encode(baseline), 0, nodes, weights)


@pytest.mark.parametrize("name", ["f", "f_plus_g", "normalised", "symmetric"])
def test_completeness(name, models):
    """Attributions add up to what the untouched signature gives."""
    model = models(name)
    signature = model.saved_model.signatures["serving_default"]
    values = signature(tf.constant([*EXAMPLES, *BASELINE]))[name].numpy()[:, 0]
    np.testing.assert_allclose(explain(model).attributions.sum(axis=1), values[:-1] - values[-1], atol=5e-6)


@pytest.mark.parametrize("feature", range(3))
def test_a_feature_at_its_baseline_is_attributed_exactly_nothing(feature, models):
    x = X.copy()
    x[:, feature] = B[0, feature]
    attributions = explain(models("f"), numbers(x)).attributions
    assert (attributions[:, feature] == 0).all()
    assert (np.delete(attributions, feature, axis=1) != 0).all()


def test_a_feature_that_alone_differs_is_attributed_all(models):
    x = np.repeat(B, ROWS, axis=0)
    x[:, 1] = X[:, 1]
    integral = explain(models("f"), numbers(x))
    np.testing.assert_allclose(
        integral.attributions[:, 1], integral.prediction - integral.baseline_prediction, atol=5e-6
    )
    assert (integral.attributions[:, 1] != 0).all()


def test_a_feature_that_is_not_read_has_no_column(models):
    model = models("without_c")
    assert model.features == ("a", "b")
    assert model.unused_features == ("c",)
    moved = X.copy()
    moved[:, 2] += 3
    np.testing.assert_array_equal(explain(model).attributions, explain(model, numbers(moved)).attributions)
    # Joined to the others and cut off again, it has a column of zeros.
    cut_off = explain(models("cut_off")).attributions
    assert (cut_off[:, 2] == 0).all()
    np.testing.assert_allclose(cut_off[:, :2], explain(model).attributions, atol=1e-6)


@pytest.mark.parametrize("other", ["folded", "split"])
def test_implementation_invariance(other, models):
    """Batch normalisation folded into its dense layer, and a dense layer split in two."""
    first, second = explain(models("normalised")), explain(models(other))
    np.testing.assert_allclose(first.prediction, second.prediction, atol=2e-6)
    np.testing.assert_allclose(first.attributions, second.attributions, atol=5e-6)


def test_linearity(models):
    parts = [explain(models(name)).attributions for name in ("f", "g")]
    np.testing.assert_allclose(explain(models("f_plus_g")).attributions, sum(parts), atol=5e-6)


def test_symmetry(models):
    """Equal values of two features that the model only adds up get equal attributions; exchanged, they exchange."""
    model = models("symmetric")
    equal, baseline = X.copy(), B.copy()
    equal[:, 1], baseline[:, 1] = equal[:, 0], baseline[:, 0]
    attributions = explain(model, numbers(equal), numbers(baseline)).attributions
    np.testing.assert_allclose(attributions[:, 0], attributions[:, 1], atol=1e-6)
    exchanged = explain(model, numbers(X[:, [1, 0, 2]]), numbers(B[:, [1, 0, 2]])).attributions
    np.testing.assert_allclose(explain(model).attributions, exchanged[:, [1, 0, 2]], atol=5e-6)


@pytest.mark.parametrize("rows", [1, 3, 16])
def test_the_size_of_the_batch_changes_no_row(rows, models):
    model = models("f")
    parts = [explain(model, EXAMPLES[start : start + rows]).attributions for start in range(0, ROWS, rows)]
    np.testing.assert_allclose(np.concatenate(parts), explain(model).attributions, atol=2e-6)


def test_the_order_of_the_nodes_changes_nothing(models):
    order = np.random.default_rng(6).permutation(len(NODES))
    shuffled = explain(models("f"), nodes=NODES[order], weights=WEIGHTS[order]).attributions
    np.testing.assert_allclose(shuffled, explain(models("f")).attributions, atol=2e-6)


def test_a_path_walked_in_two_halves_adds_up(models):
    """From the baseline to x there is no other way than over the middle of the line."""
    model = models("f")
    middle = B + (X - B) / 2
    half = explain(model, numbers(middle)).attributions
    rest = [explain(model, [EXAMPLES[row]], numbers(middle[row : row + 1])).attributions[0] for row in range(5)]
    np.testing.assert_allclose(half[:5] + rest, explain(model).attributions[:5], atol=5e-6)
