"""Evidence of additive models as of models that passed."""

from __future__ import annotations

from typing import Any

from tests.fixtures.synthetic import Additive

from tfx_explain.attribution_validator.checks.base import ModelEvidence, SliceOfModel
from tfx_explain.names import SliceKey, slice_name

SLICE_ROWS = 500


def evidence_of(model: Additive, *required: SliceKey, **facts: Any) -> ModelEvidence:
    """What the checks read of a model and of the slices that its policy requires; `facts` are other fields."""
    return ModelEvidence(
        "the last model that passed",
        f"model {model.seed}",
        model.statistics(),
        num_steps=50,
        method="integrated_gradients",
        rows_read=model.rows,
        slices={slice_name(key): SliceOfModel(model.statistics(key), None, SLICE_ROWS) for key in required},
        **facts,
    )
