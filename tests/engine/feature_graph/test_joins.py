import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import NAMES, columns, network, numbers, random_matrix, save
from tests.fixtures.exported_models.export import export

from tfx_explain.engine.feature_graph import PermutationModel, narrow, open_model

pytestmark = pytest.mark.tf

EXPORTED = (
    "taxi",
    "penguin",
    "vocabulary_relu",
    "missing_smooth",
    "raw_and_bucketised_relu",
    "masked_mean_smooth",
    "ids_gru",
)
X = numbers(random_matrix(48))


def opened_export(name):
    exported = export(name)
    return open_model(exported.path, sample=exported.examples[:16]), exported.examples[:48]


def groups_of(model):
    """Each feature alone, the first two together, all together."""
    return [[name] for name in model.features] + [list(model.features[:2]), list(model.features)]


def predictions(model, examples, copies=1):
    rows = model.encode(examples, copies)
    order = np.random.default_rng(1).permutation(len(rows))
    out = [model.predict(rows)]
    for group in groups_of(model):
        out.append(model.predict_permuted(rows, {n: [a[order] for a in rows.payloads[n]] for n in group}))
    return out


def without_joins(opened, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(narrow, "find_joins", lambda *_: None)
        return PermutationModel.of(opened)


def assert_same_bytes(model, other, examples):
    for copies in (1, 3):
        for got, expected in zip(
            predictions(model, examples, copies), predictions(other, examples, copies), strict=True
        ):
            assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", EXPORTED)
def test_spliced_joins_give_the_bytes_of_the_whole_part_behind_the_payloads(name, monkeypatch):
    opened, examples = opened_export(name)
    model, plain = PermutationModel.of(opened), without_joins(opened, monkeypatch)
    assert plain._splicer is None
    if name != "ids_gru":  # one feature: there is nothing to join
        assert model._splicer is not None
    assert_same_bytes(model, plain, examples)


def stacked(parsed, net):
    return net(tf.reshape(tf.stack([parsed[name] for name in NAMES], axis=1), [-1, len(NAMES)]))


def twice_and_beside(parsed, net):
    x = columns(parsed)
    first = parsed[NAMES[0]]
    return net(tf.concat([parsed[NAMES[2]] * 2.0, first, parsed[NAMES[1]], first**2], 1)[:, :3] + x) + first


def summed(parsed, net):
    return net(tf.concat([sum(parsed[name] for name in NAMES)] * 3, axis=1))


@pytest.mark.parametrize(("function", "joins"), [(stacked, True), (twice_and_beside, True), (summed, False)])
def test_small_models(function, joins, tmp_path, monkeypatch):
    net = network()
    opened = open_model(save(tmp_path, lambda parsed, _: {"outputs": function(parsed, net)}, module=net), sample=X[:16])
    model = PermutationModel.of(opened)
    assert (model._splicer is not None) == joins
    assert_same_bytes(model, without_joins(opened, monkeypatch), X)


def test_what_is_not_replaced_is_not_computed_again(monkeypatch):
    opened, examples = opened_export("taxi")
    model = PermutationModel.of(opened)
    rows = model.encode(examples)
    name = model.features[0]
    asked = []
    own = {feature: (names, function) for feature, (names, function) in model._splicer._own.items()}

    def watched(feature, function):
        return function and (lambda *values: asked.append(feature) or function(*values))

    monkeypatch.setattr(model._splicer, "_own", {f: (n, watched(f, g)) for f, (n, g) in own.items()})
    monkeypatch.setattr(model._splicer, "_join", None)  # would be called for the whole join
    model.predict_permuted(rows, {name: rows.payloads[name]})
    assert set(asked) <= {name}


@pytest.mark.parametrize("name", ["taxi", "masked_mean_smooth", "digit_floats"])
def test_rows_in_parts_are_predicted_as_together(name, monkeypatch):
    opened, examples = opened_export(name)
    model = PermutationModel.of(opened)
    whole = predictions(model, examples)
    monkeypatch.setattr(model, "rows_at_once", 20)
    for got, expected in zip(predictions(model, examples), whole, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
