"""The Beam job: read, identify, sample, profile, explain, aggregate, write."""

from __future__ import annotations

import dataclasses
import gc
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.utils import shared
from tfx_bsl.tfxio.raw_tf_record import RawTfRecordTFXIO

from tfx_explain.artifacts.pins import Pins
from tfx_explain.engine.aggregates.buckets import BucketStatistics, Rows, accumulate
from tfx_explain.explainer_gen.examples import canonical
from tfx_explain.explainer_gen.explain import ExplainedBlock, JobSpec, ModelExplainer, ModelFacts
from tfx_explain.explainer_gen.profiles import FeatureProfile, feature_bins, feature_values, profile
from tfx_explain.explainer_gen.results import block_facts, write_result, write_rows
from tfx_explain.explainer_gen.row_ids import hexadecimal
from tfx_explain.explainer_gen.sampling import (
    Block,
    ContentSum,
    RowBatch,
    SamplePlan,
    SmallestKeys,
    identify,
    is_in,
    make_block,
    select,
)

NAMESPACE = "tfx_explain.ExplainerGen"
_RAW = "raw"
_MODEL_SAMPLE, _PREDICTION, _BACKGROUND = "model_sample", "prediction", "background"

progress = logging.getLogger("tfx_explain.progress")
"""One record a block, with `rows_done` and `rows_total`: what a progress bar listens to."""


def explain_examples(
    pipeline: beam.Pipeline,
    patterns: Sequence[tuple[int, str]],
    spec: JobSpec,
    staging: str,
    read_batch_size: int,
) -> None:
    """Adds the whole job to a pipeline; its results are files below `staging`, `job.json` among them.

    Args:
      pipeline: where to add it.
      patterns: (index of the split, TFRecord file pattern).
      spec: the model, the configuration, what the reference pins.
      staging: folder to write to; every file's name depends on the data alone, so a bundle that runs twice writes the
        same file twice.
      read_batch_size: rows of a batch while reading; results do not depend on it.
    """
    config = spec.config
    batches = read_batches(pipeline, patterns, config.seed, read_batch_size)
    keys = batches | "Keys" >> beam.Map(lambda batch: batch.keys)
    plan = beam.pvalue.AsSingleton(
        keys
        | "SmallestKeys" >> beam.CombineGlobally(SmallestKeys(config.max_examples))
        | "PlanSample" >> beam.Map(SamplePlan.of, config.batch_size)
    )
    content = beam.pvalue.AsSingleton(keys | "SumContent" >> beam.CombineGlobally(ContentSum()))
    blocks = (
        batches
        | "SelectSample" >> beam.FlatMap(select, plan)
        | "GroupBlocks" >> beam.GroupByKey()
        | "MakeBlocks" >> beam.MapTuple(make_block)
        | "Canonical" >> beam.Map(canonical_block)
    )
    profiles = beam.pvalue.AsList(
        blocks
        | "FeatureValues" >> beam.FlatMap(feature_values)
        | "GroupFeatures" >> beam.GroupByKey()
        | "ProfileFeatures" >> beam.Map(profile, spec.categorical_ints)
    )
    picked = beam.pvalue.AsList(blocks | "PickRows" >> beam.FlatMap(pick_rows, plan))
    handle = shared.Shared()
    explained = blocks | "Explain" >> beam.ParDo(Explain(spec, handle), plan, profiles, picked)
    pinned = (
        pipeline
        | "PinnedRows" >> beam.Create([None])
        | "PredictPinned" >> beam.ParDo(PredictPinned(spec, handle), plan, profiles, picked)
    )
    unit = beam.pvalue.AsSingleton(
        pipeline
        | "Unit" >> beam.Create([None])
        | "HistogramUnit"
        >> beam.Map(
            histogram_unit,
            spec.pins,
            beam.pvalue.AsList(explained | "BlockTotals" >> beam.Map(block_totals)),
        )
    )
    statistics = (
        explained
        | "Accumulate" >> beam.FlatMap(accumulate_block, profiles, spec.pins, unit)
        | "GroupBuckets" >> beam.GroupByKey()
        | "MergeBucket" >> beam.MapTuple(merge_bucket)
    )
    written = explained | "WriteRows" >> beam.FlatMap(write_rows, config.splits, plan, staging, config.write_rows)
    facts = explained | "BlockFacts" >> beam.Map(block_facts)
    _ = (
        pipeline
        | "Result" >> beam.Create([None])
        | "WriteResult"
        >> beam.Map(
            write_result,
            spec,
            staging,
            plan,
            content,
            profiles,
            unit,
            beam.pvalue.AsList(statistics),
            beam.pvalue.AsList(written),
            beam.pvalue.AsList(facts),
            beam.pvalue.AsSingleton(pinned),
        )
    )


