"""Weights drawn anew: which there are, in which order, and that they come back."""

import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import columns, network, numbers, random_matrix, save

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.feature_graph.weights import drawn_anew, output_first

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    net = network()
    net.unread = tf.Variable([1.0, 2.0], name="unread")
    path = save(tmp_path_factory.mktemp("net") / "m", lambda p, _: {"score": net(columns(p))}, module=net)
    return FeatureModel.load(path, sample=numbers(random_matrix(16)))


def test_variables_that_the_output_reads_the_last_one_first(model):
    found = output_first(model.opened)
    depth = [variable.shape for variable in found if variable.shape.rank == 2]
    assert depth[0][1] == model.num_targets and depth[-1][0] == 3
    assert len(found) == len({v.ref() for v in found}) > 2
    assert not any("unread" in v.name for v in found)


def test_values_are_drawn_by_content_and_come_back(model):
    rows = model.encode(numbers(random_matrix(5)))
    variables = output_first(model.opened)
    before, kept = model.predict(rows), [v.numpy() for v in variables]

    def inside(content):
        with drawn_anew(variables, content):
            return model.predict(rows)

    one, again, other = inside("a"), inside("a"), inside("b")
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - before).max() > 1e-3 and np.abs(one - other).max() > 1e-3
    np.testing.assert_array_equal(model.predict(rows), before)
    with pytest.raises(KeyError), drawn_anew(variables, "a"):
        raise KeyError("inside")
    for variable, values in zip(variables, kept, strict=True):
        np.testing.assert_array_equal(variable.numpy(), values)


def test_vectors_are_shuffled_and_matrices_keep_their_scale(model):
    variables = output_first(model.opened)
    kept = [v.numpy() for v in variables]
    with drawn_anew(variables, "a"):
        for variable, values in zip(variables, kept, strict=True):
            if values.ndim == 1:
                np.testing.assert_array_equal(np.sort(variable.numpy()), np.sort(values))
            else:
                assert 0.3 < np.std(variable.numpy()) / np.sqrt(np.mean(values**2)) < 3
