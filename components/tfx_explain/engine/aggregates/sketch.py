"""QuantileSketch: weighted histograms on signed logarithmic bins, from which quantiles of attributions are read."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfx_explain.engine.aggregates.edges import reached, row_by_row
from tfx_explain.engine.aggregates.intervals import Z95

RELATIVE_ERROR = 0.025
SMALLEST, LARGEST = 1e-4, 1e3
"""Range of |attribution|, in units, within which a quantile errs by at most RELATIVE_ERROR of itself."""

_RATIO = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_STEPS = int(np.ceil(np.log(LARGEST / SMALLEST) / np.log(_RATIO)))
_EDGES = SMALLEST * _RATIO ** np.arange(_STEPS + 1)  # the last is at least LARGEST
_SIDE = _STEPS + 2  # bins of one sign: near zero, the steps, the open end
NUM_BINS = 2 * _SIDE + 1
_INNER = np.concatenate([[0.0], _EDGES])  # inner ends of one side's bins
_OUTER = np.concatenate([_EDGES, [np.inf]])
_MIDDLE = np.concatenate([[SMALLEST / 2], 2 * _EDGES[:-1] * _RATIO / (1 + _RATIO), _EDGES[-1:]])
# By bin, most negative first: value that stands for it, and its ends.
_VALUES = np.concatenate([-_MIDDLE[::-1], [0.0], _MIDDLE])
_LOW = np.concatenate([-_OUTER[::-1], [0.0], _INNER])
_HIGH = np.concatenate([-_INNER[::-1], [0.0], _OUTER])


_AT_ONCE = 4096  # rows that are binned together


def sketch_bins(attributions: np.ndarray, unit: float) -> np.ndarray:
    """Bin of each attribution, most negative first: int16 [n, F].

    Args:
      attributions: float [n, F], finite.
      unit: > 0.

    Raises:
      ValueError: an attribution is not finite.
    """
    if not np.isfinite(attributions).all():
        raise ValueError("attributions must be finite. Received: NaN or infinite ones; count such rows as failed")
    edges = _EDGES * unit

    def found(part: np.ndarray) -> np.ndarray:
        step = reached(edges, np.abs(part)).astype(np.int16)
        step += 1
        return _SIDE + step * np.sign(part).astype(np.int8)

    return row_by_row(found, attributions, np.int16)


@dataclasses.dataclass(frozen=True)
class QuantileSketch:
    """Weights of one slice's attributions by feature and bin; only bins that hold a row are kept.

    Two sketches add up to the sketch of all their rows. The order of adding changes nothing but the rounding of sums
    of weights, and nothing at all when weights are whole numbers. At most 16 bytes a bin and feature: 10 MB for 1,000
    features in the worst case.

    Attributes:
      num_features: F.
      unit: attributions are binned as multiples of it, > 0.
      cell: int64 [m], rising; feature * NUM_BINS + bin.
      weight: float64 [m], > 0.
      total_weight: of the rows.
      weight_squared: sum of squared weights of the rows.

    References:
      Masson, Rim and Lee 2019, DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees.
    """

    num_features: int
    unit: float
    cell: np.ndarray
    weight: np.ndarray
    total_weight: float
    weight_squared: float

    @classmethod
    def empty(cls, num_features: int, unit: float) -> QuantileSketch:
        """No rows."""
        if not (unit > 0 and np.isfinite(unit)):
            raise ValueError(f"unit must be > 0 and finite. Received: unit={unit}")
        return cls(num_features, float(unit), np.zeros(0, np.int64), np.zeros(0), 0.0, 0.0)

    @classmethod
    def of(
        cls, attributions: np.ndarray, weight: np.ndarray, unit: float, place: np.ndarray | None = None
    ) -> QuantileSketch:
        """Sketches one block of rows.

        Args:
          attributions: float [n, F], finite.
          weight: float [n], >= 0; rows without weight are left out.
          unit: > 0, such as the pinned total mean |attribution|.
          place: of `sketch_bins` with the same unit, where it is known already.

        Raises:
          ValueError: an attribution is not finite, or `unit` is not positive.
        """
        empty = cls.empty(attributions.shape[1], unit)
        weight = weight.astype(np.float64)
        counted = np.flatnonzero(weight > 0)
        size = empty.num_features * NUM_BINS
        total = np.zeros(size)
        for start in range(0, len(counted), _AT_ONCE):
            own = counted[start : start + _AT_ONCE]
            found = sketch_bins(attributions[own], unit) if place is None else place[own]
            cell = (np.arange(empty.num_features) * NUM_BINS + found).ravel()  # [m * F]
            ones = bool((weight[own] == 1).all())
            spread = None if ones else np.repeat(weight[own], empty.num_features)
            total += np.bincount(cell, weights=spread, minlength=size)
        return empty._dense(total, float(weight.sum()), float(np.sum(weight**2)))

    def __add__(self, other: QuantileSketch) -> QuantileSketch:
        if (self.num_features, self.unit) != (other.num_features, other.unit):
            raise ValueError(
                "sketches must have the same features and unit to be added. Received: "
                f"{self.num_features} and {other.num_features} features, units {self.unit} and {other.unit}"
            )
        total = np.zeros(self.num_features * NUM_BINS)
        total[self.cell] = self.weight
        total[other.cell] += other.weight
        return self._dense(total, self.total_weight + other.total_weight, self.weight_squared + other.weight_squared)

    def _dense(self, total: np.ndarray, total_weight: float, weight_squared: float) -> QuantileSketch:
        cell = np.flatnonzero(total)
        return QuantileSketch(self.num_features, self.unit, cell, total[cell], total_weight, weight_squared)

    @property
    def effective_rows(self) -> float:
        """Kish's effective sample size: (sum w)^2 / sum w^2."""
        return self.total_weight**2 / self.weight_squared if self.weight_squared else 0.0

    def quantiles(self, q: np.ndarray) -> np.ndarray:
        """The smallest value that at least a part q of the weight does not exceed: float64 [F, len(q)].

        Errs by at most RELATIVE_ERROR of itself between SMALLEST and LARGEST units, by SMALLEST units below; beyond
        LARGEST it is LARGEST. NaN without rows.

        Args:
          q: [Q] levels in [0, 1].
        """
        levels = np.broadcast_to(np.asarray(q, np.float64), (self.num_features, len(q)))
        return self._at(levels, _VALUES)

    def intervals(self, q: np.ndarray, effective_rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each float64 [F, len(q)]: order statistics at q -+ 1.645 sqrt(q (1 - q) / n).

        Each bound errs in 5 % of samples (normal approximation of the binomial). A bound is the outer end of its bin,
        and infinite where too few rows lie beyond the quantile to bound it.

        Args:
          q: [Q] levels in [0, 1].
          effective_rows: n by feature, [F]; Kish's unless given. Rows that resemble each other count for less.

        References:
          Conover 1999, Practical Nonparametric Statistics, section 3.2.
        """
        n = np.full(self.num_features, self.effective_rows) if effective_rows is None else effective_rows
        n = np.maximum(n, 1e-9)[:, None]
        q = np.asarray(q, np.float64)[None, :]
        margin = Z95 * np.sqrt(q * (1 - q) / n)
        below, above = q - margin, q + margin + 1 / n
        low = np.where(below > 0, self._at(np.clip(below, 0, 1), _LOW), -np.inf)
        high = np.where(above <= 1, self._at(np.clip(above, 0, 1), _HIGH), np.inf)
        known = np.isfinite(self._at(np.full(low.shape, 0.5), _VALUES))
        return np.where(known, low, np.nan), np.where(known, high, np.nan)

    def _at(self, levels: np.ndarray, by_bin: np.ndarray) -> np.ndarray:
        """`by_bin` at the bins where the weight reaches levels [F, Q]; NaN without rows."""
        out = np.full(levels.shape, np.nan)
        feature, place = np.divmod(self.cell, NUM_BINS)
        starts = np.searchsorted(feature, np.arange(self.num_features + 1))
        filled = np.flatnonzero(np.diff(starts))
        if not len(filled):
            return out
        reached = np.cumsum(self.weight)
        first, last = starts[filled], starts[filled + 1] - 1
        before = reached[first] - self.weight[first]
        total = reached[last] - before
        # A level that a sum of weights meets exactly must not depend on the rounding of that sum.
        wanted = before[:, None] + (levels[filled] - 1e-9) * total[:, None]
        at = np.clip(np.searchsorted(reached, wanted, side="left"), first[:, None], last[:, None])
        out[filled] = by_bin[place[at]] * self.unit
        return out
