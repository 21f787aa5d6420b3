"""summary.json: what a person, the report and the gate read first, in six digits."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfx_explain.artifacts.properties import FORMAT_VERSION
from tfx_explain.engine.aggregates.intervals import Measured, number
from tfx_explain.engine.aggregates.permutation import Importance
from tfx_explain.explainer_gen.outcome import SliceOutcome
from tfx_explain.names import SliceKey

MAX_SLICES = 50
"""Slices beside the overall and the required ones that the summary shows; the tables hold all."""
_TOP_FEATURES = 20
_VALUES, _TEXT = 8, 64  # of an input baseline: pins.json has all of it


def slice_entry(
    outcome: SliceOutcome,
    name: str,
    key: SliceKey | None,
    rows_read: int,
    importances: Mapping[str, Mapping[str, Importance]],
) -> dict[str, Any]:
    """A slice in short: its rows, metrics, and the features that lead in it."""
    statistics = outcome.statistics
    share = statistics.names.index("share")
    order = sorted(
        range(len(statistics.features)),
        key=lambda f: (-np.nan_to_num(statistics.value[f, share], nan=-1.0), statistics.features[f]),
    )
    features = []
    for f in order[:_TOP_FEATURES]:
        entry: dict[str, Any] = {"name": statistics.features[f]}
        for statistic in ("share", "mean"):
            entry[statistic] = interval(statistics.measured(statistics.features[f], statistic))
        features.append(entry)
    return {
        "name": name,
        "key": None if key is None else [list(pair) for pair in key],
        "rows": rows_read,
        "explained_rows": outcome.rows,
        "weight": number(outcome.weight),
        "effective_rows": number(outcome.effective_rows),
        "failed_rows": outcome.failed_rows,
        "prediction_mean": number(outcome.prediction),
        "metrics": {n: interval(m) for n, m in outcome.metrics.items()},
        "features": features,
        "group_shares": {n: interval(m) for n, m in outcome.group_shares.items()},
        "permutation_importance": [
            {"name": item, "metrics": {m: importance_entry(i) for m, i in importances[item].items()}}
            for item in list(importances)[:_TOP_FEATURES]
        ],
    }


def feature_entries(outcome: SliceOutcome, cut_policies: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every feature of the overall slice with all its statistics; the one with the largest share first."""
    statistics = outcome.statistics
    out = []
    for feature in statistics.features:
        entry: dict[str, Any] = {"name": feature, "cut_policy": cut_policies.get(feature)}
        for statistic in statistics.names:
            measured = statistics.measured(feature, statistic)
            entry |= {
                statistic: number(measured.value),
                f"{statistic}_low": number(measured.low),
                f"{statistic}_high": number(measured.high),
            }
        out.append(entry)
    return sorted(out, key=lambda f: (-(f["share"] or 0.0), f["name"]))


def importance_entry(importance: Importance) -> dict[str, Any]:
    """A permutation importance as JSON."""
    return {
        "drop": interval(importance.drop),
        "ratio": interval(importance.ratio),
        "std": number(importance.std),
    }


def summarise(
    job: Mapping[str, Any],
    model: Mapping[str, Any],
    fingerprints: Mapping[str, str],
    method: Mapping[str, Any],
    splits: Iterable[str],
    evaluation: str | None,
) -> dict[str, Any]:
    """The summary of a job that ran.

    Args:
      job: job.json; its `overall` is None when no row was explained.
      model: `uri`, `fingerprint`, `signature`.
      fingerprints: `model`, `examples`, `config`, `environment`.
      method: of `method_record`.
      splits: explained splits.
      evaluation: where Evaluator's result lies, if it was given.
    """
    overall: Mapping[str, Any] = job["overall"] or {}
    metrics = overall.get("metrics", {})
    absent = job["label_error"]
    if absent is None and not metrics:
        absent = "no explained row has a label that fits the model's output"
    unknown = {"value": None, "low": None, "high": None}
    return {
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
            **({"class_names": job["class_names"]} if job.get("class_names") else {}),
        },
        "examples": {
            "splits": list(splits),
            "rows": job["rows_read"],
            "explained_rows": overall.get("explained_rows", 0),
            "weight": overall.get("weight", 0.0),
            "effective_rows": overall.get("effective_rows", 0.0),
            "stands_for": job.get("stands_for") or unknown,
            "failed_rows": overall.get("failed_rows", 0),
            "failed_weight_fraction": job["failed_weight_fraction"],
            "failure_reasons": job["failures"],
            "unconverged_weight_fraction": job["unconverged_weight_fraction"] or unknown,
        },
        "method": {
            **method,
            "input_baseline_source": job["input_baseline_source"],
            "input_baseline": _shown_baseline(job.get("input_baseline") or {}),
            "image_baselines": job["image_baselines"],
            "forward_equivalents_per_row": number(job["forward_equivalents"] / max(job["rows_explained"], 1)),
        },
        "fingerprints": dict(fingerprints),
        "environment": job["environment"],
        "evaluation": evaluation,
        "attributions": job.get("attributions", {"status": "measured", "reason": ""}),
        "features": job["feature_entries"],
        "at_input_baseline": job.get("at_input_baseline"),
        "groups": job["groups"],
        "group_shares": overall.get("group_shares", {}),
        "unused_features": job["unused_features"],
        "uncovered_features": job["uncovered_features"],
        "blocked_features": job.get("blocked_features", {}),
        "notes": job["notes"],
        "prediction": {"mean": overall.get("prediction_mean")},
        "metrics": metrics,
        "metrics_absent": absent,
        "evaluator_differs": job.get("evaluator_differs", []),
        "evaluator_metrics": overall.get("evaluator_metrics", {}),
        "permutation_importance": job["permutation_importance"],
        "slices": job["slices"],
        "slicing": job["slicing"],
        "paired": job["paired"],
        "elements": job["elements"],
        "weak_slices": job["weak_slices"],
        "profiting_slices": job["profiting_slices"],
    }


def _shown_baseline(baseline: Mapping[str, Sequence[float | int | str]]) -> dict[str, list[float | int | str]]:
    """The first values of each raw feature, as text where they are bytes (job.json has these in base64)."""

    def plain(value: float | int | str) -> float | int | str:
        if not isinstance(value, str):
            return value
        return base64.b64decode(value)[:_TEXT].decode(errors="replace")

    return {name: [plain(v) for v in values[:_VALUES]] for name, values in sorted(baseline.items())}


def shown(outcomes: Sequence[SliceOutcome]) -> list[SliceOutcome]:
    """The slices of a summary: the required ones, and the MAX_SLICES largest of the others."""
    others = [o for o in outcomes if o.place and o.sums is None]
    chosen = {o.place for o in others[:MAX_SLICES]} | {o.place for o in outcomes if o.place and o.sums is not None}
    return [o for o in outcomes if o.place in chosen]


def interval(measured: Measured) -> dict[str, float | None]:
    """A measured number as JSON."""
    return {"value": number(measured.value), "low": number(measured.low), "high": number(measured.high)}
