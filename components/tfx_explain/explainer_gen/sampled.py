"""The first part of every job: read, identify, sample, and cut into blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from tfx_explain.explainer_gen.examples import canonical
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.profiles import FeatureValues, feature_values, profile
from tfx_explain.explainer_gen.records import ReadRecords
from tfx_explain.explainer_gen.row_ids import hexadecimal, ids_of
from tfx_explain.explainer_gen.sampling import (
    Block,
    Candidates,
    ContentSum,
    RowBatch,
    SamplePlan,
    SmallestKeys,
    UnionOfIds,
    by_block,
    identify,
    is_in,
    make_block,
    part_of,
    take_rows,
)
from tfx_explain.explainer_gen.slicing import SliceAssigner
from tfx_explain.explainer_gen.strata import (
    SketchSlice,
    SlicePlan,
    SliceSketch,
    columns_of,
    is_required,
    plan_slices,
    sketch_slices,
)
from tfx_explain.explainer_gen.transit import typed
from tfx_explain.explainer_gen.usable_model import import_libraries
from tfx_explain.names import FOR_PREDICTIONS, SliceKey, slice_name

NAMESPACE = "tfx_explain.ExplainerGen"
MODEL_SAMPLE, BACKGROUND = "model_sample", "background"
"""Roles of rows: a model is split and verified on the first, a reference pins the second, and those FOR_PREDICTIONS."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """The sample of a job, in blocks, and what workers must know of it.

    Attributes:
      blocks: PCollection of Block.
      plan: side input: where rows go.
      slices: side input: which slices there are.
      profiles: side input: of the raw features.
      picked: side input: rows that verify the model or are pinned.
      content: side input: (rows, sum of ids) of all that was read.
    """

    blocks: beam.PCollection[Block]
    plan: beam.pvalue.AsSingleton
    slices: beam.pvalue.AsSingleton
    profiles: beam.pvalue.AsList
    picked: beam.pvalue.AsList
    content: beam.pvalue.AsSingleton


def sample_examples(
    pipeline: beam.Pipeline, patterns: Sequence[tuple[int, str]], spec: JobSpec, read_batch_size: int
) -> Sample:
    """Reads examples and takes the sample; arguments as those of `explain_examples`."""
    config = spec.config
    batches, candidates, keys_of_candidates = read_batches(pipeline, patterns, spec, read_batch_size)
    keys = batches | "Keys" >> beam.Map(lambda batch: batch.keys)
    smallest = beam.pvalue.AsSingleton(
        keys | "SmallestKeys" >> beam.CombineGlobally(SmallestKeys(config.max_examples + 1))
    )
    content = beam.pvalue.AsSingleton(keys | "SumContent" >> beam.CombineGlobally(ContentSum()))
    slices = _plan_slices(pipeline, batches, smallest, spec)
    ids = (
        keys_of_candidates
        | "SampledIds" >> beam.FlatMap(sampled_ids, slices)
        | "UnionOfIds" >> beam.CombineGlobally(UnionOfIds())
    )
    plan = beam.pvalue.AsSingleton(
        ids | "PlanSample" >> beam.Map(SamplePlan.of, smallest, config.max_examples, config.batch_size)
    )
    blocks = (
        candidates
        | "TakeSample" >> beam.FlatMap(take_sample, slices).with_output_types(RowBatch)
        | "ByBlock" >> beam.FlatMap(by_block, plan).with_output_types(tuple[int, RowBatch])
        | "GroupBlocks" >> beam.GroupByKey()
        | "MakeBlocks" >> beam.MapTuple(make_block).with_output_types(Block)
    )
    profiles = beam.pvalue.AsList(
        blocks
        | "FeatureValues" >> beam.FlatMap(feature_values).with_output_types(tuple[str, FeatureValues])
        | "GroupFeatures" >> beam.GroupByKey()
        | "ProfileFeatures" >> beam.Map(profile, spec.categorical_ints)
    )
    picked = beam.pvalue.AsList(blocks | "PickRows" >> beam.FlatMap(pick_rows, plan))
    return Sample(blocks, plan, slices, profiles, picked, content)


def read_batches(
    pipeline: beam.Pipeline, patterns: Sequence[tuple[int, str]], spec: JobSpec, batch_size: int
) -> tuple[beam.PCollection[RowBatch], beam.PCollection[RowBatch], beam.PCollection[RowBatch]]:
    """(keys and slices of all rows, rows that can be in the sample, keys and slices of these), in batches.

    The rows themselves go on in one way only: what is read in two stages is held in between.
    """
    parts = (
        pipeline
        | "Read" >> ReadRecords(patterns, batch_size)
        | "Identify" >> beam.ParDo(Identify(spec)).with_outputs(Identify.CANDIDATES, Identify.KEYS, main="all")
    )
    return (
        typed(parts["all"], RowBatch),
        typed(parts[Identify.CANDIDATES], RowBatch),
        typed(parts[Identify.KEYS], RowBatch),
    )


class Identify(beam.DoFn):
    """Serialised examples -> RowBatch without them, and the rows that can be in the sample with them.

    What is kept until the sample is known grows with the logarithm of the rows read: a row that is behind enough
    others in all its slices is left out at once.
    """

    CANDIDATES, KEYS = "candidates", "keys"

    def __init__(self, spec: JobSpec):
        self._spec = spec
        self._assigner: SliceAssigner | None = None
        self._candidates: Candidates | None = None
        self._read = Metrics.counter(NAMESPACE, "rows_read")

    def process(self, element: tuple[int, list[bytes]]) -> Iterable[RowBatch | beam.pvalue.TaggedOutput]:
        """Identifies one batch of a split."""
        split, raw = element
        config = self._spec.config
        if self._assigner is None or self._candidates is None:
            import_libraries(config.op_libraries)
            self._assigner = SliceAssigner(self._spec.slicing, self._spec.model_path)
            self._candidates = Candidates(config.max_examples, config.slices.min_rows_per_slice)
        self._read.inc(len(raw))
        batch = identify(raw, split, config.seed, config.cluster_key, self._assigner)
        chosen = self._candidates.of(batch)
        if len(chosen):
            part = part_of(batch, chosen)
            yield beam.pvalue.TaggedOutput(self.CANDIDATES, part)
            yield beam.pvalue.TaggedOutput(self.KEYS, dataclasses.replace(part, raw=[]))
        yield dataclasses.replace(batch, raw=[])


def sampled_ids(batch: RowBatch, slices: SlicePlan) -> Iterable[np.ndarray]:
    """The ids of a batch's rows that are in the sample."""
    rows, _ = slices.taken(batch)
    if len(rows):
        yield ids_of(batch.keys[rows])


