"""Diagnoses as words and pages read them."""

from typing import Any


def interval(value: float | None, half: float = 0.01) -> dict[str, Any] | None:
    return None if value is None else {"value": value, "low": value - half, "high": value + half}


def feature(
    name: str, share: float, theirs: float, then: float | None, half: float = 0.01, **more: Any
) -> dict[str, Any]:
    """Share now, of the last model on the same rows, and at its time."""
    return {
        "name": name,
        "absent_from": "",
        "share": interval(share),
        "reference_share": interval(theirs),
        "reference_share_then": interval(then),
        "model_part": interval(share - theirs, half),
        "data_part": None if then is None else interval(theirs - then, half),
        "rank": 1,
        "reference_rank": 2,
        "mean": interval(0.5),
        "reference_mean": interval(0.4),
        "sign_changed": False,
        "correlation": interval(0.9),
        "mean_absolute_difference": interval(0.1),
    } | more


def stored(name: str, share: float, then: float) -> dict[str, Any]:
    """A feature of which only stored shares are known."""
    unknown = dict.fromkeys(("reference_share", "model_part", "data_part"))
    shares = {"share": interval(share), "reference_share_then": interval(then)}
    return {"name": name, "absent_from": "", **shares, **unknown}


def entry(*features: dict[str, Any], name: str = "overall", rows: int = 2000) -> dict[str, Any]:
    return {
        "name": name,
        "key": [],
        "paired_rows": rows,
        "effective_rows": float(rows),
        "other_target_rows": 0,
        "candidate_only_rows": 0,
        "reference_only_rows": 0,
        "absolute_prediction_difference": interval(0.25),
        "total": interval(2.0),
        "reference_total": interval(1.0),
        "features": list(features),
    }


def diagnosis(*features: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "format_version": 1,
        "candidate": {"uri": "/models/7", "fingerprint": "a" * 64},
        "reference": {"uri": "/models/6", "id": "6", "fingerprint": "b" * 64},
        "unit": "logit",
        "examples": {"patterns": ["/e/*"], "rows": 5000, "sampled_rows": 2000, "as_explained": True, "as_then": False},
        "pairs_absent": None,
        "overall": entry(*features),
        "slices": [],
        "min_slice_rows": 250.0,
        "moved_inputs": {},
        "lineage": None,
        "lineage_absent": "no metadata store was given",
        "notes": [],
        "no_refusal": "",
    } | more
