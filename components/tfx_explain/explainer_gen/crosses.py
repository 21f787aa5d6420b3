"""Crosses: attributed to several features together, or to each in equal parts; and what a feature carries in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from tfx_explain.engine.aggregates.groups import Group
from tfx_explain.names import ITS_CROSSES

CrossRule = Literal["pair", "equal"]


@dataclasses.dataclass(frozen=True)
class Split:
    """From what a model attributes to what is published.

    Attributes:
      features: F published names, sorted.
      weights: float64 [columns, F], what part of a column's attribution each feature gets; None where the columns are
        published as they are.
      crosses: of each published cross, its raw features.
    """

    features: tuple[str, ...]
    weights: np.ndarray | None
    crosses: Mapping[str, tuple[str, ...]]

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
    crosses = {column: tuple(parts[column]) for column in columns if len(parts[column]) > 1}
    if rule == "pair" or not crosses:
        return Split(tuple(columns), None, crosses)
    features = tuple(sorted({feature for column in columns for feature in parts[column]}))
    weights = np.zeros((len(columns), len(features)))
    for i, column in enumerate(columns):
        for feature in parts[column]:
            weights[i, features.index(feature)] = 1 / len(parts[column])
    return Split(features, weights, {})


def with_crosses(members: Sequence[str], crosses: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The features of a group, and the crosses that are made of them alone."""
    inside = (cross for cross, parts in crosses.items() if cross not in members and set(parts) <= set(members))
    return (*members, *inside)


def families(crosses: Mapping[str, Sequence[str]], features: Sequence[str]) -> Iterator[Group]:
    """Each raw feature with all crosses that it is part of, where these are two columns or more.

    What a feature carries is what the model would lose with it: its own attribution and that of its crosses. A leak
    that the model reads alone and in two crosses would otherwise be three features of a third each.

    Args:
      crosses: of each published cross, its raw features.
      features: what is published.
    """
    for name in sorted({part for parts in crosses.values() for part in parts}):
        members = tuple(f for f in features if f == name or name in crosses.get(f, ()))
        if len(members) > 1:
            yield f"{name}{ITS_CROSSES}", members
