"""Scores of permuted rows on a grid of edges: the histograms that areas under the ROC curve are measured from.

A score between two edges is shared among both in proportion to how near it is (a hat function of every edge), so that
small moves of scores make small changes. Totals have all K edges; intervals are made from some of them, k, the coarse
ones.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from tfx_explain.engine.aggregates.buckets import SCORE_LIMIT, SCORE_SIZE
from tfx_explain.names import NUM_BUCKETS

MAX_EDGES = 64
MIN_EDGES = 16
MIN_COARSE_EDGES = 8

_BUDGET = 7e6  # bytes of the score histograms of one slice
_CELLS = 4096  # of the table that says where to look for a score's edge


def edges_size(features: int, repeats: int) -> int:
    """Number of score edges that keeps the statistics of one slice under 8 MB: 64 up to 100 features, never under 16.

    Beyond some 300 features the least number takes more than that.
    """
    for size in range(MAX_EDGES, MIN_EDGES, -1):
        coarse = len(coarse_edges(size))
        if 32 * features * (repeats * size + NUM_BUCKETS * coarse + 2 * coarse**2) <= _BUDGET:
            return size
    return MIN_EDGES


def score_edges(histogram: np.ndarray, size: int = MAX_EDGES) -> np.ndarray:
    """Logits that score histograms are made at: float64 [<= size], increasing.

    A quarter of them are even on [-10, 10], the others quantiles of the base scores, closer to each other in the tails,
    where the rare class lies. With 64 edges an AUC is right to 5e-4; half as many err four times as much. Scores beyond
    the outer edges count as tied.

    Args:
      histogram: [SCORE_SIZE] weights of the base scores, all labels together (see `buckets.score_bins`).
      size: most edges, of `edges_size`.

    Raises:
      ValueError: if the histogram has another size, or size < 16.
    """
    if histogram.shape != (SCORE_SIZE,) or size < MIN_EDGES:
        raise ValueError(
            f"score_edges needs a histogram of {SCORE_SIZE} bins and size >= {MIN_EDGES}. "
            f"Received: {histogram.shape} and size={size}"
        )
    even = np.linspace(-SCORE_LIMIT, SCORE_LIMIT, size // 4)
    total = histogram.sum()
    if not total > 0:
        return even
    levels = 0.5 - 0.5 * np.cos(np.pi * (np.arange(size - len(even)) + 0.5) / (size - len(even)))
    ends = np.linspace(-SCORE_LIMIT, SCORE_LIMIT, SCORE_SIZE + 1)
    reached = np.concatenate([[0.0], np.cumsum(histogram)]) / total
    bins = np.clip(np.searchsorted(reached, levels, side="left"), 1, SCORE_SIZE)
    inside = np.clip((levels - reached[bins - 1]) / (reached[bins] - reached[bins - 1]), 0.0, 1.0)
    quantiles = ends[bins - 1] + inside * (ends[bins] - ends[bins - 1])
    # Edges that all but coincide would divide by their rounding.
    return np.unique(np.concatenate([even, quantiles]).round(6))


@functools.lru_cache(maxsize=64)
def coarse_edges(size: int) -> np.ndarray:
    """Which of so many score edges intervals are made from: int64 [k]."""
    return np.unique(np.linspace(0, size - 1, min(max(size // 4, MIN_COARSE_EDGES), size)).round().astype(np.int64))


@dataclasses.dataclass(frozen=True, eq=False)
class Places:
    """Between which edges scores lie, [...] each.

    Attributes:
      fine: int64, the edge before a score, never the last one.
      part: float64, how much of the way to the edge after it: 0 or 1 beyond the outer edges.
    """

    fine: np.ndarray
    part: np.ndarray

    @classmethod
    def of(cls, edges: np.ndarray, score: np.ndarray) -> Places:
        """The places of scores [...] without NaN."""
        grid = _grid(edges.tobytes())
        if score.size and not (edges[0] <= score.min() and score.max() <= edges[-1]):
            score = np.clip(score, edges[0], edges[-1])
        cell = score - edges[0]
        cell *= grid.scale
        fine = grid.first.take(cell.astype(np.int64))
        for _ in range(grid.most):
            fine += score >= grid.following.take(fine)
        part = np.subtract(score, edges.take(fine), out=cell)
        part *= grid.inverse.take(fine)
        return cls(fine, part)

    def coarse(self, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(the coarse edge before each score, how much of the way to the next one), [...] each."""
        grid = _grid(edges.tobytes())
        return grid.coarse.take(self.fine), grid.start.take(self.fine) + grid.slope.take(self.fine) * self.part


