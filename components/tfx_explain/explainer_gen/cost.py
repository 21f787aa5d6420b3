"""What a job costs: a forecast from a few batches, a limit that lowers rows or repeats, and how far it was off."""

from __future__ import annotations

import dataclasses
import math
import resource
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems

from tfx_explain.config import ExplainConfig
from tfx_explain.explainer_gen.aggregate import block_totals, scale_of, slice_parts, sum_shard
from tfx_explain.explainer_gen.explain import ModelExplainer
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.method import background_examples
from tfx_explain.explainer_gen.permutation_cost import permutation_cost
from tfx_explain.explainer_gen.profiles import profiles_of
from tfx_explain.explainer_gen.row_ids import hexadecimal
from tfx_explain.explainer_gen.sampled import BACKGROUND
from tfx_explain.explainer_gen.sampling import BACKGROUND_ROWS, Block, RowBatch, SmallestKeys, identify, make_block
from tfx_explain.explainer_gen.slicing import SliceAssigner
from tfx_explain.explainer_gen.strata import columns_of, plan_slices
from tfx_explain.explainer_gen.usable_model import import_libraries

COST_FILE = "cost.json"
_BATCHES = 2
_PIPELINE_SECONDS = 6.0
"""What an empty job takes on a local runner: starting workers, moving a few elements through all stages."""
_ROW_OVERHEAD = 6
"""Copies of a row's numbers that a local runner holds at once."""


@dataclasses.dataclass(frozen=True)
class Pilot:
    """What a few batches took.

    Attributes:
      rows_read: rows of the splits, estimated from the files' sizes.
      items: features and groups that are permuted.
      load_seconds: until the model was ready for its second batch.
      identify_seconds: of a row that is read.
      explain_seconds, aggregate_seconds: of a row that is explained.
      permute_seconds: of a row, item and repeat.
      donor_seconds: of a row, whatever is permuted.
      finish_seconds: of an item in all slices that get permutation importance.
      explain_forwards: forward equivalents of a row.
      bytes_per_row: of a row on its way through the job.
      process_mb: resident memory of this process after all that.
    """

    rows_read: int
    items: int
    load_seconds: float
    identify_seconds: float
    explain_seconds: float
    aggregate_seconds: float
    permute_seconds: float
    donor_seconds: float
    finish_seconds: float
    explain_forwards: float
    bytes_per_row: float
    process_mb: float


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


def run_pilot(spec: JobSpec, patterns: Sequence[tuple[int, str]]) -> Pilot | None:
    """Explains and permutes a few batches in this process; None where there are no rows, or the model is refused."""
    config = spec.config
    records, rows_read = some_records(patterns, _BATCHES * config.batch_size)
    if not records:
        return None
    started = time.monotonic()
    import_libraries(spec.config.op_libraries)
    assigner = SliceAssigner(spec.slicing, spec.model_path)
    identify(records[: config.batch_size], 0, config.seed, config.cluster_key, assigner)
    first = time.monotonic()
    halves = [records[i : i + config.batch_size] for i in range(0, len(records), config.batch_size)]
    batches = [identify(half, 0, config.seed, config.cluster_key, assigner) for half in halves]
    identify_seconds = (time.monotonic() - first) / len(records)
    blocks = [make_block(i, [dataclasses.replace(b, members=None)]) for i, b in enumerate(batches)]
    profiles = profiles_of(blocks, spec.categorical_ints)
    explainer = ModelExplainer(
        spec, profiles, blocks[0].raw[:64], background_examples(spec.pinned_rows, _as_background(blocks[0]))
    )
    if explainer.facts.error is not None:
        return None
    keys = SmallestKeys(len(records) + 1).merge_accumulators([b.keys for b in batches])
    plan = plan_slices(None, keys, [], [], len(records), config.slices, ())
    plan = dataclasses.replace(plan, small=_all_small(batches))
    explained, seconds = [], []
    for block in (blocks[0], *blocks):
        at = time.monotonic()
        explained.append(explainer.explain(block, plan, min(rows_read, config.max_examples)))
        seconds.append(time.monotonic() - at)
    del explained[0]
    rows = sum(len(b.ids) for b in blocks)
    load = first - started + seconds[0] + (time.monotonic() - first - sum(seconds))
    at = time.monotonic()
    scale = scale_of(
        None,
        spec.pins,
        config.feature_groups,
        config.permutation_importance.repeats,
        [block_totals(b) for b in explained],
    )
    for done in explained:
        for key, part in slice_parts(done, plan, config.max_examples):
            sum_shard((key, [part]), profiles, spec.pins, scale)
    aggregate_seconds = (time.monotonic() - at) / rows
    permuted = permutation_cost(
        explainer, spec, blocks[0], explained[0], plan, scale, min(rows_read, config.max_examples)
    )
    seen = {key for batch in batches if batch.members is not None for key in batch.members.keys if key}
    permuted_slices = 1 + min(len(seen), config.permutation_importance.max_slices)
    features = len(explainer.facts.features)
    return Pilot(
        rows_read=rows_read,
        items=len(scale.items),
        load_seconds=load,
        identify_seconds=identify_seconds,
        explain_seconds=sum(seconds[1:]) / rows,
        aggregate_seconds=aggregate_seconds,
        permute_seconds=permuted.pair,
        donor_seconds=permuted.row,
        finish_seconds=permuted.item * permuted_slices,
        explain_forwards=sum(b.forward_equivalents for b in explained) / rows,
        bytes_per_row=float(np.mean([len(r) for r in records])) + 8.0 * features,
        process_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


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
    per_row = models * (pilot.explain_seconds + pilot.aggregate_seconds) + permuted * pilot.permute_seconds
    finish = 0.0
    if permuted:
        per_row += pilot.donor_seconds
        finish = pilot.items * pilot.finish_seconds
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


def _as_background(block: Block) -> list[tuple[str, str, bytes]]:
    """As many rows as the job's background has, (role, id, example): the cost is the same, whichever they are."""
    ids = hexadecimal(block.ids[:BACKGROUND_ROWS])
    return [(BACKGROUND, name, raw) for name, raw in zip(ids, block.raw[:BACKGROUND_ROWS], strict=True)]


def _all_small(batches: Sequence[RowBatch]) -> Mapping[tuple[str, ...], tuple[int, int]]:
    """A remainder for every set of features that the batches' slices are made of."""
    keys = [key for batch in batches if batch.members is not None for key in batch.members.keys]
    return {columns_of(key): (1, 1) for key in keys if key}


def _largest(low: int, high: int, fits: Any) -> int:
    """The largest number in [low, high] that fits, `low` where none does."""
    while low < high:
        middle = math.ceil((low + high) / 2)
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def some_records(patterns: Sequence[tuple[int, str]], wanted: int) -> tuple[list[bytes], int]:
    """(the first records of the splits, an estimate of all by the files' sizes)."""
    records: list[bytes] = []
    rows = 0.0
    for _, pattern in patterns:
        for file in sorted(FileSystems.match([pattern])[0].metadata_list, key=lambda m: m.path):
            kind = "GZIP" if file.path.endswith(".gz") else ""
            data = tf.data.TFRecordDataset(file.path, compression_type=kind).take(wanted + 1)
            found = [record.numpy() for record in data]
            if len(found) <= wanted:
                rows += len(found)
            else:
                text = b"".join(found)
                size = len(zlib.compress(text, 6)) if kind else len(text) + 16 * len(found)
                rows += file.size_in_bytes * len(found) / size
            if len(records) < wanted:
                records += found[: wanted - len(records)]
    return records, round(rows)
