"""When a path integral counts as converged."""

from __future__ import annotations

import numpy as np

_ROUNDING_ULPS = 64


def converged(
    delta: np.ndarray,
    gap: np.ndarray,
    sum_abs: np.ndarray,
    tolerance: float = 0.05,
    rounding: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Whether the attributions sum up to the change of the output: `|delta| <= tolerance * max(|gap|, 0.1 sum|a|)`.

    The second bound is for rows whose attributions cancel: there the gap is small by chance. A row that is not finite
    has not converged.

    Args:
        delta: sum of the attributions minus the gap, [rows].
        gap: output at x minus output at the input baseline, [rows].
        sum_abs: sum of the absolute attributions, [rows].
        tolerance: of the gap.
        rounding: difference that rounding alone explains, see `rounding_error`; a row that equals the baseline has no
            gap to measure against.

    Returns:
        bool [rows].

    References:
        Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks (2017), section 5: within 5 %.
    """
    if tolerance <= 0:
        raise ValueError(f"tolerance must be > 0. Received: tolerance={tolerance}")
    bound = tolerance * np.maximum(np.abs(gap), 0.1 * np.asarray(sum_abs))
    return np.abs(delta) <= np.maximum(bound, rounding)


def rounding_error(prediction: np.ndarray, baseline_prediction: np.ndarray) -> np.ndarray:
    """What float32 arithmetic may add to a convergence delta: 64 ulps of the larger output, float64 [rows]."""
    larger = np.maximum(np.abs(prediction), np.abs(baseline_prediction)).astype(np.float64)
    return _ROUNDING_ULPS * float(np.finfo(np.float32).eps) * larger
