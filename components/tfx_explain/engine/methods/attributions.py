"""Attributions of a batch, by whatever method."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Attributions:
    """Attributions of rows, and how well they add up.

    A method is complete where the attributions of a row add up to the change of the explained value between its input
    baseline (or background) and the row. Other methods have nothing to converge to: their convergence delta is NaN,
    and no row counts as converged.

    Attributes:
        attributions: float32 [rows, features]; of a complete method in the unit of the explained value.
        prediction: float32 [rows], the explained value at x.
        baseline_prediction: float32 [rows], the explained value at the input baseline, or its mean over the background;
            NaN where the method is not complete.
        convergence_delta: float32 [rows], sum of the attributions minus the change of the explained value.
        num_steps: int32 [rows], gradients behind each row's attributions: nodes of every path, or noisy copies.
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

    @classmethod
    def without_completeness(
        cls, attributions: np.ndarray, prediction: np.ndarray, num_steps: int, forward_equivalents: int
    ) -> Attributions:
        """What a method gives whose attributions need not add up."""
        rows = len(attributions)
        return cls(
            attributions=attributions.astype(np.float32),
            prediction=np.asarray(prediction, np.float32),
            baseline_prediction=np.full(rows, np.nan, np.float32),
            convergence_delta=np.full(rows, np.nan, np.float32),
            num_steps=np.full(rows, num_steps, np.int32),
            converged=np.zeros(rows, bool),
            forward_equivalents=forward_equivalents,
        )
