"""The Beam job: read, identify, sample, profile, explain, aggregate, write."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.utils import shared

from tfx_explain.config import COMPLETE_METHODS
from tfx_explain.engine.aggregates.buckets import Rows
from tfx_explain.engine.aggregates.permuted_rows import PermutedRows
from tfx_explain.explainer_gen.aggregate import (
    MemberRows,
    Scale,
    block_totals,
    finish_slice,
    scale_of,
    slice_parts,
    sum_shard,
)
from tfx_explain.explainer_gen.elements import (
    ElementRow,
    attribute_elements,
    element_entries,
    element_file,
    element_path,
    element_rows,
    smallest_ids,
)
from tfx_explain.explainer_gen.explain import ExplainedBlock, ModelExplainer
from tfx_explain.explainer_gen.job_spec import JobSpec, ModelFacts
from tfx_explain.explainer_gen.method import background_examples
from tfx_explain.explainer_gen.outcome import SliceOutcome, SliceSums
from tfx_explain.explainer_gen.paired import Partner, explain_pairs
from tfx_explain.explainer_gen.permute import (
    DonorBlock,
    DonorTable,
    Given,
    PermutationPlan,
    donor_facts,
    donors_of,
    finish_permuted,
    joined,
    permute,
    permuted_parts,
    plan_permutation,
    send,
    sum_permuted,
    without_payloads,
    without_rows,
)
from tfx_explain.explainer_gen.profiles import FeatureProfile
from tfx_explain.explainer_gen.results import block_facts, write_file, write_result, write_rows
from tfx_explain.explainer_gen.sampled import MODEL_SAMPLE, NAMESPACE, sample_examples
from tfx_explain.explainer_gen.sampling import Block, SamplePlan
from tfx_explain.explainer_gen.shards import shards_of
from tfx_explain.explainer_gen.strata import SlicePlan
from tfx_explain.explainer_gen.transit import travels, typed

travels(PermutedRows)  # which itself knows numpy alone

progress = logging.getLogger("tfx_explain.progress")
"""For progress bars: one record a block, with `stage` (`explained` or `permuted`), `rows_done` and `rows_total`; and
one without these before each step that may take long."""


def explain_examples(
    pipeline: beam.Pipeline,
    patterns: Sequence[tuple[int, str]],
    spec: JobSpec,
    staging: str,
    read_batch_size: int,
    partner: Partner | None = None,
) -> None:
    """Adds the whole job to a pipeline; its results are files below `staging`, `job.json` among them.

    Args:
      pipeline: where to add it.
      patterns: (index of the split, TFRecord file pattern).
      spec: the model, the configuration, what the reference pins.
      staging: folder to write to; every file's name depends on the data alone, so a bundle that runs twice writes the
        same file twice.
      read_batch_size: rows of a batch while reading; results do not depend on it.
      partner: a model that is explained on the same rows, or None.
    """
    config = spec.config
    sample = sample_examples(pipeline, patterns, spec, read_batch_size)
    blocks, plan, slices = sample.blocks, sample.plan, sample.slices
    profiles, picked, content = sample.profiles, sample.picked, sample.content
    handle = shared.Shared()
    outputs = blocks | "Explain" >> beam.ParDo(Explain(spec, handle), plan, slices, profiles, picked).with_outputs(
        Explain.DONORS, Explain.ELEMENTS, main="explained"
    )
    explained, donors = typed(outputs["explained"], ExplainedBlock), typed(outputs[Explain.DONORS], DonorBlock)
    pinned = (
        pipeline
        | "PinnedRows" >> beam.Create([None])
        | "PredictPinned" >> beam.ParDo(PredictPinned(spec, handle), plan, profiles, picked)
    )
    scale = beam.pvalue.AsSingleton(
        pipeline
        | "Scale" >> beam.Create([None])
        | "ScaleOf"
        >> beam.Map(
            scale_of,
            spec.pins,
            config.feature_groups,
            config.permutation_importance.repeats,
            beam.pvalue.AsList(explained | "BlockTotals" >> beam.Map(block_totals, config.batch_size)),
        )
    )
    finish = spec, content, slices, scale, profiles
    sums = (
        explained
        | "SliceParts"
        >> beam.FlatMap(slice_parts, slices, config.max_examples, scale).with_output_types(tuple[int, MemberRows])
        | "GroupShards" >> beam.GroupByKey()
        | "SumShard" >> beam.ParDo(SumShard(), *finish).with_outputs(SumShard.OUTCOMES, main="shards")
    )
    outcomes = (
        typed(sums[SumShard.OUTCOMES], SliceOutcome),
        typed(sums["shards"], tuple[int, tuple[int, SliceSums]])
        | "GroupSlices" >> beam.GroupByKey()
        | "FinishSlice" >> beam.Map(finish_slice, *finish).with_output_types(SliceOutcome),
    ) | "Outcomes" >> beam.Flatten()
    permutation, importances = _permute(pipeline, donors, spec, handle, content, slices, scale, profiles, picked)
    pairs: beam.pvalue.AsList | None = None
    if partner is not None:
        pairs = beam.pvalue.AsList(explain_pairs(pipeline, sample, explained, spec, partner))
    written = explained | "WriteRows" >> beam.FlatMap(write_rows, config, plan, slices, profiles, staging)
    elements: beam.pvalue.AsList | None = None
    if config.elements.features and config.write_rows:
        elements = beam.pvalue.AsList(
            outputs[Explain.ELEMENTS]
            | "ElementRows" >> smallest_ids(config.elements.max_rows)
            | "AttributeElements" >> beam.ParDo(AttributeElements(spec, handle), staging, profiles, picked)
        )
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
            slices,
            content,
            profiles,
            scale,
            permutation,
            beam.pvalue.AsList(outcomes),
            beam.pvalue.AsList(importances),
            beam.pvalue.AsList(written),
            beam.pvalue.AsList(facts),
            beam.pvalue.AsSingleton(pinned),
            pairs,
            elements,
        )
    )


def _permute(
    pipeline: beam.Pipeline,
    donors: beam.PCollection[DonorBlock],
    spec: JobSpec,
    handle: shared.Shared,
    content: beam.pvalue.AsSingleton,
    slices: beam.pvalue.AsSingleton,
    scale: beam.pvalue.AsSingleton,
    profiles: beam.pvalue.AsList,
    picked: beam.pvalue.AsList,
) -> tuple[beam.pvalue.AsSingleton, beam.PCollection]:
    """(the plan, (slice, importances)): donors from one side input, or from block to block; the plan says which."""
    config = spec.config
    plan = beam.pvalue.AsSingleton(
        pipeline
        | "Permutation" >> beam.Create([None])
        | "PlanPermutation"
        >> beam.Map(
            plan_permutation,
            beam.pvalue.AsList(donors | "DonorFacts" >> beam.Map(donor_facts)),
            content,
            config.permutation_importance,
            slices,
        )
    )
    table = beam.pvalue.AsList(
        donors
        | "SideInput"
        >> beam.FlatMap(lambda block, plan: [without_rows(block)] if plan.side_input else [], plan).with_output_types(
            DonorBlock
        )
    )
    permuted = tuple[DonorBlock, PermutedRows]
    near = donors | "PermuteBySideInput" >> beam.ParDo(
        PermuteBySideInput(spec, handle), plan, scale, table, profiles, picked
    ).with_output_types(permuted)
    far = (
        {
            "receiver": donors
            | "Receivers" >> beam.FlatMap(lambda block, plan: [] if plan.side_input else [(block.index, block)], plan),
            "given": donors
            | "Send" >> beam.FlatMap(lambda b, p, s: [] if p.side_input else send(b, p, s.items), plan, scale),
        }
        | "Meet" >> beam.CoGroupByKey()
        | "PermuteByBlock"
        >> beam.ParDo(PermuteByBlock(spec, handle), plan, scale, profiles, picked).with_output_types(permuted)
    )
    return plan, (
        (near, far)
        | "Permuted" >> beam.Flatten()
        | "PermutedParts"
        >> beam.FlatMap(permuted_parts, plan, slices, config.max_examples).with_output_types(
            tuple[tuple[int, int], tuple[int, PermutedRows]]
        )
        | "GroupPermutedShards" >> beam.GroupByKey()
        | "SumPermuted" >> beam.Map(sum_permuted, scale)
        | "GroupPermutedSlices" >> beam.GroupByKey()
        | "FinishPermuted" >> beam.Map(finish_permuted, spec, content)
    )


def release_models() -> None:
    """Frees what an in-process runner's workers have loaded: Beam keeps the last shared object until the next one."""
    shared.Shared().acquire(_Nothing)
    gc.collect()


