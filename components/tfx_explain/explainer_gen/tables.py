"""The artifact's tables of slices: their statistics, dependence curves and groups, as Parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from tfx_explain.artifacts.statistics import GROUPS_FILE, to_parquet, write_statistics
from tfx_explain.engine.aggregates.bins import FeatureBins
from tfx_explain.engine.aggregates.intervals import Measured
from tfx_explain.engine.aggregates.permutation import Importance
from tfx_explain.explainer_gen.outcome import SliceOutcome
from tfx_explain.names import NUM_BUCKETS, SliceKey

SLICES_FILE = "slices.parquet"
STATISTICS_FILE = "slice_statistics.parquet"
CURVES_FILE = "dependence_curves.parquet"
MAX_CURVES = 50
"""Slices beside the overall and the required ones whose dependence curves are written."""

Importances = Mapping[str, Mapping[str, Importance]]
"""By item (a raw feature or a group) and metric."""


def slice_tables(
    outcomes: Sequence[SliceOutcome],
    importances: Mapping[int, Importances],
    names: Sequence[str],
    keys: Sequence[SliceKey | None],
    rows_read: Sequence[int],
    bins: Mapping[str, FeatureBins],
    target: str,
) -> dict[str, bytes]:
    """Path -> bytes of all tables.

    Args:
      outcomes: of every slice with rows, by place; the overall one first.
      importances: by place.
      names: of every slice in the plan.
      keys: of every slice in the plan; None for a remainder.
      rows_read: of every slice in the plan.
      bins: value bins of each attributed feature.
      target: what is explained.
    """
    kept = {names[o.place]: o.sums for o in outcomes if o.sums is not None}
    return {
        SLICES_FILE: to_parquet(_slices(outcomes, names, keys, rows_read)),
        STATISTICS_FILE: to_parquet(_statistics(outcomes, importances, names, target)),
        CURVES_FILE: to_parquet(_curves(outcomes, names, bins, target)),
        GROUPS_FILE: to_parquet(_groups(outcomes, names, target)),
        **write_statistics({name: sums.statistics for name, sums in kept.items()}, target),
    }


def _slices(
    outcomes: Sequence[SliceOutcome], names: Sequence[str], keys: Sequence[SliceKey | None], rows_read: Sequence[int]
) -> pa.Table:
    """One row a slice; `key` is JSON, null for a remainder of small slices."""
    key = [keys[o.place] for o in outcomes]
    return pa.table(
        {
            "slice": pa.array([names[o.place] for o in outcomes], pa.string()),
            "key": pa.array([None if k is None else json.dumps(k) for k in key], pa.string()),
            "rows_read": pa.array([rows_read[o.place] for o in outcomes], pa.int64()),
            "rows": pa.array([o.rows for o in outcomes], pa.int64()),
            "weight": pa.array([o.weight for o in outcomes], pa.float64()),
            "effective_rows": pa.array([o.effective_rows for o in outcomes], pa.float64()),
            "failed_rows": pa.array([o.failed_rows for o in outcomes], pa.int64()),
            "prediction_mean": pa.array([o.prediction for o in outcomes], pa.float64()),
        }
    )


def _statistics(
    outcomes: Sequence[SliceOutcome], importances: Mapping[int, Importances], names: Sequence[str], target: str
) -> pa.Table:
    """One row a slice, feature and statistic; a metric of the predictions has no feature."""
    columns: dict[str, list[np.ndarray]] = {n: [] for n in ("slice", "feature", "statistic", "numbers", "counts")}

    def add(outcome: SliceOutcome, features: Sequence[str], statistics: Sequence[str], numbers: np.ndarray) -> None:
        count = len(features)
        columns["slice"].append(np.full(count, names[outcome.place], object))
        columns["feature"].append(np.array(features, object))
        columns["statistic"].append(np.array(statistics, object))
        columns["numbers"].append(numbers.reshape(count, 3))
        columns["counts"].append(np.tile([[outcome.rows, outcome.effective_rows]], (count, 1)))

    for outcome in outcomes:
        own = outcome.statistics
        add(
            outcome,
            np.repeat(np.array(own.features, object), len(own.names)).tolist(),
            list(own.names) * len(own.features),
            np.stack([own.value.ravel(), own.low.ravel(), own.high.ravel()], axis=1),
        )
        single = [("", name, measured) for name, measured in outcome.metrics.items()]
        single += [(group, "group_share", measured) for group, measured in outcome.group_shares.items()]
        for item, by_metric in importances.get(outcome.place, {}).items():
            for metric, importance in by_metric.items():
                deviation = Measured(importance.std, float("nan"), float("nan"))
                single += [
                    (item, f"permutation_{metric}_drop", importance.drop),
                    (item, f"permutation_{metric}_ratio", importance.ratio),
                    (item, f"permutation_{metric}_std", deviation),
                ]
        if single:
            numbers = np.array([[m.value, m.low, m.high] for _, _, m in single])
            add(outcome, [s[0] for s in single], [s[1] for s in single], numbers)
    numbers, counts = (
        np.concatenate(columns[n]) if columns[n] else np.zeros((0, width))
        for n, width in (("numbers", 3), ("counts", 2))
    )
    texts = {n: np.concatenate(columns[n]) if columns[n] else [] for n in ("slice", "feature", "statistic")}
    return pa.table(
        {
            "slice": pa.array(texts["slice"], pa.string()),
            "feature": pa.array(texts["feature"], pa.string()),
            "target": pa.array([target] * len(numbers), pa.string()),
            "statistic": pa.array(texts["statistic"], pa.string()),
            **{n: pa.array(numbers[:, j], pa.float64()) for j, n in enumerate(("value", "low", "high"))},
            "n": pa.array(counts[:, 0].astype(np.int64), pa.int64()),
            "effective_n": pa.array(counts[:, 1], pa.float64()),
        }
    )


def _curves(
    outcomes: Sequence[SliceOutcome], names: Sequence[str], bins: Mapping[str, FeatureBins], target: str
) -> pa.Table:
    """One row a slice, feature and value bin, of the kept and the MAX_CURVES largest slices."""
    chosen = [o for o in outcomes if o.sums is not None]
    chosen += [o for o in outcomes if o.sums is None][:MAX_CURVES]
    labels = [label for b in bins.values() for label in b.labels]
    features = [feature for feature, b in bins.items() for _ in range(b.size)]
    curves = [o.statistics.curves for o in chosen]
    columns = {
        n: np.concatenate([getattr(c, n) for c in curves]) if curves else np.zeros(0)
        for n in ("value", "low", "high", "rows", "weight")
    }
    return pa.table(
        {
            "slice": pa.array([names[o.place] for o in chosen for _ in features], pa.string()),
            "feature": pa.array(features * len(chosen), pa.string()),
            "target": pa.array([target] * len(features) * len(chosen), pa.string()),
            "bin": pa.array([i for b in bins.values() for i in range(b.size)] * len(chosen), pa.int32()),
            "label": pa.array(labels * len(chosen), pa.string()),
            **{n: pa.array(columns[n], pa.float64()) for n in ("value", "low", "high", "weight")},
            "n": pa.array(columns["rows"].astype(np.int64), pa.int64()),
        }
    )


def _groups(outcomes: Sequence[SliceOutcome], names: Sequence[str], target: str) -> pa.Table:
    """Sums of the kept slices' groups of features, by hash bucket."""
    kept = [(names[o.place], o.sums.groups) for o in outcomes if o.sums is not None]
    rows = [
        (name, g, group, joint, apart)
        for name, s in kept
        for g, (group, joint, apart) in enumerate(zip(s.groups, s.sum_joint.T, s.sum_apart.T, strict=True))
    ]
    return pa.table(
        {
            "slice": pa.array([r[0] for r in rows for _ in range(NUM_BUCKETS)], pa.string()),
            "target": pa.array([target] * NUM_BUCKETS * len(rows), pa.string()),
            "bucket": pa.array(list(range(NUM_BUCKETS)) * len(rows), pa.int32()),
            "group": pa.array([r[2][0] for r in rows for _ in range(NUM_BUCKETS)], pa.string()),
            "members": pa.array([list(r[2][1]) for r in rows for _ in range(NUM_BUCKETS)], pa.list_(pa.string())),
            "sum_joint": pa.array(np.concatenate([r[3] for r in rows]) if rows else [], pa.float64()),
            "sum_apart": pa.array(np.concatenate([r[4] for r in rows]) if rows else [], pa.float64()),
        }
    )
