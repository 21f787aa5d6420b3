"""A pilot: a few batches taken through the steps of the job, timed, so that its cost is known before it starts."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import pickle
import resource
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems

from tfx_explain.explainer_gen.aggregate import block_totals, finish_slice, scale_of, slice_parts, sum_shard
from tfx_explain.explainer_gen.explain import ModelExplainer
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.method import background_examples
from tfx_explain.explainer_gen.permutation_cost import permutation_cost
from tfx_explain.explainer_gen.profiles import profiles_of
from tfx_explain.explainer_gen.row_ids import hexadecimal
from tfx_explain.explainer_gen.rows import row_files
from tfx_explain.explainer_gen.sampled import BACKGROUND
from tfx_explain.explainer_gen.sampling import BACKGROUND_ROWS, Block, RowBatch, SmallestKeys, identify, make_block
from tfx_explain.explainer_gen.shards import shards_of
from tfx_explain.explainer_gen.slicing import SliceAssigner
from tfx_explain.explainer_gen.strata import columns_of, plan_slices
from tfx_explain.explainer_gen.usable_model import import_libraries
from tfx_explain.names import SliceKey

_BATCHES = 2
_MOVES = 5
"""What a local runner spends on elements between stages, in pickles written and read once: it copies them many times
over, and takes memory anew for each. 3 to 10 were measured, more on a busy machine."""


@dataclasses.dataclass(frozen=True)
class Pilot:
    """What a few batches took.

    Attributes:
      rows_read: rows of the splits, estimated from the files' sizes.
      items: features and groups that are permuted.
      slices: those that are finished, the overall one included.
      load_seconds: until the model was ready for its second batch.
      identify_seconds: of a row that is read.
      row_seconds: of a row of the sample, whoever explains it: gathered into a block, profiled, moved and written.
      explain_seconds, aggregate_seconds: of a row that is explained.
      slice_seconds: of a slice, whose statistics and intervals are finished.
      permute_seconds: of a row, item and repeat.
      donor_seconds: of a row, whatever is permuted.
      finish_seconds: of an item in all slices that get permutation importance.
      explain_forwards: forward equivalents of a row.
      bytes_per_row: of a row on its way through the job.
      process_mb: resident memory of this process after all that.
    """

    rows_read: int
    items: int
    slices: int
    load_seconds: float
    identify_seconds: float
    row_seconds: float
    explain_seconds: float
    aggregate_seconds: float
    slice_seconds: float
    permute_seconds: float
    donor_seconds: float
    finish_seconds: float
    explain_forwards: float
    bytes_per_row: float
    process_mb: float


def run_pilot(spec: JobSpec, patterns: Sequence[tuple[int, str]]) -> Pilot | None:
    """Explains and permutes a few batches in this process; None where there are no rows, or the model is refused."""
    config = spec.config
    records, rows_read = some_records(patterns, _BATCHES * config.batch_size)
    if not records:
        return None
    laps = _Laps()
    with laps.of("load"):
        import_libraries(spec.config.op_libraries)
        assigner = SliceAssigner(spec.slicing, spec.model_path)
        identify(records[: config.batch_size], 0, config.seed, config.cluster_key, assigner)
    with laps.of("identify"):
        halves = [records[i : i + config.batch_size] for i in range(0, len(records), config.batch_size)]
        batches = [identify(half, 0, config.seed, config.cluster_key, assigner) for half in halves]
    rows_of_job = min(rows_read, config.max_examples)
    with laps.of("row"):
        blocks = [make_block(i, [dataclasses.replace(b, members=None)]) for i, b in enumerate(batches)]
        profiles = profiles_of(blocks, spec.categorical_ints)
    with laps.of("load"):
        background = background_examples(spec.pinned_rows, _as_background(blocks[0]))
        explainer = ModelExplainer(spec, profiles, blocks[0].raw[:64], background)
    if explainer.facts.error is not None:
        return None
    keys = SmallestKeys(len(records) + 1).merge_accumulators([b.keys for b in batches])
    plan = plan_slices(None, keys, [], [], len(records), config.slices, ())
    plan = dataclasses.replace(plan, small=_all_small(batches))
    with laps.of("load"):
        explainer.explain(blocks[0], plan, rows_of_job)
    with laps.of("explain"):
        explained = [explainer.explain(block, plan, rows_of_job) for block in blocks]
    rows = sum(len(b.ids) for b in blocks)
    repeats = config.permutation_importance.repeats
    with laps.of("aggregate"):
        totals = [block_totals(b, config.batch_size) for b in explained]
        scale = scale_of(None, spec.pins, config.feature_groups, repeats, totals)
        parts = collections.defaultdict(list)
        for done in explained:
            for key, part in slice_parts(done, plan, rows, scale):
                parts[key].append(part)
        shards = shards_of(plan, rows, len(scale.features))
        sums = [pair for e in parts.items() for pair in sum_shard(e, shards, profiles, spec.pins, scale)]
    with laps.of("slice"):
        place, shard = max(sums, key=lambda item: item[0])  # most slices take fewer draws than the overall one, place 0
        finish_slice((place, [shard]), spec, (0, 0), plan, scale, profiles)
    with laps.of("row"):
        if config.write_rows:
            for done in explained:
                row_files(done, config.splits, len(blocks), plan.names, config.keep_features, profiles)
    with laps.of("move"):
        for element in (*batches, *blocks, *explained, *parts.values()):
            pickle.loads(pickle.dumps(element, pickle.HIGHEST_PROTOCOL))
    permuted = permutation_cost(explainer, spec, blocks[0], explained[0], plan, scale, rows_of_job)
    slices = _large_slices(batches, rows_read / len(records), config.slices.min_slice_size)
    features = len(explainer.facts.features)
    return Pilot(
        rows_read=rows_read,
        items=len(scale.items),
        slices=1 + min(slices, config.slices.max_slices),
        load_seconds=laps.seconds["load"],
        identify_seconds=laps.seconds["identify"] / len(records),
        row_seconds=(laps.seconds["row"] + _MOVES * laps.seconds["move"]) / rows,
        explain_seconds=laps.seconds["explain"] / rows,
        aggregate_seconds=laps.seconds["aggregate"] / rows,
        slice_seconds=laps.seconds["slice"],
        permute_seconds=permuted.pair,
        donor_seconds=permuted.row,
        finish_seconds=permuted.item * (1 + min(slices, config.permutation_importance.max_slices)),
        explain_forwards=sum(b.forward_equivalents for b in explained) / rows,
        bytes_per_row=float(np.mean([len(r) for r in records])) + 8.0 * features,
        process_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


class _Laps:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = collections.defaultdict(float)

    @contextlib.contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Adds what happens inside the block."""
        at = time.monotonic()
        yield
        self.seconds[what] += time.monotonic() - at


def _as_background(block: Block) -> list[tuple[str, str, bytes]]:
    """As many rows as the job's background has, (role, id, example): the cost is the same, whichever they are."""
    ids = hexadecimal(block.ids[:BACKGROUND_ROWS])
    return [(BACKGROUND, name, raw) for name, raw in zip(ids, block.raw[:BACKGROUND_ROWS], strict=True)]


def _large_slices(batches: Sequence[RowBatch], factor: float, min_slice_size: int) -> int:
    """How many slices of the batches have enough rows of their own in a job of `factor` times as many rows."""
    rows: dict[SliceKey, int] = collections.defaultdict(int)
    for batch in batches:
        if batch.members is not None:
            counts = np.bincount(batch.members.slice, minlength=len(batch.members.keys))
            for key, count in zip(batch.members.keys, counts.tolist(), strict=True):
                rows[key] += count
    return sum(1 for key, count in rows.items() if key and count * factor >= min_slice_size)


def _all_small(batches: Sequence[RowBatch]) -> Mapping[tuple[str, ...], tuple[int, int]]:
    """A remainder for every set of features that the batches' slices are made of."""
    keys = [key for batch in batches if batch.members is not None for key in batch.members.keys]
    return {columns_of(key): (1, 1) for key in keys if key}


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
