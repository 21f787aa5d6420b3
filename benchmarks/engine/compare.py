"""How far a peer's attributions lie from the engine's at the same rule, and how well each adds up.

Knows numpy alone.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from benchmarks.engine.networks import Network
from benchmarks.engine.reference import kink_allowance

TOLERANCE = 1e-4
ROUNDING = 1e-6
"""Completeness errors that differ by less differ by float32's rounding."""
_MOST_ROWS_AT_KINKS = 64


@dataclasses.dataclass(frozen=True)
class Difference:
    """One peer against the engine.

    Attributes:
        largest: largest difference of one attribution, in parts of its row's summed absolute attribution.
        largest_without_kinks: the same over the rows that no ReLU within rounding of its kink explains.
        rows: compared.
        rows_at_kinks: beyond the tolerance, and explained by such ReLUs.
        rows_wrong: beyond the tolerance, and not explained.
    """

    largest: float
    largest_without_kinks: float
    rows: int
    rows_at_kinks: int
    rows_wrong: int

    @property
    def equal(self) -> bool:
        """Whether no row is wrong."""
        return self.rows_wrong == 0


def difference(
    network: Network,
    columns: np.ndarray,
    ours: np.ndarray,
    theirs: np.ndarray,
    nodes: np.ndarray,
    weights: np.ndarray,
) -> Difference:
    """Compares rows.

    Args:
        network: explained.
        columns: its inputs [rows, columns].
        ours: the engine's attributions [rows, features].
        theirs: the peer's [rows, columns].
        nodes: of the rule that both used, [steps].
        weights: [steps].

    Raises:
        ValueError: if the shapes do not match.
    """
    if theirs.shape != columns.shape or ours.shape != (len(columns), len(network.features)):
        raise ValueError(
            f"attributions must be {columns.shape} and {(len(columns), len(network.features))}. "
            f"Received: {theirs.shape} and {ours.shape}"
        )
    scale = summed_absolute(theirs)
    apart = np.abs(ours - network.by_feature(theirs))  # [rows, features]
    relative = _parts(apart.max(axis=1), scale)
    beyond = np.flatnonzero(~(relative <= TOLERANCE))
    at_kinks = []
    for row in beyond[:_MOST_ROWS_AT_KINKS]:
        allowed = TOLERANCE * scale[row] + kink_allowance(network, columns[row], nodes, weights)
        if np.all(apart[row] <= allowed):
            at_kinks.append(row)
    rest = np.delete(relative, at_kinks)
    return Difference(
        largest=float(relative.max()),
        largest_without_kinks=float(rest.max(initial=0.0)),
        rows=len(columns),
        rows_at_kinks=len(at_kinks),
        rows_wrong=len(beyond) - len(at_kinks),
    )


@dataclasses.dataclass(frozen=True)
class Completeness:
    """|sum of attributions - change of the logit| in parts of the row's summed absolute attribution.

    Attributes:
        median: over rows.
        p99: over rows.
    """

    median: float
    p99: float


def completeness(attributions: np.ndarray, gap: np.ndarray, scale: np.ndarray) -> Completeness:
    """Of attributions [rows, ...], where the logit changes by `gap` [rows] and `scale` [rows] is what to divide by."""
    exact = np.asarray(attributions, np.float64).reshape(len(gap), -1)
    error = _parts(np.abs(exact.sum(axis=1) - gap), scale)
    return Completeness(float(np.median(error)), float(np.quantile(error, 0.99)))


def as_complete(ours: Completeness, theirs: Completeness) -> bool:
    """Whether an error is at most another, but for rounding, in the median and in the 99th percentile."""
    pairs = (ours.median, theirs.median), (ours.p99, theirs.p99)
    return all(own <= other + ROUNDING for own, other in pairs)


def summed_absolute(attributions: np.ndarray) -> np.ndarray:
    """Of the inputs' numbers [rows, columns], float64 [rows]."""
    return np.abs(np.asarray(attributions, np.float64)).sum(axis=1)


def _parts(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Values over scale; a value that is not finite, or has no scale, is infinitely far off."""
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(values == 0, 0.0, values / scale)
    return np.where(np.isfinite(parts), parts, np.inf)
