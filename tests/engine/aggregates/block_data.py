"""Blocks of explained rows from plain arrays."""

import numpy as np

from tfx_explain.engine.aggregates.buckets import Rows


def block(a: np.ndarray, bin_index: np.ndarray | None = None, weight: np.ndarray | None = None, seed: int = 0) -> Rows:
    """Rows with attributions [n, F], in random buckets."""
    n = len(a)
    return Rows(
        bucket=np.random.default_rng(seed).integers(0, 64, n),
        weight=np.ones(n) if weight is None else weight,
        attributions=np.asarray(a, np.float32),
        converged=np.ones(n, bool),
        prediction=np.zeros(n),
        bin_index=np.zeros(a.shape, np.int32) if bin_index is None else bin_index,
        failed_bucket=np.zeros(0, int),
        failed_weight=np.zeros(0),
    )
