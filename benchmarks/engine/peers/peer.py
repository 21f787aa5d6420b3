"""What a peer is: attributions of rows, and how they were computed.

Knows numpy alone, since peers import it in environments of their own.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Attribute = Callable[[np.ndarray], np.ndarray]
"""float32 [rows, columns] -> attributions of the logit [rows, columns], from the input baseline zero."""

_TRIAL_ROWS = 128


@dataclasses.dataclass(frozen=True)
class Peer:
    """A peer on one network.

    Attributes:
        attribute: what is timed.
        nodes: of the rule behind `exact`, in [0, 1], float [steps].
        weights: float [steps].
        settings: what was chosen for this network, for the record.
        exact: attributions by that rule; the same as `attribute` but for a peer that draws its nodes row by row.
        exact_rows: how many rows `exact` is asked for; None for all.
    """

    attribute: Attribute
    nodes: np.ndarray
    weights: np.ndarray
    settings: dict[str, Any]
    exact: Attribute
    exact_rows: int | None = None


def by_rule(attribute: Attribute, rule: tuple[np.ndarray, np.ndarray], settings: dict[str, Any]) -> Peer:
    """A peer whose nodes are the same for every row."""
    return Peer(attribute, *rule, settings, attribute)


def fastest(
    candidates: Sequence[dict[str, Any]], make: Callable[..., Attribute], rows: np.ndarray
) -> tuple[Attribute, dict[str, Any]]:
    """The candidate with the least CPU time on the first rows, and its settings; each runs once before."""
    best, least = None, np.inf
    for settings in candidates:
        attribute = make(**settings)
        attribute(rows[:_TRIAL_ROWS])
        start = time.process_time()
        attribute(rows[: 2 * _TRIAL_ROWS])
        spent = time.process_time() - start
        if spent < least:
            best, least = (attribute, settings), spent
    if best is None:
        raise ValueError(f"candidates must not be empty. Received: {list(candidates)}")
    return best


def in_batches(attribute: Attribute, batch: int) -> Attribute:
    """The same, called on so many rows at a time."""

    def attribute_all(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([attribute(rows[start : start + batch]) for start in range(0, len(rows), batch)])

    return attribute_all