class _Nothing:
    """What is shared once the models are not needed any more."""


class _UsesModel(beam.DoFn):
    """Loads the model once a process, whatever the number of threads and bundles."""

    def __init__(self, spec: JobSpec, handle: shared.Shared):
        self._spec, self._handle = spec, handle
        self._explainer: ModelExplainer | None = None

    def _acquire(self, profiles: Iterable[FeatureProfile], picked: Sequence[tuple[str, str, bytes]]) -> ModelExplainer:
        if self._explainer is None:
            sample = [raw for role, _, raw in sorted(picked) if role == MODEL_SAMPLE]
            ordered = sorted(profiles, key=lambda p: p.name)
            background = background_examples(self._spec.pinned_rows, picked)
            self._explainer = self._handle.acquire(lambda: ModelExplainer(self._spec, ordered, sample, background))
        return self._explainer


class Explain(_UsesModel):
    """Block -> ExplainedBlock, and the same rows as donors and receivers of permutations."""

    DONORS = "donors"
    ELEMENTS = "elements"

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
        slices: SlicePlan,
        profiles: Sequence[FeatureProfile],
        picked: Sequence[tuple[str, str, bytes]],
    ) -> Iterable[ExplainedBlock | beam.pvalue.TaggedOutput]:
        """Explains one block."""
        explainer = self._acquire(profiles, picked)
        if explainer.facts.error is not None:
            yield _nothing_explained(block, explainer.facts)
            return
        out = explainer.explain(block, slices, plan.rows)
        self._explained.inc(len(out.ids))
        self._failed.inc(len(out.rows.failed_bucket))
        if self._spec.config.method in COMPLETE_METHODS:
            self._unconverged.inc(int((~out.rows.converged).sum()))
        self._forwards.inc(int(out.forward_equivalents))
        _Progress.add("explained", len(block.ids), plan.rows, plan.block_starts.tobytes())
        yield out
        for pair in element_rows(block, out, self._spec.config):
            yield beam.pvalue.TaggedOutput(self.ELEMENTS, pair)
        donors = donors_of(explainer, block, out)
        if donors is not None:
            yield beam.pvalue.TaggedOutput(self.DONORS, donors)


