import numpy as np
import pytest
from tests.engine.feature_graph.referenced import differences, explain, load
from tests.fixtures.exported_models.export import HEADS, export_with_references

from tfx_explain.engine.feature_graph import FeatureModel

pytestmark = pytest.mark.tf

WHAT = {
    "logit/logits": ("raw", "output", 1),
    "sigmoid/outputs": ("sigmoid", "logit", 1),
    "sigmoid_rank_1/outputs": ("sigmoid", "logit", 1),
    "softmax_2/outputs": ("softmax", "logit", 2),
    "softmax_4/probabilities": ("softmax", "logit", 4),
    "log_softmax/outputs": ("logsoftmax", "logit", 4),
    "regression/outputs": ("raw", "output", 1),
    "regression_rank_1/outputs": ("raw", "output", 1),
    "several/price": ("raw", "output", 1),
    "several/clicked": ("sigmoid", "logit", 1),
    "classification/scores": ("softmax", "logit", 4),
}


@pytest.mark.parametrize("key", HEADS)
def test_every_head_is_explained_as_the_tape_says(key):
    exported = export_with_references("heads")
    model = load(exported, key)
    assert (model.link, model.unit, model.num_targets) == WHAT[key]
    result = explain(model, exported, key)
    np.testing.assert_allclose(result.prediction, exported.references[key].prediction, rtol=1e-4, atol=1e-4)
    off = differences(model, result, exported, key)
    assert max(off.values()) <= 1e-4, off


@pytest.mark.parametrize(
    ("signature", "output"),
    [("several", "clicked"), ("classification", "scores")],
)
def test_the_output_is_found_where_none_is_named(signature, output):
    """The usual names first, else the first floating output by name; strings beside it do not count."""
    exported = export_with_references("heads")
    model = FeatureModel.load(exported.path, sample=exported.examples[:4], signature=signature)
    assert model.output == output
