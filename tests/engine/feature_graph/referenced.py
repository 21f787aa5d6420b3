"""The engine's attributions beside those of a tape on the live Keras model."""

from __future__ import annotations

import numpy as np
from tests.fixtures.exported_models.export import ReferencedModel

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.methods.attributions import Attributions
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients

STEPS = 64


def load(exported: ReferencedModel, key: str = "serving_default/outputs", **options) -> FeatureModel:
    """Loads `signature/output`."""
    signature, output = key.split("/")
    return FeatureModel.load(
        exported.path, sample=exported.examples[:12], signature=signature, output=output, **options
    )


def explain(model: FeatureModel, exported: ReferencedModel, key: str) -> Attributions:
    """The rows at the reference's nodes."""
    rows, baseline = model.encode(exported.examples), model.encode([exported.input_baseline])
    target = exported.references[key].target
    return integrated_gradients(model, rows, baseline, target, num_steps=STEPS, repair_steps=())


def differences(model: FeatureModel, result: Attributions, exported: ReferencedModel, key: str) -> dict:
    """By column of the reference, the largest difference as a part of the row's summed absolute attributions."""
    expected = exported.references[key].attributions
    total = np.abs(result.attributions).sum(axis=1)
    found = {column: result.attributions[:, index] for index, column in enumerate(model.features)}
    return {column: float((np.abs(found[column] - expected[column]) / total).max()) for column in expected}
