import numpy as np
import pytest
from tests.engine.feature_graph.referenced import differences, explain, load
from tests.fixtures.exported_models.export import KERAS_MODELS, export_with_references

pytestmark = pytest.mark.tf

KEY = "serving_default/outputs"
FEATURES = ("age", "code", "income", "tags", "user", "user x word", "word")
# bfloat16 has eight bits of mantissa, and nodes between its one-hot vectors are rounded to them.
TOLERANCE = {"mixed_bfloat16": 2e-3}
OF_PREDICTIONS = {"mixed_bfloat16": 2e-2}
RELU = ("tf_keras_subclassed",)


@pytest.mark.parametrize("name", KERAS_MODELS)
def test_attributions_agree_with_the_tape_on_the_live_model(name):
    exported = export_with_references(name)
    model = load(exported)
    assert model.features == FEATURES
    assert model.unused_features == model.uncovered_features == ()
    assert (model.link, model.unit, model.num_targets) == ("sigmoid", "logit", 1)
    assert set(model.cut_policies.values()) == {"feature"}
    result = explain(model, exported, KEY)
    tolerance = OF_PREDICTIONS.get(name, 1e-4)
    np.testing.assert_allclose(result.prediction, exported.references[KEY].prediction, rtol=tolerance, atol=tolerance)
    off = differences(model, result, exported, KEY)
    assert max(off.values()) <= TOLERANCE.get(name, 1e-4), off
    # Kinks need the repair that is left out here, for the same nodes as the tape's.
    assert result.converged.all() or (name in RELU and result.converged.mean() > 0.8)
