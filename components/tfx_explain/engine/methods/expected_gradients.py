"""Expected gradients: integrated gradients from every row of a background, averaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfx_explain.engine.methods.attributions import Attributions
from tfx_explain.engine.methods.model import PathModel, Rows
from tfx_explain.engine.methods.path_integral import REPAIR_BATCH, Paths, integrate_to_convergence
from tfx_explain.engine.methods.quadrature import gauss_legendre


@dataclasses.dataclass(frozen=True)
class _MeanIntegral:
    """The mean of several integrals, each [rows, ...]."""

    attributions: np.ndarray
    prediction: np.ndarray
    baseline_prediction: np.ndarray


def expected_gradients(
    model: PathModel,
    encoded: Rows,
    background: Sequence[Rows],
    target: int | np.ndarray,
    *,
    num_steps: int = 4,
    repair_steps: Sequence[int] = (8, 16),
    repair_batch: int = REPAIR_BATCH,
    valid: np.ndarray | None = None,
    tolerance: float = 0.05,
) -> Attributions:
    """The mean over background rows b of the integrated gradients from b to each row, with a repair as theirs.

        a_i(x) = mean_b (x_i - b_i) * integral over s in [0, 1] of df/dx_i(b + s (x - b))

    Attributions add up to f(x) minus the mean of f over the background; the convergence delta is what is missing.

    The paper draws pairs of a background row and a point on its path at random. Here each background row has a
    Gauss-Legendre rule of its own: it is exact for polynomials up to degree 2 * num_steps - 1, where n draws leave an
    error of the order of 1 / sqrt(n); so the convergence delta tells of the model instead of the draws, and there is
    no seed on which results could depend.

    Args:
        model: integrates gradients, for instance a `FeatureModel`.
        encoded: the rows to explain.
        background: encoded rows, each a batch of one; its order changes the last bits at most.
        target: output column, one for all rows or int [rows].
        num_steps: nodes from each background row to every row.
        repair_steps: the same for the rows that have not converged, in turn; increasing.
        repair_batch: rows in a batch of the repair.
        valid: bool [rows]; the others are padding and never run again. All rows, if None.
        tolerance: see `converged`.

    Returns:
        Attributions; `num_steps` counts the nodes of all paths to a row.

    Raises:
        ValueError: if an argument is out of its range or has the wrong shape.

    References:
        Erion, Janizek, Sturmfels, Lundberg, Lee: Improving performance of deep learning models with axiomatic
        attribution priors and expected gradients (2021), https://arxiv.org/abs/1906.10670
    """
    if not background or any(len(row) != 1 for row in background):
        sizes = [len(row) for row in background]
        raise ValueError(f"background must be batches of one row, at least one. Received: batches of {sizes} rows")

    def integrate(rows: Rows, targets: np.ndarray, steps: int, _: np.ndarray | None) -> _MeanIntegral:
        rule = gauss_legendre(steps)
        first = model.path_gradients(rows, background[0], targets, *rule)
        attributions = first.attributions.astype(np.float64)
        baseline_prediction = first.baseline_prediction.astype(np.float64)
        for row in background[1:]:
            integral = model.path_gradients(rows, row, targets, *rule)
            attributions += integral.attributions
            baseline_prediction += integral.baseline_prediction
        return _MeanIntegral(
            (attributions / len(background)).astype(np.float32),
            first.prediction,
            (baseline_prediction / len(background)).astype(np.float32),
        )

    return integrate_to_convergence(
        Paths(integrate, len(background)),
        encoded,
        target,
        num_steps=num_steps,
        repair_steps=repair_steps,
        repair_batch=repair_batch,
        valid=valid,
        tolerance=tolerance,
    )
