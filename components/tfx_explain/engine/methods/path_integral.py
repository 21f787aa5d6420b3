"""Path integrals to completeness: every row with few nodes, the rows that have not converged again with more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tfx_explain.engine.methods.attributions import Attributions
from tfx_explain.engine.methods.convergence import converged, rounding_error
from tfx_explain.engine.methods.model import GRADIENT_COST, Integral, Rows

Integrate = Callable[[Rows, np.ndarray, int, "np.ndarray | None"], Integral]
"""(encoded rows, target int [rows], nodes of each path, which rows of the whole batch they are, or None for all of
them) -> their integrals."""


REPAIR_BATCH = 64
"""Most rows in a batch of the repair."""
_FEW = 16  # rows in the smallest: fewer cost no less


@dataclasses.dataclass(frozen=True)
class Paths:
    """How a row's attributions come about.

    Attributes:
        integrate: gives the integrals of a batch.
        count: paths that lead to each row.
        own_baselines: whether each row has a baseline of its own, instead of one for all.
    """

    integrate: Integrate
    count: int = 1
    own_baselines: bool = False


def integrate_to_convergence(
    paths: Paths,
    encoded: Rows,
    target: int | np.ndarray,
    *,
    num_steps: int,
    repair_steps: Sequence[int],
    repair_batch: int = REPAIR_BATCH,
    valid: np.ndarray | None = None,
    tolerance: float = 0.05,
) -> Attributions:
    """Attributions whose rows add up, as far as nodes can help.

    Rows that have not converged are gathered, padded to batches of a few fixed shapes and run again with more nodes;
    what the last run gives is kept. Rows whose prediction is not finite are not run again: nodes cannot help them.

    Args:
        paths: what is integrated.
        encoded: the rows to explain.
        target: output column, one for all rows or int [rows].
        num_steps: nodes of each path of every row.
        repair_steps: nodes for the rows that are left, in turn; increasing.
        repair_batch: rows in a batch of the repair; where fewer are left the next power of two, and no less than 16.
        valid: bool [rows]; the others are padding and never run again. All rows, if None.
        tolerance: see `converged`.

    Raises:
        ValueError: if an argument is out of its range or has the wrong shape.
    """
    rows = len(encoded)
    if repair_batch < 1:
        raise ValueError(f"repair_batch must be >= 1. Received: repair_batch={repair_batch}")
    if list(repair_steps) != sorted({num_steps, *repair_steps})[1:]:
        raise ValueError(f"repair_steps must increase from num_steps. Received: {num_steps=}, {repair_steps=}")
    valid = np.ones(rows, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    if valid.shape != (rows,):
        raise ValueError(f"valid must have the shape {(rows,)}. Received: {valid.shape}")
    target = np.broadcast_to(np.asarray(target, dtype=np.int32), (rows,))

    first = paths.integrate(encoded, target, num_steps, None)
    attributions = np.array(first.attributions)
    prediction = np.array(first.prediction)
    baseline_prediction = np.array(first.baseline_prediction)
    steps = np.full(rows, paths.count * num_steps, dtype=np.int32)
    cost = _cost(paths, rows, num_steps)
    delta, done = _judge(attributions, prediction, baseline_prediction, tolerance)
    repairable = valid & np.isfinite(prediction) & np.isfinite(baseline_prediction)
    for more_steps in repair_steps:
        left = np.flatnonzero(repairable & ~done)
        for start in range(0, len(left), repair_batch):
            part = left[start : start + repair_batch]
            size = min(max(_FEW, 1 << (len(part) - 1).bit_length()), repair_batch)
            padded = np.resize(part, size)  # repeats rows up to the fixed shape
            again = paths.integrate(encoded.take(padded), target[padded], more_steps, padded)
            attributions[part] = again.attributions[: len(part)]
            prediction[part] = again.prediction[: len(part)]
            baseline_prediction[part] = again.baseline_prediction[: len(part)]
            steps[part] = paths.count * more_steps
            cost += _cost(paths, size, more_steps)
        delta, done = _judge(attributions, prediction, baseline_prediction, tolerance)
    return Attributions(
        attributions=attributions,
        prediction=prediction,
        baseline_prediction=baseline_prediction,
        convergence_delta=delta.astype(np.float32),
        num_steps=steps,
        converged=done,
        forward_equivalents=cost,
    )


def _judge(
    attributions: np.ndarray, prediction: np.ndarray, baseline_prediction: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Convergence delta, float64 [rows], and whether it is small enough, bool [rows]."""
    exact = attributions.astype(np.float64)
    gap = prediction.astype(np.float64) - baseline_prediction
    delta = exact.sum(axis=1) - gap
    rounding = rounding_error(prediction, baseline_prediction)
    return delta, converged(delta, gap, np.abs(exact).sum(axis=1), tolerance, rounding)


def _cost(paths: Paths, rows: int, num_steps: int) -> int:
    # Of each path its nodes, the prediction, and the baseline.
    return paths.count * (rows * (GRADIENT_COST * num_steps + 1) + (rows if paths.own_baselines else 1))