def release_models() -> None:
    """Frees what an in-process runner's workers have loaded: Beam keeps the last shared object until the next one."""
    shared.Shared().acquire(_Nothing)
    gc.collect()


class _Nothing:
    """What is shared once the models are not needed any more."""


def read_batches(
    pipeline: beam.Pipeline, patterns: Sequence[tuple[int, str]], seed: int, batch_size: int
) -> beam.PCollection[RowBatch]:
    """Serialised examples in batches, with their keys; TFX-BSL reads."""
    parts = []
    for number, (split, pattern) in enumerate(patterns):
        source = RawTfRecordTFXIO([pattern], raw_record_column_name=_RAW, telemetry_descriptors=["tfx_explain"])
        parts.append(
            pipeline
            | f"Read[{number}]" >> source.BeamSource(batch_size)
            | f"Identify[{number}]" >> beam.Map(_identify, split, seed)
        )
    if not parts:
        return pipeline | "NoFiles" >> beam.Create([], reshuffle=False)
    return parts | "Join" >> beam.Flatten()


def _identify(batch: pa.RecordBatch, split: int, seed: int) -> RowBatch:
    raw = batch.column(batch.schema.names.index(_RAW)).flatten().to_pylist()
    Metrics.counter(NAMESPACE, "rows_read").inc(len(raw))
    return identify(raw, split, seed)


def canonical_block(block: Block) -> Block:
    """The same rows in canonical bytes: equal rows may differ in features that are empty, which parsers do not all
    take for absent, so which of them was read first must not matter.
    """
    return dataclasses.replace(block, raw=[canonical(raw) for raw in block.raw])


def pick_rows(block: Block, plan: SamplePlan) -> Iterable[tuple[str, str, bytes]]:
    """(role, id, example) of the block's rows that verify the model or are pinned."""
    for role in (_MODEL_SAMPLE, _PREDICTION, _BACKGROUND):
        chosen = np.nonzero(is_in(block.ids, getattr(plan, role)))[0]
        for i, name in zip(chosen, hexadecimal(block.ids[chosen]), strict=True):
            yield role, name, block.raw[i]


class _UsesModel(beam.DoFn):
    """Loads the model once a process, whatever the number of threads and bundles."""

    def __init__(self, spec: JobSpec, handle: shared.Shared):
        self._spec, self._handle = spec, handle
        self._explainer: ModelExplainer | None = None

    def _acquire(self, profiles: Iterable[FeatureProfile], picked: Sequence[tuple[str, str, bytes]]) -> ModelExplainer:
        if self._explainer is None:
            sample = [raw for role, _, raw in sorted(picked) if role == _MODEL_SAMPLE]
            ordered = sorted(profiles, key=lambda p: p.name)
            self._explainer = self._handle.acquire(lambda: ModelExplainer(self._spec, ordered, sample))
        return self._explainer


class Explain(_UsesModel):
    """Block -> ExplainedBlock."""

    def __init__(self, spec: JobSpec, handle: shared.Shared):
        super().__init__(spec, handle)
        self._explained = Metrics.counter(NAMESPACE, "rows_explained")
        self._failed = Metrics.counter(NAMESPACE, "rows_failed")
        self._unconverged = Metrics.counter(NAMESPACE, "rows_unconverged")
        self._forwards = Metrics.counter(NAMESPACE, "forward_equivalents")

    def process(
        self,
        block: Block,
        plan: SamplePlan,
        profiles: Sequence[FeatureProfile],
        picked: Sequence[tuple[str, str, bytes]],
    ) -> Iterable[ExplainedBlock]:
        """Explains one block."""
        explainer = self._acquire(profiles, picked)
        if explainer.facts.error is not None:
            yield _nothing_explained(block, explainer.facts)
            return
        out = explainer.explain(block)
        self._explained.inc(len(out.ids))
        self._failed.inc(len(out.rows.failed_bucket))
        self._unconverged.inc(int((~out.rows.converged).sum()))
        self._forwards.inc(int(out.forward_equivalents))
        done = _Progress.add(len(block.ids), plan)
        progress.info("explained %d of %d rows", done, plan.rows, extra={"rows_done": done, "rows_total": plan.rows})
        yield out


