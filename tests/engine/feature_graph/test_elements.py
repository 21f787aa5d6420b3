import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import NAMES, columns, network, numbers, random_matrix, save
from tests.fixtures.exported_models.examples import serialise

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients
from tfx_explain.engine.methods.quadrature import gauss_legendre

pytestmark = pytest.mark.tf

RULE = gauss_legendre(8)
SPEC = {
    "image": tf.io.FixedLenFeature([4, 3, 2], tf.float32),
    "token": tf.io.FixedLenFeature([5], tf.int64),
    "vector": tf.io.FixedLenFeature([6], tf.float32),
    "number": tf.io.FixedLenFeature([], tf.float32),
}
KERNEL = random_matrix(4, seed=5).reshape(4, 3)  # [height, width], the same for both channels


def maps_rows(rows, seed):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.normal(size=(rows, 4, 3, 2)).astype(np.float32),
        "token": rng.integers(0, 9, size=(rows, 5)),
        "vector": rng.normal(size=(rows, 6)).astype(np.float32),
        "number": rng.normal(size=rows).astype(np.float32),
    }


def examples(values):
    rows = range(len(values["number"]))
    return [serialise({name: np.reshape(array[row], -1).tolist() for name, array in values.items()}) for row in rows]


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """image, token, vector and number, each squared after its weights: attributions by element have a closed form."""
    table = tf.Variable(np.random.default_rng(7).normal(size=(9, 4)).astype(np.float32))

    def score(parsed, _):
        image = tf.reduce_sum(KERNEL[..., None] * parsed["image"] ** 2, [1, 2, 3])
        token = tf.reduce_sum(tf.gather(table, parsed["token"]) ** 2, [1, 2])
        vector = tf.reduce_sum(tf.range(6.0) * parsed["vector"] ** 2, 1)
        return {"score": image + token + vector + parsed["number"] ** 2}

    module = tf.Module()
    module.table = table
    path = save(tmp_path_factory.mktemp("maps"), score, SPEC, module)
    return FeatureModel.load(path, sample=examples(maps_rows(4, 1))), table.numpy()


def closed_form(values, other, table):
    """x^2 - b^2 by element, weighted; channels and embeddings summed."""
    squares = {
        "image": lambda v: (KERNEL[..., None] * v["image"] ** 2).sum(-1),
        "token": lambda v: (table[v["token"]] ** 2).sum(-1),
        "vector": lambda v: np.arange(6) * v["vector"] ** 2,
        "number": lambda v: v["number"][:, None] ** 2,
    }
    return {name: function(values) - function(other) for name, function in squares.items()}


@pytest.mark.parametrize("baseline_rows", [1, 30])
def test_elements_equal_the_formula_and_sum_to_the_attribution(maps, baseline_rows):
    model, table = maps
    x, b = maps_rows(30, 2), maps_rows(baseline_rows, 3)
    integral = model.path_gradients(
        model.encode(examples(x)), model.encode(examples(b)), 0, *RULE, elements=("vector", "token", "image", "number")
    )
    expected = closed_form(x, b, table)
    assert {name: array.shape[1:] for name, array in integral.elements.items()} == {
        "image": (4, 3),
        "number": (1,),
        "token": (5,),
        "vector": (6,),
    }
    for index, name in enumerate(model.features):
        by_element = integral.elements[name]
        assert by_element.dtype == np.float32
        np.testing.assert_allclose(by_element, expected[name], atol=2e-5)
        total = by_element.reshape(30, -1).sum(axis=1)
        np.testing.assert_allclose(integral.attributions[:, index], total, atol=2e-5)


def test_only_what_is_asked_for_has_elements_and_the_rest_is_the_same(maps):
    model, _ = maps
    rows, baseline = model.encode(examples(maps_rows(9, 2))), model.encode(examples(maps_rows(1, 3)))
    plain = model.path_gradients(rows, baseline, 0, *RULE)
    some = model.path_gradients(rows, baseline, 0, *RULE, elements=["token"])
    assert plain.elements == {}
    assert list(some.elements) == ["token"]
    np.testing.assert_allclose(some.attributions, plain.attributions, rtol=1e-6)


def test_cut_shapes_are_those_of_a_row(maps):
    model, _ = maps
    assert model.cut_shapes == {"image": ((4, 3, 2),), "number": ((),), "token": ((5, 4),), "vector": ((6,),)}


