"""Donors: which row gives its values to which, when a feature is permuted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfx_explain.engine.aggregates.intervals import seed_from


def offset(content: str, feature: str, repeat: int, size: int) -> int:
    """How far the donor of every row stands behind it, in a cycle of `size` rows: in [1, size - 1], 0 for one row.

    The repeats of a feature have different offsets as long as there are fewer of them than other rows, so that no pair
    of rows counts twice. They follow each other: a stretch of rows has its donors of all repeats in one stretch.

    Args:
      content: what identifies the rows and the model.
      feature: name of the feature or group.
      repeat: number of the repeat, >= 0.
      size: number of rows in the cycle, >= 1.

    Raises:
      ValueError: if repeat < 0 or size < 1.
    """
    if size < 1:
        raise ValueError(f"size must be >= 1. Received: size={size}")
    return int(_offsets(content, feature, np.array([repeat]), np.array([size]))[0])


@dataclasses.dataclass(frozen=True, eq=False)
class Donors:
    """The donor of each row by feature and repeat: a bijection of the ranks that moves every row which can be moved.

    Rows are shifted cyclically in the order of their ranks, all together or inside each stratum. Ranks must not know
    the values of the rows (order by hashed id), else the pairs are no sample of independent pairs.

    Attributes:
      size: number of rows, n.
      order: int64 [n] ranks ordered by stratum, then rank; None when all rows are one stratum.
      place: int64 [n] where each rank stands in `order`.
      first: int64 [n] where the stratum of each rank begins in `order`.
      length: int64 [n] number of rows in the stratum of each rank.
    """

    size: int
    order: np.ndarray | None = None
    place: np.ndarray | None = None
    first: np.ndarray | None = None
    length: np.ndarray | None = None

    @classmethod
    def marginal(cls, size: int) -> Donors:
        """Donors from all of `size` rows.

        Raises:
          ValueError: if size < 0.
        """
        if size < 0:
            raise ValueError(f"size must be >= 0. Received: size={size}")
        return cls(int(size))

    @classmethod
    def within(cls, strata: np.ndarray) -> Donors:
        """Donors from the row's own stratum: what is permuted keeps its distribution given the stratum.

        Args:
          strata: int [n], the code of each row's stratum, by rank.

        Raises:
          ValueError: if strata are not integers, or not one a row.

        References:
          Strobl et al. 2008, Conditional Variable Importance for Random Forests.
        """
        strata = np.asarray(strata)
        if strata.ndim != 1 or strata.dtype.kind not in "iu":
            raise ValueError(
                f"strata must be one integer code a row. Received: shape {strata.shape}, dtype {strata.dtype}"
            )
        size = len(strata)
        order = np.argsort(strata, kind="stable").astype(np.int64)
        place = np.empty(size, np.int64)
        place[order] = np.arange(size)
        starts = np.flatnonzero(np.diff(strata[order], prepend=strata[order][:1]) != 0)
        starts = np.concatenate([[0], starts]).astype(np.int64) if size else np.zeros(0, np.int64)
        lengths = np.diff(np.append(starts, size))
        first, length = np.empty(size, np.int64), np.empty(size, np.int64)
        first[order], length[order] = np.repeat(starts, lengths), np.repeat(lengths, lengths)
        return cls(size, order, place, first, length)

    @property
    def alone(self) -> int:
        """Number of rows without another row in their stratum: each is its own donor."""
        return int(self.size == 1) if self.length is None else int(np.count_nonzero(self.length == 1))

    def of(self, ranks: np.ndarray, content: str, feature: str, repeat: int) -> np.ndarray:
        """Ranks of the rows that give `feature` to these rows: int64 [k].

        Args:
          ranks: int [k], each in [0, n).
          content: what identifies the rows and the model.
          feature: name of the feature or group.
          repeat: number of the repeat, >= 0.

        Raises:
          ValueError: if a rank is out of range or repeat < 0.
        """
        return self.of_repeats(ranks, content, feature, [repeat])[0]

    def of_repeats(self, ranks: np.ndarray, content: str, feature: str, repeats: Sequence[int]) -> np.ndarray:
        """`of` for several repeats at once: int64 [repeats, k]."""
        return self._shifted(ranks, content, feature, repeats, 1)

    def receivers(self, donor_ranks: np.ndarray, content: str, feature: str, repeat: int) -> np.ndarray:
        """Ranks of the rows that these rows give `feature` to: the inverse of `of`, int64 [k]."""
        return self._shifted(donor_ranks, content, feature, [repeat], -1)[0]

    def _shifted(self, ranks: np.ndarray, content: str, feature: str, repeats: Sequence[int], sign: int) -> np.ndarray:
        ranks, repeat = np.asarray(ranks, np.int64), np.asarray(repeats, np.int64)[:, None]
        if len(ranks) and not 0 <= ranks.min() <= ranks.max() < self.size:
            raise ValueError(f"ranks must be in [0, {self.size}). Received: ranks from {ranks.min()} to {ranks.max()}")
        if self.order is None or self.place is None or self.first is None or self.length is None:
            size = max(self.size, 1)
            shifted = ranks + sign * _offsets(content, feature, repeat, np.array([size]))
            # Offsets are below the size: to wrap is to go round once.
            shifted -= (sign * size) * (shifted >= size if sign > 0 else shifted < 0)
            return shifted
        first, length = self.first[ranks], self.length[ranks]
        steps = sign * _offsets(content, feature, repeat, length)
        return self.order[first + (self.place[ranks] - first + steps) % length]


def _offsets(content: str, feature: str, repeat: np.ndarray, size: np.ndarray) -> np.ndarray:
    """`offset` for each of many repeats and sizes, which broadcast: int64 [...]."""
    if repeat.min(initial=0) < 0:
        raise ValueError(f"repeat must be >= 0. Received: repeat={repeat.min()}")
    others = np.maximum(size - 1, 1).astype(np.uint64)
    seed = np.array(seed_from("permutation", content, feature), np.uint64)
    return np.where(size > 1, 1 + ((seed % others).astype(np.int64) + repeat) % others.astype(np.int64), 0)
