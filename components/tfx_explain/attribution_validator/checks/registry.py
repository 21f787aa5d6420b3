"""All checks: those that stand alone, and those that need a model that passed."""

from __future__ import annotations

from collections.abc import Callable

from tfx_explain.attribution_validator.checks import (
    completeness,
    direction_flip,
    evidence_floor,
    max_share,
    new_features,
    predicted_classes,
    profile_change,
    removed_features,
    share_change,
    total_scale,
    vanished,
)
from tfx_explain.attribution_validator.checks.base import Evidence, Result
from tfx_explain.config import ValidationConfig

Check = Callable[[Evidence, ValidationConfig], list[Result]]

ABSOLUTE: dict[str, Check] = {m.CHECK: m.check for m in (evidence_floor, completeness, max_share)}
WITH_REFERENCE: dict[str, Check] = {
    m.CHECK: m.check
    for m in (
        new_features,
        removed_features,
        share_change,
        profile_change,
        direction_flip,
        total_scale,
        vanished,
        predicted_classes,
    )
}
