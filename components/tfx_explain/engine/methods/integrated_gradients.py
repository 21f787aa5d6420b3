"""Integrated gradients with a repair of the rows that have not converged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from tfx_explain.engine.methods.convergence import converged, rounding_error
from tfx_explain.engine.methods.quadrature import gauss_legendre

# A forward and a backward pass, in forward passes.
_GRADIENT_COST = 3


class Rows(Protocol):
    """Encoded rows."""

    def __len__(self) -> int: ...

    def take(self, rows: np.ndarray) -> Rows:
        """The given rows, int [n], as a batch; repeats are allowed."""


class Integral(Protocol):
    """What one quadrature rule gives; see `PathIntegral` of the feature graph."""

    @property
    def attributions(self) -> np.ndarray:
        """float32 [rows, features]."""

    @property
    def prediction(self) -> np.ndarray:
        """float32 [rows]."""

    @property
    def baseline_prediction(self) -> np.ndarray:
        """float32 [rows]."""


RowsT = TypeVar("RowsT", bound=Rows, contravariant=True)


class PathModel(Protocol[RowsT]):
    """A model whose gradients can be integrated."""

    def path_gradients(
        self, encoded: RowsT, input_baseline: RowsT, target: np.ndarray, nodes: np.ndarray, weights: np.ndarray
    ) -> Integral:
        """The weighted sum of gradients along the straight path, times x - input_baseline."""


@dataclasses.dataclass(frozen=True)
class IntegratedGradients:
    """Attributions and how well they add up.

    Attributes:
        attributions: float32 [rows, features], in the unit of the explained value.
        prediction: float32 [rows], the explained value at x.
        baseline_prediction: float32 [rows], the explained value at the input baseline.
        convergence_delta: float32 [rows], sum of the attributions minus the change of the explained value.
        num_steps: int32 [rows], nodes behind each row's attributions.
        converged: bool [rows].
        forward_equivalents: passes of one row through the model, padding included; a gradient counts as three.
    """

    attributions: np.ndarray
    prediction: np.ndarray
    baseline_prediction: np.ndarray
    convergence_delta: np.ndarray
    num_steps: np.ndarray
    converged: np.ndarray
    forward_equivalents: int


def integrated_gradients(
    model: PathModel,
    encoded: Rows,
    input_baseline: Rows,
    target: int | np.ndarray,
    *,
    num_steps: int = 50,
    repair_steps: Sequence[int] = (100, 200),
    repair_batch: int = 64,
    valid: np.ndarray | None = None,
    tolerance: float = 0.05,
) -> IntegratedGradients:
    """Integrated gradients by Gauss-Legendre quadrature.

    Rows that have not converged are gathered, padded to batches of one fixed shape and run again with more nodes; what
    the last run gives is kept. Rows whose prediction is not finite are not run again: nodes cannot help them.

    Args:
        model: integrates gradients, for instance a `FeatureModel`.
        encoded: the rows to explain.
        input_baseline: one encoded row for all, or a row for each of `encoded`.
        target: output column, one for all rows or int [rows].
        num_steps: nodes for every row.
        repair_steps: nodes for the rows that are left, in turn; increasing.
        repair_batch: rows in a batch of the repair.
        valid: bool [rows]; the others are padding and never run again. All rows, if None.
        tolerance: see `converged`.

    Raises:
        ValueError: if an argument is out of its range or has the wrong shape.

    References:
        Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks (2017), https://arxiv.org/abs/1703.01365
    """
    rows = len(encoded)
    if len(input_baseline) not in (1, rows):
        raise ValueError(
            f"input_baseline must have one row, or as many as encoded ({rows}). Received: {len(input_baseline)}"
        )
    if repair_batch < 1:
        raise ValueError(f"repair_batch must be >= 1. Received: repair_batch={repair_batch}")
    if list(repair_steps) != sorted({num_steps, *repair_steps})[1:]:
        raise ValueError(f"repair_steps must increase from num_steps. Received: {num_steps=}, {repair_steps=}")
    valid = np.ones(rows, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    if valid.shape != (rows,):
        raise ValueError(f"valid must have the shape {(rows,)}. Received: {valid.shape}")
    target = np.broadcast_to(np.asarray(target, dtype=np.int32), (rows,))

    first = model.path_gradients(encoded, input_baseline, target, *gauss_legendre(num_steps))
    attributions = np.array(first.attributions)
    prediction = np.array(first.prediction)
    baseline_prediction = np.array(first.baseline_prediction)
    steps = np.full(rows, num_steps, dtype=np.int32)
    shared_baseline = len(input_baseline) == 1
    cost = _cost(rows, num_steps, len(input_baseline))
    delta, done = _judge(attributions, prediction, baseline_prediction, tolerance)
    repairable = valid & np.isfinite(prediction) & np.isfinite(baseline_prediction)
    for more_steps in repair_steps:
        left = np.flatnonzero(repairable & ~done)
        for start in range(0, len(left), repair_batch):
            part = left[start : start + repair_batch]
            padded = np.resize(part, repair_batch)  # repeats rows up to the fixed shape
            baseline = input_baseline if shared_baseline else input_baseline.take(padded)
            again = model.path_gradients(encoded.take(padded), baseline, target[padded], *gauss_legendre(more_steps))
            attributions[part] = again.attributions[: len(part)]
            prediction[part] = again.prediction[: len(part)]
            baseline_prediction[part] = again.baseline_prediction[: len(part)]
            steps[part] = more_steps
            cost += _cost(repair_batch, more_steps, len(baseline))
        delta, done = _judge(attributions, prediction, baseline_prediction, tolerance)
    return IntegratedGradients(
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


def _cost(rows: int, num_steps: int, baseline_rows: int) -> int:
    # The path, the prediction, and the baseline.
    return rows * (_GRADIENT_COST * num_steps + 1) + baseline_rows
