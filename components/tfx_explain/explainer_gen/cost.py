"""What a job costs: a forecast from a pilot, a limit that lowers rows or repeats, and how far it was off."""

from __future__ import annotations

import dataclasses
import math
import resource
from typing import Any

from tfx_explain.config import ExplainConfig
from tfx_explain.explainer_gen.pilot import Pilot

COST_FILE = "cost.json"
_PIPELINE_SECONDS = 6.0
"""What an empty job takes on a local runner: starting workers, moving a few elements through all stages."""
_ROW_OVERHEAD = 6
"""Copies of a row's numbers that a local runner holds at once."""


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What a job is expected to take.

    Attributes:
      rows: distinct rows that are explained, at most.
      forward_equivalents: forward passes of one row; a gradient counts as three.
      minutes: of all workers together, by the share of `workers`.
      memory_mb: of a local run; elsewhere it is spread over the workers.
    """

    rows: int
    forward_equivalents: float
    minutes: float
    memory_mb: float

    def to_dict(self) -> dict[str, float]:
        """As JSON, in three digits."""
        return {k: float(f"{v:.3g}") for k, v in dataclasses.asdict(self).items()}


def forecast(pilot: Pilot, config: ExplainConfig, strata: bool) -> Forecast:
    """The cost of a job with this configuration.

    Args:
      pilot: what a few batches took.
      config: what is to be explained.
      strata: whether slices may bring more rows than `max_examples`.
    """
    rows = min(pilot.rows_read, config.max_examples * (2 if strata and config.slices.min_rows_per_slice else 1))
    models = 2 if config.paired else 1
    permuted = pilot.items * config.permutation_importance.repeats
    per_row = pilot.row_seconds + models * (pilot.explain_seconds + pilot.aggregate_seconds)
    per_row += permuted * pilot.permute_seconds
    finish = pilot.slices * pilot.slice_seconds
    if permuted:
        per_row += pilot.donor_seconds
        finish += pilot.items * pilot.finish_seconds
    seconds = _PIPELINE_SECONDS + models * pilot.load_seconds
    seconds += (pilot.rows_read * pilot.identify_seconds + rows * per_row + finish) / config.cost.workers
    per_row_bytes = _ROW_OVERHEAD * (pilot.bytes_per_row + 13.0 * permuted)
    return Forecast(
        rows=rows,
        forward_equivalents=rows * (models * pilot.explain_forwards + permuted),
        minutes=seconds / 60,
        memory_mb=pilot.process_mb + rows * per_row_bytes / 2**20,
    )


def within_limits(pilot: Pilot, config: ExplainConfig, strata: bool) -> tuple[ExplainConfig, str | None]:
    """(the configuration, lowered until its forecast keeps the limits; a sentence on what was lowered, or None).

    First the repeats of permutation importance go down to `min_repeats`, then the rows to `min_examples`, then the
    repeats to 0. What is still too much is done all the same, since less evidence could not pass any gate.
    """
    limit = config.cost
    if limit.max_forward_equivalents is None and limit.max_minutes is None:
        return config, None

    def fits(candidate: ExplainConfig) -> bool:
        expected = forecast(pilot, candidate, strata)
        return (
            limit.max_forward_equivalents is None or expected.forward_equivalents <= limit.max_forward_equivalents
        ) and (limit.max_minutes is None or expected.minutes <= limit.max_minutes)

    def with_repeats(candidate: ExplainConfig, repeats: int) -> ExplainConfig:
        importance = candidate.permutation_importance.model_copy(update={"repeats": repeats})
        return candidate.model_copy(update={"permutation_importance": importance})

    if fits(config):
        return config, None
    repeats = config.permutation_importance.repeats
    least = min(repeats, limit.min_repeats)
    lowered = with_repeats(config, _largest(least, repeats, lambda n: fits(with_repeats(config, n))))
    floor = min(config.max_examples, limit.min_examples)
    if not fits(lowered):
        smaller = lowered
        rows = _largest(floor, config.max_examples, lambda n: fits(smaller.model_copy(update={"max_examples": n})))
        lowered = lowered.model_copy(update={"max_examples": rows})
    if not fits(lowered):
        lowered = with_repeats(lowered, 0)
    changed = []
    if lowered.max_examples != config.max_examples:
        changed.append(f"max_examples from {config.max_examples} to {lowered.max_examples}")
    if lowered.permutation_importance.repeats != repeats:
        changed.append(f"repeats of permutation importance from {repeats} to {lowered.permutation_importance.repeats}")
    sentence = "To keep the cost's limit, lowered " + " and ".join(changed) if changed else "Nothing could be lowered"
    if not fits(lowered):
        sentence += f"; the forecast is still above the limit, and fewer than {floor} rows would be too little evidence"
    return lowered, sentence + "."


def report(expected: Forecast | None, lowered: str | None, forwards: float, seconds: float) -> dict[str, Any]:
    """What cost.json holds: the forecast, what was spent, and by how much the forecast was off."""
    out: dict[str, Any] = {
        "forecast": expected.to_dict() if expected else None,
        "lowered": lowered,
        "spent": {
            "forward_equivalents": forwards,
            "minutes": float(f"{seconds / 60:.3g}"),
            "memory_mb": float(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.3g}"),
        },
    }
    if expected:
        out["off"] = {
            "forward_equivalents": float(f"{expected.forward_equivalents / max(forwards, 1.0) - 1:.3g}"),
            "minutes": float(f"{expected.minutes / (seconds / 60) - 1:.3g}"),
        }
    return out


def _largest(low: int, high: int, fits: Any) -> int:
    """The largest number in [low, high] that fits, `low` where none does."""
    while low < high:
        middle = math.ceil((low + high) / 2)
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
