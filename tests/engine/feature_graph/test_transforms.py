import numpy as np
import pytest
from tests.engine.feature_graph.referenced import differences, explain, load
from tests.fixtures.exported_models.export import TRANSFORM_MODELS, export_with_references

pytestmark = pytest.mark.tf

KEY = "serving_default/outputs"
# Kinds of features, by the model that reads them.
READ = {
    "numbers": ("amount", "latitude x longitude", "number", "ratio"),
    "categories": ("city", "number", "user", "user x word", "word"),
    "texts": ("number", "phrase", "tags", "text"),
    "gaps": ("amount", "codes", "maybe", "number"),
}


@pytest.mark.parametrize("name", TRANSFORM_MODELS)
def test_attributions_agree_with_the_tape_behind_transform(name):
    exported = export_with_references(name)
    model = load(exported, input_baseline=exported.input_baseline)
    assert set(READ[name]) <= set(model.features)
    assert model.uncovered_features == ()
    assert set(model.features) | set(model.unused_features) >= {"constant", "maybe", "text", "city"}
    result = explain(model, exported, KEY)
    np.testing.assert_allclose(result.prediction, exported.references[KEY].prediction, rtol=1e-4, atol=1e-4)
    off = differences(model, result, exported, KEY)
    assert max(off.values()) <= 1e-4, off
    assert result.converged.all()
