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


def known(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


def slice_entry(name: str, shares: dict[str, dict[str, float | None]], **more: Any) -> dict[str, Any]:
    """A slice; the leading features are given first."""
    return {
        "name": name,
        "key": [["hour", 3]],
        "rows": 100,
        "explained_rows": 80,
        "effective_rows": 79.5,
        "weight": 100.0,
        "failed_rows": 0,
        "prediction_mean": -0.5,
        "metrics": {"auc": known(0.7, 0.65, 0.75)},
        "features": [
            {"name": feature, "share": share, "mean": known(0.1, 0.05, 0.15)} for feature, share in shares.items()
        ],
        "group_shares": {},
        "permutation_importance": [],
    } | more


def importance(name: str, **drops: dict[str, float | None]) -> dict[str, Any]:
    """A feature's permutation importance, by metric."""
    return {
        "name": name,
        "metrics": {m: {"drop": d, "ratio": known(0.9, 0.8, 1.0), "std": 0.01} for m, d in drops.items()},
    }


def evidence(shares: dict[str, float | None], **more: Any) -> dict[str, Any]:
    """A summary with everything that a job now measures, and nothing found."""
    return (
        summary(shares)
        | {
            "groups": {},
            "group_shares": {},
            "permutation_importance": {
                "absent": None,
                "scheme": "marginal",
                "strata": [],
                "repeats": 10,
                "rows": 2000,
                "rows_alone_in_their_stratum": 0,
                "reparsed_features": [],
                "only_in_groups": [],
                "features": [],
            },
            "evaluator_metrics": {},
            "slices": [],
            "slicing": {"slices": 0, "rows_per_slice": 0, "small_slices": {}, "required": [], "missing": []},
            "weak_slices": [],
            "profiting_slices": [],
            "lowered": None,
        }
        | more
    )


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