def take_sample(batch: RowBatch, slices: SlicePlan) -> Iterable[RowBatch]:
    """The rows of a batch that are in the sample, with their inclusion probabilities."""
    rows, probability = slices.taken(batch)
    if len(rows):
        yield take_rows(batch, rows, probability)


def pick_rows(block: Block, plan: SamplePlan) -> Iterable[tuple[str, str, bytes]]:
    """(role, id, example) of the block's rows that verify the model or are pinned, in canonical bytes."""
    for role in (MODEL_SAMPLE, FOR_PREDICTIONS, BACKGROUND):
        chosen = np.nonzero(is_in(block.ids, getattr(plan, role)))[0]
        for i, name in zip(chosen, hexadecimal(block.ids[chosen]), strict=True):
            yield role, name, canonical(block.raw[i])


def _plan_slices(
    pipeline: beam.Pipeline, batches: beam.PCollection[RowBatch], smallest: beam.pvalue.AsSingleton, spec: JobSpec
) -> beam.pvalue.AsSingleton:
    """The plan of slices: memory is bounded by max_slices, whatever the number of a feature's values."""
    config = spec.config
    rows = config.slices.min_rows_per_slice + 1

    def large(item: tuple[SliceKey, SliceSketch]) -> bool:
        return item[1].rows >= config.slices.min_slice_size or is_required(item[0], config.required_slices)

    def order(item: tuple[SliceKey, SliceSketch]) -> tuple[bool, int, str]:
        return is_required(item[0], config.required_slices), item[1].rows, slice_name(item[0])

    sketches = (
        batches
        | "SketchSlices" >> beam.FlatMap(sketch_slices, rows)
        | "JoinSketches" >> beam.CombinePerKey(SketchSlice(rows))
    )
    kept = (
        sketches
        | "LargeSlices" >> beam.Filter(large)
        | "LargestSlices" >> beam.combiners.Top.Of(config.slices.max_slices + len(config.required_slices), key=order)
        | "EachSlice" >> beam.FlatMap(lambda kept: kept)
    )
    counts = (
        sketches
        | "ByFeatures" >> beam.Map(lambda item: (columns_of(item[0]), (1, item[1].rows)))
        | "CountSlices" >> beam.CombinePerKey(_add_pairs)
    )
    return beam.pvalue.AsSingleton(
        pipeline
        | "Slices" >> beam.Create([None])
        | "PlanSlices"
        >> beam.Map(
            plan_slices,
            smallest,
            beam.pvalue.AsList(kept),
            beam.pvalue.AsList(counts),
            config.max_examples,
            config.slices,
            config.required_slices,
        )
    )


def _add_pairs(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    first = second = 0
    for a, b in pairs:
        first, second = first + a, second + b
    return first, second
