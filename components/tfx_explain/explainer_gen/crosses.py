"""Crosses: what is attributed to several features together, left with their cross or given to each alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

CrossRule = Literal["pair", "equal"]


@dataclasses.dataclass(frozen=True)
class Split:
    """From what a model attributes to what is published.

    Attributes:
      features: F published names, sorted.
      weights: float64 [columns, F], what part of a column's attribution each feature gets; None where the columns are
        published as they are.
    """

    features: tuple[str, ...]
    weights: np.ndarray | None

    def apply(self, attributions: np.ndarray) -> np.ndarray:
        """Attributions [rows, columns] as published: float32 [rows, F]. A row keeps its sum."""
        if self.weights is None:
            return attributions
        out = np.zeros((len(attributions), len(self.features)))
        # Column by column and no matrix product: the same bits whatever the threads.
        for column, parts in zip(attributions.T.astype(np.float64), self.weights, strict=True):
            for j in np.flatnonzero(parts):
                out[:, j] += column * parts[j]
        return out.astype(np.float32)


def split_of(columns: Sequence[str], parts: Mapping[str, Sequence[str]], rule: CrossRule) -> Split:
    """The split of a model's columns.

    `pair` publishes a cross `a x b` under its own name. `equal` gives each of its features an equal part: none of
    them has a value in a hashed cross without the others, and the Shapley value of such a pure interaction is an equal
    part for each. A feature with a cut of its own gets the sum.

    Args:
      columns: what the model attributes to.
      parts: by column, its raw features.
      rule: `pair` or `equal`.

    References:
      Shapley 1953, A value for n-person games: a game that all of n players must join is worth 1/n to each.
    """
    if rule == "pair" or all(len(parts[column]) == 1 for column in columns):
        return Split(tuple(columns), None)
    features = tuple(sorted({feature for column in columns for feature in parts[column]}))
    weights = np.zeros((len(columns), len(features)))
    for i, column in enumerate(columns):
        for feature in parts[column]:
            weights[i, features.index(feature)] = 1 / len(parts[column])
    return Split(features, weights)
