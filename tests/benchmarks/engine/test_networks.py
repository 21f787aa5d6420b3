import dataclasses

import numpy as np
import pytest

from benchmarks.engine import networks


@pytest.mark.parametrize("name", networks.NAMES)
def test_a_stored_network_is_the_same(tmp_path, name):
    network = networks.make(name)
    network.save(tmp_path / "network.npz")
    again = networks.Network.load(tmp_path / "network.npz")
    for ours, theirs in zip(network.layers, again.layers, strict=True):
        for field in dataclasses.fields(networks.Layer):
            np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name))
    assert (again.name, again.shape, again.features) == (network.name, network.shape, network.features)
    np.testing.assert_array_equal(again.feature_of, network.feature_of)
    np.testing.assert_array_equal(again.words, network.words)


def test_features_are_sorted_and_own_all_columns():
    for name in networks.NAMES:
        network = networks.make(name)
        assert list(network.features) == sorted(network.features)
        assert network.feature_of.shape == (network.num_columns,)
        assert set(network.feature_of) == set(range(len(network.features)))


def test_the_dimensions_of_a_word_are_summed():
    network = networks.make("wide")
    columns = np.arange(26, dtype=np.float32)[None]
    np.testing.assert_array_equal(network.by_feature(columns), [[*range(16, 26), sum(range(16))]])


def test_a_word_stands_in_its_columns_and_the_baseline_is_zero():
    network = networks.make("wide")
    inputs = networks.rows_for(network, 50)
    np.testing.assert_array_equal(inputs.columns[:, :16], network.words[inputs.word])
    assert not network.words[0].any()
    assert inputs.word.min() > 0


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="Received: 'large'"):
        networks.make("large")
