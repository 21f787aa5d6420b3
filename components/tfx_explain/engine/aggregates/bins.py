"""Value bins of a raw feature: ten exact quantiles, or the commonest categories; other and missing apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfx_explain.engine.aggregates.weighted_order import finite_order

NUM_QUANTILE_BINS = 10
NUM_CATEGORIES = 30


@dataclasses.dataclass(frozen=True)
class FeatureBins:
    """Pinned bins of one feature. A row is binned by its first value; a row without a value is missing.

    Bin index: the quantile bins or the categories in order, then (categories only) other, then missing.

    Attributes:
      edges: inner edges of a numeric feature, rising; value v falls in bin `sum(edges <= v)`. None for categories.
      categories: the categories of a categorical feature (bytes or int), commonest first. None for numbers.
    """

    edges: tuple[float, ...] | None = None
    categories: tuple[bytes | int, ...] | None = None

    def __post_init__(self) -> None:
        if (self.edges is None) == (self.categories is None):
            raise ValueError(f"exactly one of edges and categories must be given. Received: {self!r}")

    @property
    def size(self) -> int:
        """Number of bins, other and missing included."""
        return len(self.edges) + 2 if self.edges is not None else len(self.categories or ()) + 2

    @property
    def labels(self) -> list[str]:
        """What each bin holds, in words."""
        if self.edges is None:
            shown = (
                c.decode("utf-8", "backslashreplace") if isinstance(c, bytes) else str(c) for c in self.categories or ()
            )
            return [*shown, "other", "missing"]
        if not self.edges:
            return ["any number", "missing"]
        ends = _distinct(self.edges)
        between = (f"{low} to below {high}" for low, high in zip(ends, ends[1:], strict=False))
        return [f"below {ends[0]}", *between, f"{ends[-1]} and more", "missing"]

    def assign(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Bin index of each row.

        Args:
          values: [rows] first values; bytes objects, or numbers; what stands where `present` is False is ignored.
          present: bool [rows].

        Returns:
          int32 [rows]
        """
        out = np.full(len(present), self.size - 1, np.int32)
        if not present.any():
            return out
        known = values[present]
        if self.edges is not None:
            if known.dtype.kind not in "iufb":  # a category where a number was pinned: another feature than it was
                out[present] = 0 if not self.edges else len(self.edges)
                return out
            out[present] = np.searchsorted(np.asarray(self.edges, np.float64), known.astype(np.float64), side="right")
            return out
        if known.dtype.kind == "f":  # a number where a category was pinned: another feature than it was
            out[present] = len(self.categories or ())
            return out
        distinct, inverse = np.unique(known, return_inverse=True)
        position = {c: i for i, c in enumerate(self.categories or ())}
        other = len(self.categories or ())
        lookup = np.array([position.get(_plain(v), other) for v in distinct], np.int32)
        out[present] = lookup[inverse]
        return out

    def to_dict(self) -> dict[str, Any]:
        """JSON form; bytes become latin-1 text, marked by `kind`."""
        if self.edges is not None:
            return {"kind": "quantiles", "edges": list(self.edges)}
        categories = self.categories or ()
        if any(isinstance(c, bytes) for c in categories):
            return {"kind": "bytes", "categories": [c.decode("latin-1") for c in categories if isinstance(c, bytes)]}
        return {"kind": "ints", "categories": list(categories)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FeatureBins:
        """The inverse of `to_dict`."""
        if data["kind"] == "quantiles":
            return cls(edges=tuple(float(e) for e in data["edges"]))
        if data["kind"] == "bytes":
            return cls(categories=tuple(c.encode("latin-1") for c in data["categories"]))
        if data["kind"] == "ints":
            return cls(categories=tuple(int(c) for c in data["categories"]))
        raise ValueError(f"kind must be quantiles, bytes or ints. Received: kind={data['kind']!r}")


def _distinct(edges: Sequence[float]) -> list[str]:
    """Numbers as text: whole ones in full, since they may be ids, others in as many digits as tell them apart."""
    for digits in (6, 17):
        shown = [f"{e:.0f}" if abs(e) < 1e15 and e == int(e) else f"{e:.{digits}g}" for e in edges]
        if len({*shown}) == len(shown):
            break
    return shown


def _plain(value: Any) -> Any:
    return value if isinstance(value, bytes) else int(value)


def quantile_bins(values: np.ndarray, weights: np.ndarray) -> FeatureBins:
    """Inner edges at the exact weighted deciles of the finite values.

    Args:
      values: [n] numbers.
      weights: int or float [n], how many rows each value stands for.
    """
    return decile_bins(*finite_order(values, weights))


def decile_bins(values: np.ndarray, reached: np.ndarray) -> FeatureBins:
    """`quantile_bins` of values in rising order and the weights that they have reached: what `finite_order` gives."""
    if not len(values):
        return FeatureBins(edges=())
    at = np.searchsorted(reached, reached[-1] * np.arange(1, NUM_QUANTILE_BINS) / NUM_QUANTILE_BINS, side="left")
    edges = np.unique(values[np.minimum(at, len(values) - 1)].astype(np.float64))
    return FeatureBins(edges=tuple(float(e) for e in edges))


def category_bins(values: np.ndarray, weights: np.ndarray) -> FeatureBins:
    """The most frequent categories by weight, ties by value.

    Args:
      values: [n] bytes objects or ints.
      weights: int or float [n].
    """
    distinct, inverse = np.unique(values, return_inverse=True)
    total = np.bincount(inverse, weights=weights, minlength=len(distinct))
    order = np.lexsort((np.arange(len(distinct)), -total))[:NUM_CATEGORIES]
    return FeatureBins(categories=tuple(_plain(distinct[i]) for i in order))


def offsets(bins: Sequence[FeatureBins]) -> np.ndarray:
    """Where each feature's bins begin when all are laid end to end; int64 [features + 1]."""
    return np.concatenate([[0], np.cumsum([b.size for b in bins])]).astype(np.int64)
