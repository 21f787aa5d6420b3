"""Summaries and verdicts as the pages read them."""

from typing import Any


def feature(name: str, share: float | None, policy: str | None = "feature") -> dict[str, Any]:
    low, high = (None, None) if share is None else (0.9 * share, 1.1 * share)
    entry: dict[str, Any] = {"name": name, "cut_policy": policy}
    for statistic in ("share", "mean_absolute", "mean"):
        entry |= {statistic: share, f"{statistic}_low": low, f"{statistic}_high": high}
    return entry


def summary(shares: dict[str, float | None], fingerprint: str = "a" * 64) -> dict[str, Any]:
    return {
        "format_version": 1,
        "status": "explained",
        "reason": "",
        "model": {
            "uri": "/models/7",
            "fingerprint": fingerprint,
            "signature": "serving_default",
            "output": "outputs",
            "link": "sigmoid",
            "unit": "logit",
            "num_targets": 1,
        },
        "examples": {
            "splits": ["eval"],
            "rows": 5000,
            "explained_rows": 2000,
            "weight": 2345.0,
            "effective_rows": 1987.5,
            "failed_rows": 3,
            "failed_weight_fraction": 0.0006,
            "failure_reasons": {"unreadable": 3},
            "unconverged_weight_fraction": {"value": 0.004, "low": 0.002, "high": 0.007},
        },
        "method": {
            "name": "integrated_gradients",
            "num_steps": 50,
            "repair_steps": [100, 200],
            "input_baseline_source": "statistics",
        },
        "fingerprints": {"model": fingerprint, "examples": "e1", "config": "c1", "environment": "v1"},
        "features": [feature(name, share) for name, share in shares.items()],
        "unused_features": ["trip_id"],
        "uncovered_features": [],
        "notes": [],
        "prediction": {"mean": -1.25},
        "metrics": {"auc": {"value": 0.591, "low": 0.57, "high": 0.61}},
        "metrics_absent": None,
    }


def result(check: str, verdict: str = "PASS", severity: str = "block", **values: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("feature", "value", "low", "high", "threshold"))
    sentence = f"What {check} found."
    return {"check": check, "verdict": verdict, "severity": severity, "slice": "overall", "sentence": sentence} | {
        **empty,
        **values,
    }


def anomalies(*results: dict[str, Any]) -> dict[str, Any]:
    blocking = [r["sentence"] for r in results if r["severity"] == "block" and r["verdict"] != "PASS"]
    return {
        "format_version": 1,
        "blessed": not blocking,
        "blocking": blocking,
        "results": list(results),
        "model": {"uri": "/models/7", "fingerprint": "a" * 64},
        "reference": [{"fingerprint": "b" * 64, "model_uri": "/models/6", "model_id": 6}],
    }
