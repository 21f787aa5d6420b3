"""How alike two attributions of the same rows rank the features."""

import numpy as np

_MOST_COMPARISONS = 1 << 24
_MOST_COMPARED = 512
"""Values of a row up to which each is compared with each; more, as an image's pixels are, get sorted."""


def rank_correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each row: float64 [rows]; NaN where a row is constant.

    Args:
        one: [rows, features].
        other: the same.

    Raises:
        ValueError: if the shapes differ or are no [rows, features].

    References:
        Spearman 1904; Kendall 1945, The treatment of ties in ranking problems.
    """
    if one.ndim != 2 or one.shape != other.shape:
        raise ValueError(f"attributions must be [rows, features], alike. Received: {one.shape} and {other.shape}")
    a, b = _centred_ranks(one), _centred_ranks(other)
    products = [np.einsum("rf,rf->r", x, y, optimize=False) for x, y in ((a, b), (a, a), (b, b))]
    with np.errstate(invalid="ignore"):  # a constant row has no ranking: 0 / 0
        return products[0] / np.sqrt(products[1] * products[2])


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Half of (how many are smaller - how many are larger): ranks with ties shared, around 0."""
    rows, features = values.shape
    if features > _MOST_COMPARED:
        return np.array([_sorted_ranks(row) for row in values]).reshape(values.shape)
    ranks = np.empty((rows, features))
    step = max(1, _MOST_COMPARISONS // max(features * features, 1))
    for start in range(0, rows, step):
        part = values[start : start + step]
        ranks[start : start + step] = np.sign(part[:, :, None] - part[:, None, :]).sum(axis=2) / 2
    return ranks


def _sorted_ranks(row: np.ndarray) -> np.ndarray:
    """The same of one row [features], without comparing each value with each; NaN where one is NaN."""
    if np.isnan(row).any():
        return np.full(len(row), np.nan)
    _, place, count = np.unique(row, return_inverse=True, return_counts=True)
    up_to = np.cumsum(count)
    return ((2 * up_to - count - len(row)) / 2)[place]  # smaller: up_to - count; larger: len(row) - up_to
