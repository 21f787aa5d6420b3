"""Clusters of features whose attributions move together over rows, from additive second moments."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfx_explain.names import MAX_CLUSTERED

MAX_FEATURES = MAX_CLUSTERED
"""Second moments grow with the square of the features: 0.5 MB and 65,536 products a row at this limit."""

MIN_CORRELATION = 0.9
MIN_EFFECTIVE_ROWS = 30.0
"""Below it a correlation of 0.9 may be chance: no clusters are named."""

# A variance below this part of the mean square is the rounding of a constant.
_VARIANCE_ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True)
class Moments:
    """Weighted sums of attributions and of their products; two sets of rows are merged by adding.

    Attributes:
      weight: sum of weights.
      weight_squared: sum of squared weights.
      sums: float64 [F].
      products: float64 [F, F].
    """

    weight: float
    weight_squared: float
    sums: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, attributions: np.ndarray, weight: np.ndarray) -> Moments:
        """Sums one block. No BLAS, so that the bits do not depend on threads.

        Args:
          attributions: float [n, F].
          weight: float [n], >= 0.

        Raises:
          ValueError: more than MAX_FEATURES features.
        """
        if attributions.shape[1] > MAX_FEATURES:
            raise ValueError(
                f"attributions must have at most {MAX_FEATURES} features: of more, look for no clusters. "
                f"Received: {attributions.shape[1]}"
            )
        a, w = attributions.astype(np.float64), weight.astype(np.float64)
        weighted = w[:, None] * a
        return cls(
            float(w.sum()),
            float(np.sum(w**2)),
            weighted.sum(axis=0),
            np.einsum("ni,nj->ij", weighted, a, optimize=False),
        )

    def __add__(self, other: Moments) -> Moments:
        if self.sums.shape != other.sums.shape:
            raise ValueError(
                f"moments must have the same features to be added. Received: {len(self.sums)} and {len(other.sums)}"
            )
        return Moments(
            self.weight + other.weight,
            self.weight_squared + other.weight_squared,
            self.sums + other.sums,
            self.products + other.products,
        )

    @property
    def effective_rows(self) -> float:
        """Kish's effective sample size: (sum w)^2 / sum w^2."""
        return self.weight**2 / self.weight_squared if self.weight_squared else 0.0

    def correlations(self) -> np.ndarray:
        """Pearson's r, float64 [F, F] in [-1, 1]; NaN in the rows and columns of a feature that does not vary."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean, square = self.sums / self.weight, np.diagonal(self.products) / self.weight
            covariance = self.products / self.weight - mean[:, None] * mean
            variance = np.diagonal(covariance)
            deviation = np.sqrt(np.where(variance > _VARIANCE_ROUNDING * square, variance, np.nan))
            return np.clip(covariance / (deviation[:, None] * deviation), -1.0, 1.0)


def clusters(
    moments: Moments, features: Sequence[str], min_correlation: float = MIN_CORRELATION
) -> tuple[tuple[str, ...], ...]:
    """Groups of two and more features, every two of which correlate by at least `min_correlation`.

    Complete linkage: of all pairs of clusters the one whose least correlated members correlate most is merged, as long
    as they reach the limit, so that a chain of neighbours does not join its ends. Ties go to the features named first.
    The sign counts: attributions that cancel each other are not together. Features that do not vary stand alone.

    Args:
      moments: of the features' attributions.
      features: F names.
      min_correlation: in (0, 1].

    Returns:
      Members sorted by name, clusters by their first member; none below MIN_EFFECTIVE_ROWS.

    References:
      Sorensen 1948 (complete linkage); Muellner 2011, Modern hierarchical, agglomerative clustering algorithms.
    """
    if len(features) != len(moments.sums):
        raise ValueError(f"features must name all {len(moments.sums)} columns. Received: {len(features)} names")
    if not 0 < min_correlation <= 1:
        raise ValueError(f"min_correlation must be in (0, 1]. Received: min_correlation={min_correlation}")
    if moments.effective_rows < MIN_EFFECTIVE_ROWS or not len(features):
        return ()
    order = sorted(range(len(features)), key=lambda i: features[i])
    linked = moments.correlations()[np.ix_(order, order)]
    linked = np.where(np.isnan(linked), -np.inf, linked)
    np.fill_diagonal(linked, -np.inf)
    members: list[list[str]] = [[features[i]] for i in order]
    while True:
        first, second = sorted(divmod(int(np.argmax(linked)), len(linked)))
        if linked[first, second] < min_correlation:
            break
        members[first] += members[second]
        members[second] = []
        joint = np.minimum(linked[first], linked[second])
        linked[first], linked[:, first] = joint, joint
        linked[second], linked[:, second] = -np.inf, -np.inf
        linked[first, first] = -np.inf
    return tuple(sorted(tuple(sorted(names)) for names in members if len(names) > 1))