class PredictPinned(_UsesModel):
    """-> (rows that are pinned, with this model's predictions): [(role, id, example, [prediction...])]."""

    def process(
        self,
        _: Any,
        plan: SamplePlan,
        profiles: Sequence[FeatureProfile],
        picked: Sequence[tuple[str, str, bytes]],
    ) -> Iterable[list[tuple[str, str, bytes, list[float] | None]]]:
        """Predicts the reference's rows, or on a first run this sample's."""
        rows = sorted(self._spec.pinned_rows) or sorted(p for p in picked if p[0] != _MODEL_SAMPLE)
        if not plan.rows:
            yield []
            return
        explainer = self._acquire(profiles, picked)
        if explainer.facts.error is not None:
            yield []
            return
        values = explainer.predict([raw for _, _, raw in rows])
        yield [
            (role, name, raw, [float(v) for v in value] if np.isfinite(value).all() else None)
            for (role, name, raw), value in zip(rows, values, strict=True)
        ]


class _Progress:
    """Rows done in this process, by plan: what a log line can honestly say."""

    _lock = threading.Lock()
    _done: Counter[bytes] = Counter()

    @classmethod
    def add(cls, rows: int, plan: SamplePlan) -> int:
        with cls._lock:
            job = plan.last_key.tobytes()
            cls._done[job] = cls._done[job] % plan.rows + rows
            return cls._done[job]


def _nothing_explained(block: Block, facts: ModelFacts) -> ExplainedBlock:
    none, integers = np.zeros(0), np.zeros(0, np.int64)
    rows = Rows(
        integers,
        none,
        np.zeros((0, 0), np.float32),
        np.zeros(0, bool),
        none,
        np.zeros((0, 0), np.int32),
        integers,
        none,
    )
    return ExplainedBlock(
        block.index, facts, block.ids[:0], block.split[:0], integers, integers, none, integers, rows, {}, 0.0
    )


def block_totals(block: ExplainedBlock) -> tuple[int, float, float]:
    """(block, weight, weighted sum of |attribution|)."""
    per_row = np.abs(block.rows.attributions.astype(np.float64)).sum(axis=1)
    return block.index, float(block.rows.weight.sum()), float((block.rows.weight * per_row).sum())


def histogram_unit(_: Any, pins: Pins | None, totals: Sequence[tuple[int, float, float]]) -> float:
    """Total mean |attribution|: the reference's where there is one, else this sample's; 1 where that is 0."""
    if pins is not None and pins.histogram_unit > 0:
        return pins.histogram_unit
    weight = total = 0.0
    for _, w, t in sorted(totals):
        weight, total = weight + w, total + t
    return total / weight if weight and total > 0 else 1.0


def accumulate_block(
    block: ExplainedBlock, profiles: Sequence[FeatureProfile], pins: Pins | None, unit: float
) -> Iterable[tuple[int, tuple[int, BucketStatistics]]]:
    """(bucket, (block, the bucket's sums)): a block spans few buckets, since both are ranges of ids."""
    if block.facts.error is not None:
        return
    bins = feature_bins(block.facts.features, profiles, pins)
    sums = accumulate(block.facts.features, tuple(b.size for b in bins.values()), block.rows, unit)
    for bucket in np.unique(np.concatenate([block.rows.bucket, block.rows.failed_bucket])):
        yield int(bucket), (block.index, sums.bucket(int(bucket)))


def merge_bucket(bucket: int, parts: Iterable[tuple[int, BucketStatistics]]) -> tuple[int, BucketStatistics]:
    """Adds a bucket's blocks in order, so that the bits are the same whoever did which block."""
    ordered = [part for _, part in sorted(parts, key=lambda p: p[0])]
    total = ordered[0]
    for part in ordered[1:]:
        total = total + part
    return bucket, total
