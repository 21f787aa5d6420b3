"""How far two runs of one model on the same rows may lie apart."""

from __future__ import annotations

import numpy as np

TOLERANCE = 1e-4
"""Largest difference, relative to the largest value, that rounding explains: batch shape and fusion change bits."""

_LAST_BIT = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def tolerance_of(dtype: str) -> float:
    """The same for numbers that are rounded to a type: what falls to either side of a step differs by the step."""
    return max(TOLERANCE, _LAST_BIT.get(dtype, 0.0))


def relative_difference(a: np.ndarray, b: np.ndarray, scale: float | None = None) -> float:
    """Largest |a - b| relative to `scale` (default: the largest |a|); NaNs are equal; inf for other shapes or kinds."""
    if a.shape != b.shape:
        return np.inf
    if a.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else np.inf
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return np.inf
    finite = np.isfinite(a)
    if not finite.any():
        return 0.0
    if scale is None:
        scale = np.abs(a[finite]).max()
    difference = np.abs(a[finite].astype(np.float64) - b[finite]).max()
    return float(difference / max(float(scale), np.finfo(np.float32).tiny)) if difference else 0.0
