"""Which cut a feature gets: tried out on the sample, feature by feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tfx_explain.engine.feature_graph.cut import POLICIES
from tfx_explain.engine.feature_graph.encoded import Encoded, PathIntegral, as_batch
from tfx_explain.engine.feature_graph.errors import CutPolicyError
from tfx_explain.engine.feature_graph.partition import Partition
from tfx_explain.engine.feature_graph.raw_segments import put_together, take_apart
from tfx_explain.engine.methods.convergence import converged, rounding_error

TRIAL_STEPS = (16, 50, 200)
"""Nodes of the trial, in turn: only features that have not converged yet get more."""
_TRIAL_ROWS = 32
# With everything but one feature at the baseline, what is left of the output's change when the cut is at the baseline
# must vanish, or the feature is frozen in part. (`element` freezes masks on purpose.)
_RESIDUAL_TOLERANCE = 1e-3


def trial_rows(sample: np.ndarray, baseline: bytes, columns: Mapping[str, Sequence[str]]) -> np.ndarray:
    """For each attributed column, rows that differ from the baseline in its features alone.

    Args:
        sample: serialised tf.Examples, bytes [rows].
        baseline: a serialised tf.Example.
        columns: by column that is tried, its raw features.

    Returns:
        Serialised tf.Examples, bytes [columns * rows], a column's rows together.
    """
    sample, of_baseline = sample[:_TRIAL_ROWS], as_batch([baseline])
    _, values = take_apart(sample, sorted({feature for group in columns.values() for feature in group}))
    rows = []
    for group in columns.values():
        rest, _ = take_apart(of_baseline, group)
        # A value that a row of the sample lacks is missing in the trial too.
        rows.append(put_together(np.repeat(rest, len(sample)), [values[feature] for feature in group]))
    return np.concatenate(rows)


def unconverged_columns(
    columns: Sequence[str],
    attributed: Sequence[str],
    policies: Mapping[str, str],
    trial: Encoded,
    integrate: Callable[[Encoded], PathIntegral],
    value_at_baseline_cut: Callable[[Encoded], np.ndarray],
) -> list[str]:
    """Columns whose path integral misses completeness over the sample, or whose feature is frozen in part.

    Args:
        columns: the columns that are tried.
        attributed: all columns, in the order of an integral's attributions.
        policies: policy of each column.
        trial: the encoded `trial_rows`.
        integrate: integrals of the trial rows.
        value_at_baseline_cut: the explained value [rows] with the cut at the baseline and the rest at x.
    """
    integral = integrate(trial)
    shape = (len(columns), -1)
    finite = np.isfinite(integral.attributions)
    # A NaN is the fault of its own column; the others' sums go on without it.
    sums = np.where(finite, integral.attributions, 0).astype(np.float64)
    at_cut = value_at_baseline_cut(trial)
    residual = at_cut - integral.baseline_prediction
    # What `element` freezes on purpose, such as a mask, is no fault of its path: that begins at the cut.
    of_elements = np.repeat([policies[column] == "element" for column in columns], len(at_cut) // len(columns))
    gap = integral.prediction.astype(np.float64) - np.where(of_elements, at_cut, integral.baseline_prediction)

    def means(values: np.ndarray) -> np.ndarray:
        return np.abs(values).reshape(shape).mean(axis=1)

    noise = rounding_error(np.abs(integral.prediction).max(), np.abs(integral.baseline_prediction).max())
    total = means(np.abs(sums).sum(axis=1))
    of_columns = [list(attributed).index(column) for column in columns]
    good = finite.all(axis=0)[of_columns] & converged(means(sums.sum(axis=1) - gap), means(gap), total, rounding=noise)
    complete = means(residual) <= _RESIDUAL_TOLERANCE * np.maximum(means(gap), total) + noise
    return [
        column
        for column, is_good, is_complete in zip(columns, good, complete, strict=True)
        if not (is_good and (is_complete or policies[column] == "element"))
    ]


def check_pins(pinned: Mapping[str, str], partition: Partition) -> list[str]:
    """Checks pinned policies against what this model offers.

    Args:
        pinned: policy by attributed column.
        partition: made with them.

    Returns:
        Pinned columns that this model does not attribute: removed, renamed or unused features.

    Raises:
        CutPolicyError: if a pin names no policy, or one that the column cannot have.
    """
    crosses = {c for c, parts in zip(partition.columns, partition.cut_features, strict=True) if len(parts) > 1}
    for column, policy in sorted(pinned.items()):
        if policy not in POLICIES:
            raise CutPolicyError(f"the policy of {column!r} must be one of {list(POLICIES)}. Received: {policy!r}")
        if column in partition.uncovered:
            raise CutPolicyError(
                f"the pinned policy {policy!r} of {column!r} cannot be honoured: the feature reaches the output only "
                f"through {partition.blocked.get(column, 'operations')}, without gradient."
            )
        if column in crosses and policy != "feature":
            raise CutPolicyError(
                f"{column!r} is a cut of several features and has only the policy 'feature'. Received: {policy!r}"
            )
    return sorted(set(pinned) - set(partition.columns))
