"""summary.json and slice_statistics.parquet: statistics with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from tfx_explain.artifacts.properties import FORMAT_VERSION
from tfx_explain.artifacts.statistics import to_parquet
from tfx_explain.engine.aggregates.buckets import BucketStatistics
from tfx_explain.engine.aggregates.intervals import Measured, bucket_draws, drawn, measure
from tfx_explain.engine.aggregates.metrics import prediction_metrics, unconverged_fraction
from tfx_explain.names import OVERALL


def feature_statistics(statistics: BucketStatistics, draws: np.ndarray) -> dict[str, dict[str, Measured]]:
    """Per feature: `share`, `mean_absolute`, `mean`, `row_share` (the mean share of a row's |attribution|)."""
    weight = drawn(draws, statistics.scalars["weight"])[:, None]
    sums = {name: drawn(draws, values) for name, values in statistics.sums.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        tables = {
            "share": sums["sum_absolute"] / sums["sum_absolute"].sum(axis=1, keepdims=True),
            "mean_absolute": sums["sum_absolute"] / weight,
            "mean": sums["sum"] / weight,
            "row_share": sums["sum_row_share"] / weight,
        }
    return {
        feature: {name: measure(table[:, j]) for name, table in tables.items()}
        for j, feature in enumerate(statistics.features)
    }


def summarise(
    job: Mapping[str, Any],
    statistics: BucketStatistics | None,
    seed: int,
    model: Mapping[str, Any],
    fingerprints: Mapping[str, str],
    method: Mapping[str, Any],
    splits: Iterable[str],
    evaluation: str | None,
) -> tuple[dict[str, Any], bytes]:
    """(summary, bytes of slice_statistics.parquet) of a job that ran.

    Args:
      job: job.json.
      statistics: the job's sums, None when no row was explained.
      seed: of the intervals' draws.
      model: `uri`, `fingerprint`, `signature`.
      fingerprints: `model`, `examples`, `config`, `environment`.
      method: `num_steps`, `repair_steps`.
      splits: explained splits.
      evaluation: where Evaluator's result lies, if it was given.
    """
    draws = bucket_draws(seed)
    features: list[dict[str, Any]] = []
    rows: list[tuple[str, str, str, Measured]] = []
    metrics: dict[str, Measured] = {}
    unconverged = Measured(float("nan"), float("nan"), float("nan"))
    if statistics is not None:
        unconverged = unconverged_fraction(statistics, draws)
        for name, values in feature_statistics(statistics, draws).items():
            entry: dict[str, Any] = {"name": name, "cut_policy": job["cut_policies"].get(name)}
            for statistic, measured in values.items():
                rows.append((name, job["target"], statistic, measured))
                entry |= {
                    statistic: number(measured.value),
                    f"{statistic}_low": number(measured.low),
                    f"{statistic}_high": number(measured.high),
                }
            features.append(entry)
        if job["task"] is not None:
            metrics = prediction_metrics(statistics, draws, job["task"])
    weight = statistics.total_weight if statistics else 0.0
    absent = job["label_error"]
    if absent is None and not metrics:
        absent = "no explained row has a label that fits the model's output"
    summary = {
        "format_version": FORMAT_VERSION,
        "status": "explained" if job["error"] is None else "not_explained",
        "reason": job["error"] or "",
        "model": {
            **model,
            "output": job["output"],
            "link": job["link"],
            "unit": job["unit"],
            "num_targets": job["num_targets"],
            "target": job["target"],
        },
        "examples": {
            "splits": list(splits),
            "rows": job["rows_read"],
            "explained_rows": int(statistics.scalars["rows"].sum()) if statistics else 0,
            "weight": weight,
            "effective_rows": number(statistics.effective_rows) if statistics else 0.0,
            "failed_rows": int(statistics.scalars["failed_rows"].sum()) if statistics else 0,
            "failed_weight_fraction": number(statistics.failed_weight_fraction) if statistics else 0.0,
            "failure_reasons": job["failures"],
            "unconverged_weight_fraction": interval(unconverged),
        },
        "method": {
            "name": "integrated_gradients",
            **method,
            "input_baseline_source": job["input_baseline_source"],
            "forward_equivalents_per_row": number(job["forward_equivalents"] / max(job["rows_explained"], 1)),
        },
        "fingerprints": dict(fingerprints),
        "environment": job["environment"],
        "evaluation": evaluation,
        "features": sorted(features, key=lambda f: (-(f["share"] or 0.0), f["name"])),
        "unused_features": job["unused_features"],
        "uncovered_features": job["uncovered_features"],
        "notes": job["notes"],
        "prediction": {
            "mean": number(float(statistics.scalars["sum_prediction"].sum()) / weight)
            if statistics and weight
            else None
        },
        "metrics": {name: interval(m) for name, m in metrics.items()},
        "metrics_absent": absent,
    }
    count = statistics.scalars["rows"].sum() if statistics else 0.0
    effective = statistics.effective_rows if statistics else 0.0
    rows += [("", job["target"], name, m) for name, m in metrics.items()]
    table = pa.table(
        {
            "slice": pa.array([OVERALL] * len(rows), pa.string()),
            "feature": pa.array([r[0] for r in rows], pa.string()),
            "target": pa.array([r[1] for r in rows], pa.string()),
            "statistic": pa.array([r[2] for r in rows], pa.string()),
            "value": pa.array([r[3].value for r in rows], pa.float64()),
            "low": pa.array([r[3].low for r in rows], pa.float64()),
            "high": pa.array([r[3].high for r in rows], pa.float64()),
            "n": pa.array([int(count)] * len(rows), pa.int64()),
            "effective_n": pa.array([effective] * len(rows), pa.float64()),
        }
    )
    return summary, to_parquet(table)


def number(value: float) -> float | None:
    """Six significant digits, so that other machines print the same; None for what is not finite."""
    return float(f"{value:.6g}") if np.isfinite(value) else None


def interval(measured: Measured) -> dict[str, float | None]:
    """A measured number as JSON."""
    return {"value": number(measured.value), "low": number(measured.low), "high": number(measured.high)}
