"""A model without gradients: what a block holds of it, and why an artifact of it may not be worth writing."""

from __future__ import annotations

import numpy as np

from tfx_explain.engine.feature_graph import Encoded, PredictionModel
from tfx_explain.engine.methods.integrated_gradients import IntegratedGradients


def no_attributions(model: PredictionModel, encoded: Encoded, target: np.ndarray) -> IntegratedGradients:
    """Predictions where integrated gradients would be: no feature, no node, and no row that converged.

    Args:
      model: the model.
      encoded: rows.
      target: output column, int [rows].
    """
    rows = len(encoded)
    unknown = np.full(rows, np.nan, np.float32)
    return IntegratedGradients(
        attributions=np.zeros((rows, 0), np.float32),
        prediction=model.explained_value(encoded, target),
        baseline_prediction=unknown,
        convergence_delta=unknown,
        num_steps=np.zeros(rows, np.int32),
        converged=np.zeros(rows, bool),
        forward_equivalents=rows,
    )


def nothing_measured(no_gradient: str, absent: str) -> str:
    """Why a model is not explained that has neither attributions nor permutation importance."""
    return (
        f"{no_gradient.rstrip('. ')}; and permutation importance could not be measured either: {absent.rstrip('. ')}. "
        "Give a label and at least one repeat"
    )
