"""A model without gradients: what a block holds of it, and why an artifact of it may not be worth writing."""

from __future__ import annotations

import numpy as np

from tfx_explain.engine.feature_graph import Encoded, PredictionModel
from tfx_explain.engine.methods.attributions import Attributions


def no_attributions(model: PredictionModel, encoded: Encoded, target: np.ndarray) -> Attributions:
    """Predictions where integrated gradients would be: no feature, no node, and no row that converged.

    Args:
      model: the model.
      encoded: rows.
      target: output column, int [rows].
    """
    return Attributions.without_completeness(
        np.zeros((len(encoded), 0), np.float32),
        model.explained_value(encoded, target),
        num_steps=0,
        forward_equivalents=len(encoded),
    )


def nothing_measured(no_gradient: str, absent: str) -> str:
    """Why a model is not explained that has neither attributions nor permutation importance."""
    return (
        f"{no_gradient.rstrip('. ')}; and permutation importance could not be measured either: {absent.rstrip('. ')}. "
        "Give a label and at least one repeat"
    )