def test_refuses_elements_of_what_is_not_attributed(maps):
    model, _ = maps
    rows = model.encode(examples(maps_rows(2, 2)))
    with pytest.raises(ValueError, match=r"elements must name attributed features .*'picture'"):
        model.path_gradients(rows, rows, 0, *RULE, elements=("picture",))


def test_refuses_elements_of_cuts_of_different_shapes(tmp_path):
    def score(parsed, _):
        bucket = tf.one_hot(tf.raw_ops.Bucketize(input=parsed["a"][:, 0], boundaries=[0.0]), 2)
        return {"score": tf.reduce_sum(tf.concat([columns(parsed), bucket], 1) ** 2, 1)}

    model = FeatureModel.load(save(tmp_path / "m", score), sample=numbers(random_matrix(8)))
    rows = model.encode(numbers(random_matrix(3)))
    assert model.path_gradients(rows, rows, 0, *RULE, elements=("b",)).elements["b"].shape == (3, 1)
    with pytest.raises(ValueError, match=r"cut tensors have one shape. Received: 'a'"):
        model.path_gradients(rows, rows, 0, *RULE, elements=("a",))


@pytest.fixture(scope="module")
def relu(tmp_path_factory):
    net = network(activation="relu")
    path = save(tmp_path_factory.mktemp("relu"), lambda parsed, _: {"score": net(columns(parsed))}, module=net)
    return FeatureModel.load(path, sample=numbers(random_matrix(8)))


def test_a_baseline_of_its_own_for_each_row_is_that_of_the_row_alone(relu):
    x, b = random_matrix(20), random_matrix(20, seed=1)
    together = relu.path_gradients(relu.encode(numbers(x)), relu.encode(numbers(b)), 0, *RULE)
    for row in range(0, 20, 7):
        alone = relu.path_gradients(
            relu.encode(numbers(x[row : row + 1])), relu.encode(numbers(b[row : row + 1])), 0, *RULE
        )
        np.testing.assert_allclose(together.attributions[row], alone.attributions[0], atol=1e-6)
        np.testing.assert_allclose(together.baseline_prediction[row], alone.baseline_prediction[0], atol=1e-6)
    with pytest.raises(ValueError, match="input_baseline must have one row, or as many as encoded"):
        relu.path_gradients(relu.encode(numbers(x)), relu.encode(numbers(b[:2])), 0, *RULE)


def test_repair_keeps_each_row_with_its_own_baseline(relu):
    x, b = random_matrix(40), random_matrix(40, seed=1)
    rows, baseline = relu.encode(numbers(x)), relu.encode(numbers(b))
    result = integrated_gradients(relu, rows, baseline, 0, num_steps=1, repair_steps=(100,), repair_batch=8)
    fixed = integrated_gradients(relu, rows, baseline, 0, num_steps=100, repair_steps=())
    again = result.num_steps == 100
    assert 8 < again.sum() < 40
    np.testing.assert_allclose(result.attributions[again], fixed.attributions[again], atol=1e-6)


def test_mapped_rows_are_those_encoded_with_the_mapped_values(relu):
    x = random_matrix(6)
    halved = relu.encode(numbers(x)).mapped(lambda cuts: {name: [cuts[name][0] / 2] for name in NAMES})
    expected = relu.encode(numbers(x / 2))
    np.testing.assert_array_equal(relu.predict(halved), relu.predict(expected))
    rows = np.array([4, 1, 1])
    np.testing.assert_array_equal(relu.predict(halved.take(rows)), relu.predict(expected.take(rows)))
    twice = halved.mapped(lambda cuts: {name: [value.numpy() * 2 for value in cuts[name]] for name in NAMES})
    np.testing.assert_array_equal(relu.predict(twice), relu.predict(relu.encode(numbers(x))))
    np.testing.assert_array_equal(relu.predict(twice.take(rows)), relu.predict(relu.encode(numbers(x[rows]))))


@pytest.mark.parametrize(
    "function",
    [
        lambda cuts: {name: cuts[name] for name in ("a", "b")},
        lambda cuts: {name: [*cuts[name], *cuts[name]] for name in NAMES},
        lambda cuts: {name: [cuts[name][0][:1]] for name in NAMES},
        lambda cuts: {name: [tf.cast(cuts[name][0], tf.float64)] for name in NAMES},
    ],
)
def test_refuses_a_mapping_to_another_structure(relu, function):
    with pytest.raises(ValueError, match="function must give the shapes and types of the cut tensors"):
        relu.encode(numbers(random_matrix(6))).mapped(function)
