"""Integrated gradients with a repair of the rows that have not converged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfx_explain.engine.methods.attributions import Attributions
from tfx_explain.engine.methods.model import Integral, PathModel, Rows
from tfx_explain.engine.methods.path_integral import REPAIR_BATCH, Paths, integrate_to_convergence
from tfx_explain.engine.methods.quadrature import gauss_legendre


def integrated_gradients(
    model: PathModel,
    encoded: Rows,
    input_baseline: Rows,
    target: int | np.ndarray,
    *,
    num_steps: int = 50,
    repair_steps: Sequence[int] = (100, 200),
    repair_batch: int = REPAIR_BATCH,
    valid: np.ndarray | None = None,
    tolerance: float = 0.05,
) -> Attributions:
    """Integrated gradients by Gauss-Legendre quadrature.

    Args:
        model: integrates gradients, for instance a `FeatureModel`.
        encoded: the rows to explain.
        input_baseline: one encoded row for all, or a row for each of `encoded`.
        target: output column, one for all rows or int [rows].
        num_steps: nodes for every row.
        repair_steps: nodes for the rows that have not converged, in turn; increasing.
        repair_batch: rows in a batch of the repair.
        valid: bool [rows]; the others are padding and never run again. All rows, if None.
        tolerance: see `converged`.

    Raises:
        ValueError: if an argument is out of its range or has the wrong shape.

    References:
        Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks (2017), https://arxiv.org/abs/1703.01365
    """
    if len(input_baseline) not in (1, len(encoded)):
        raise ValueError(
            f"input_baseline must have one row, or as many as encoded ({len(encoded)}). Received: {len(input_baseline)}"
        )
    own_baselines = len(input_baseline) > 1

    def integrate(rows: Rows, targets: np.ndarray, steps: int, chosen: np.ndarray | None) -> Integral:
        baseline = input_baseline.take(chosen) if own_baselines and chosen is not None else input_baseline
        return model.path_gradients(rows, baseline, targets, *gauss_legendre(steps))

    return integrate_to_convergence(
        Paths(integrate, own_baselines=own_baselines),
        encoded,
        target,
        num_steps=num_steps,
        repair_steps=repair_steps,
        repair_batch=repair_batch,
        valid=valid,
        tolerance=tolerance,
    )