class SumShard(beam.DoFn):
    """(shard, its rows) -> (slice, (which of its shards, sums)); what is one shard is finished where it is summed."""

    OUTCOMES = "outcomes"

    def process(
        self,
        element: tuple[int, Iterable[MemberRows]],
        spec: JobSpec,
        content: tuple[int, int],
        slices: SlicePlan,
        scale: Scale,
        profiles: Sequence[FeatureProfile],
    ) -> Iterable[tuple[int, tuple[int, SliceSums]] | beam.pvalue.TaggedOutput]:
        """Sums the slices of one shard."""
        shards = shards_of(slices, spec.config.max_examples, len(scale.features))
        for place, sums in sum_shard(element, shards, profiles, spec.pins, scale):
            if shards.count[place] > 1:
                yield place, sums
            else:
                outcome = finish_slice((place, [sums]), spec, content, slices, scale, profiles)
                yield beam.pvalue.TaggedOutput(self.OUTCOMES, outcome)


class AttributeElements(_UsesModel):
    """(split, rows with the smallest ids) -> (split, path of their element file, its lines, the summary's entry)."""

    def process(
        self,
        element: tuple[int, list[ElementRow]],
        staging: str,
        profiles: Sequence[FeatureProfile],
        picked: Sequence[tuple[str, str, bytes]],
    ) -> Iterable[tuple[int, str, int, dict[str, Any]]]:
        """Attributes the elements of one split's rows, and writes them."""
        split, rows = element
        name = self._spec.config.splits[split]
        attributed = attribute_elements(self._acquire(profiles, picked), rows)
        if not attributed:
            return
        path = element_path(name)
        write_file(FileSystems.join(staging, path), element_file(rows, attributed))
        yield split, path, len(rows) * len(attributed), element_entries(name, rows, attributed)