def on_coarse_edges(edges: np.ndarray, histogram: np.ndarray) -> np.ndarray:
    """Histograms [..., K] on all edges as those on the coarse ones: [..., k].

    Every coarse edge is an edge, so that a share of a coarse edge is linear between two edges: what was shared among
    edges can be shared once more.
    """
    grid, chosen = _grid(edges.tobytes()), coarse_edges(len(edges))
    after = np.add.reduceat(histogram[..., :-1] * grid.start, chosen[:-1], axis=-1)
    out = np.zeros((*histogram.shape[:-1], len(chosen)))
    out[..., :-1] = np.add.reduceat(histogram[..., :-1], chosen[:-1], axis=-1) - after
    out[..., 1:] += after
    out[..., -1] += histogram[..., -1]
    return out


@dataclasses.dataclass(frozen=True, eq=False)
class _Grid:
    """Tables over score edges, K of them.

    Attributes:
      scale: cells in a unit of scores.
      first: int64 [cells + 1], the edge before the smallest score of a cell; the last edge has a cell of its own.
      most: edges in a cell, at most.
      following: float64 [K - 1], the edge after each; infinite after the last place.
      inverse: float64 [K - 1], 1 / width.
      coarse: int64 [K - 1], the coarse edge before each.
      start, slope: float64 [K - 1], how much of the way to the next coarse edge each edge stands, and how much of it
        lies between the edge and the next.
    """

    scale: float
    first: np.ndarray
    most: int
    following: np.ndarray
    inverse: np.ndarray
    coarse: np.ndarray
    start: np.ndarray
    slope: np.ndarray


@functools.lru_cache(maxsize=64)
def _grid(edges_bytes: bytes) -> _Grid:
    edges = np.frombuffer(edges_bytes)
    last = len(edges) - 2
    scale = np.nextafter(_CELLS / (edges[-1] - edges[0]), 0)
    # Scores and edges are rounded alike, so that an edge of an earlier cell is below every score of a cell.
    cell_of = ((edges - edges[0]) * scale).astype(np.int64)
    cells = np.arange(_CELLS + 1)
    first, after = (np.clip(np.searchsorted(cell_of, cells, side=side) - 1, 0, last) for side in ("left", "right"))
    chosen = coarse_edges(len(edges))
    coarse = np.searchsorted(chosen, np.arange(last + 1), side="right") - 1
    width = np.diff(edges[chosen])[coarse]
    return _Grid(
        scale=scale,
        first=first,
        most=int((after - first).max()),
        following=np.append(edges[1:-1], np.inf),
        inverse=1.0 / np.diff(edges),
        coarse=coarse,
        start=(edges[:-1] - edges[chosen][coarse]) / width,
        slope=np.diff(edges) / width,
    )


def deposit(place: np.ndarray, weight: np.ndarray, after: np.ndarray, size: int) -> np.ndarray:
    """Weights split between `place` and `place + 1`: [size].

    Args:
      place: int64 [...], of the edge before a score in histograms that lie end to end; never a histogram's last.
      weight: float64 [all places], what is split.
      after: float64 [all places], the part of it that goes to the edge after the score.
      size: places of all histograms.
    """
    flat = place.ravel()
    beyond = np.bincount(flat, weights=after, minlength=size)
    out = np.bincount(flat, weights=weight, minlength=size)
    out -= beyond
    out[1:] += beyond[:-1]
    return out
