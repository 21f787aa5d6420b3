"""Rows that sit at the input baseline: a method that starts there attributes nothing to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tfx_explain.artifacts.pins import Values
from tfx_explain.explainer_gen.columns import Columns


def at_input_baseline(columns: Columns, input_baseline: Mapping[str, Values], features: Sequence[str]) -> np.ndarray:
    """Whether a row's raw value of an attributed feature equals the input baseline's: bool [rows, features].

    A cross `a x b` is at the baseline where all its parts are. A row without a value never is, unless the baseline has
    none, and neither is a row of a feature without a baseline.
    """
    out = np.zeros((columns.rows, len(features)), bool)
    known: dict[str, np.ndarray] = {}
    for j, feature in enumerate(features):
        parts = [feature] if feature in input_baseline else feature.split(" x ")
        if not all(part in input_baseline for part in parts):
            continue
        for part in parts:
            if part not in known:
                known[part] = _equal(columns, part, input_baseline[part])
        out[:, j] = np.all([known[part] for part in parts], axis=0)
    return out


def weight_at_baseline(at_baseline: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weight of the rows at the baseline, by feature and then in all features at once: float64 [features + 1]."""
    everywhere = at_baseline.all(axis=1) & bool(at_baseline.shape[1])
    return (np.column_stack([at_baseline, everywhere]) * weight[:, None]).sum(axis=0)


def _equal(columns: Columns, name: str, value: Values) -> np.ndarray:
    """Bool [rows]: the row holds the same list of values, in the same kind."""
    kind, values = value
    others = np.zeros(columns.rows, bool)
    for (other, other_kind), found in columns.columns.items():
        if other == name and other_kind != kind:
            others |= found.lengths > 0
    column = columns.columns.get((name, kind))
    if column is None:
        return columns.readable & ~others & (len(values) == 0)
    same = (column.lengths == len(values)) & columns.readable & ~others
    rows = np.flatnonzero(same)
    at = column.offsets[:-1][rows][:, None] + np.arange(len(values))  # [rows of that length, values]
    wanted = np.empty(len(values), column.values.dtype)
    wanted[:] = values
    same[rows] = (column.values[at] == wanted).all(axis=1)
    return same