class _Permutes(_UsesModel):
    """Predicts a block with what donors give it."""

    def permuted(
        self,
        explainer: ModelExplainer,
        block: DonorBlock,
        plan: PermutationPlan,
        scale: Scale,
        give: Callable[[int], Sequence[Given]],
    ) -> tuple[DonorBlock, PermutedRows]:
        """(the block, its permuted predictions)."""
        rows = permute(explainer, block, scale.items, plan, give)
        _Progress.add("permuted", block.rows, plan.rows, plan.content.encode())
        return without_payloads(block), rows


class PermuteBySideInput(_Permutes):
    """DonorBlock -> (block, its permuted predictions), with all donors in memory."""

    def __init__(self, spec: JobSpec, handle: shared.Shared):
        super().__init__(spec, handle)
        self._table: DonorTable | None = None

    def process(
        self,
        block: DonorBlock,
        plan: PermutationPlan,
        scale: Scale,
        donors: Sequence[DonorBlock],
        profiles: Sequence[FeatureProfile],
        picked: Sequence[tuple[str, str, bytes]],
    ) -> Iterable[tuple[DonorBlock, PermutedRows]]:
        """Permutes one block."""
        if not plan.side_input or not block.rows:
            return
        if self._table is None:
            self._table = DonorTable(donors)
        table, ranks = self._table, plan.ranks(block.index)

        def give(item: int) -> list[Given]:
            name, features = scale.items[item]
            return table.give(plan.of(ranks, name), features)

        yield self.permuted(self._acquire(profiles, picked), block, plan, scale, give)


class PermuteByBlock(_Permutes):
    """(block, its rows and what other blocks gave it) -> (block, its permuted predictions)."""

    def process(
        self,
        element: tuple[int, dict[str, Iterable[Any]]],
        plan: PermutationPlan,
        scale: Scale,
        profiles: Sequence[FeatureProfile],
        picked: Sequence[tuple[str, str, bytes]],
    ) -> Iterable[tuple[DonorBlock, PermutedRows]]:
        """Permutes one block."""
        (block,) = element[1]["receiver"]
        parts: dict[tuple[int, int], list[Given]] = {}
        for given in element[1]["given"]:
            for key, part in given.items():
                parts.setdefault(key, []).append(part)

        def give(item: int) -> list[Given]:
            return [joined(parts[item, repeat], block.rows) for repeat in range(plan.repeats)]

        if block.rows:
            yield self.permuted(self._acquire(profiles, picked), block, plan, scale, give)


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
        rows = sorted(self._spec.pinned_rows) or sorted(p for p in picked if p[0] != MODEL_SAMPLE)
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
    """Rows done in this process, by stage and job, and how fast: what a log line can honestly say."""

    _lock = threading.Lock()
    _done: Counter[tuple[str, bytes]] = Counter()
    _since: dict[tuple[str, bytes], float] = {}

    @classmethod
    def add(cls, stage: str, rows: int, total: int, job: bytes) -> None:
        """Counts rows, and logs."""
        key = stage, job
        with cls._lock:
            first = not cls._done[key] % max(total, 1)
            since = time.monotonic() if first else cls._since[key]
            cls._since[key] = since
            cls._done[key] = done = cls._done[key] % max(total, 1) + rows
        extra = {"stage": stage, "rows_done": done, "rows_total": total}
        if first:  # the first block's time is the model's loading: no rate yet
            progress.info("%s %d of %d rows", stage, done, total, extra=extra)
            return
        rate = (done - rows) / max(time.monotonic() - since, 1e-9)
        minutes = (total - done) / rate / 60 if rate else float("inf")
        progress.info(
            "%s %d of %d rows, %.0f rows/s, %.1f minutes left", stage, done, total, rate, minutes, extra=extra
        )


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
        index=block.index,
        facts=facts,
        ids=block.ids[:0],
        split=block.split[:0],
        count=integers,
        target=integers,
        convergence_delta=none,
        num_steps=integers,
        rows=rows,
        member_row=integers,
        member_place=integers,
        failed_member_row=integers,
        failed_member_place=integers,
        kept={},
        failures={},
        forward_equivalents=0.0,
    )
