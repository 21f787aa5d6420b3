"""The reference's newest model beside the candidate, explained on the same rows."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.metrics import Metrics
from apache_beam.utils import shared

from tfx_explain.config import PermutationImportanceConfig
from tfx_explain.engine.aggregates.buckets import BucketStatistics
from tfx_explain.engine.aggregates.intervals import bucket_draws, number
from tfx_explain.engine.aggregates.paired import (
    Comparison,
    ModelRows,
    PairedRows,
    PairedStatistics,
    ShareDrift,
    compare,
    share_drifts,
)
from tfx_explain.explainer_gen.aggregate import draw_seed, examples_fingerprint, sum_in_order
from tfx_explain.explainer_gen.explain import ExplainedBlock, ModelExplainer
from tfx_explain.explainer_gen.job_spec import JobSpec, ModelFacts
from tfx_explain.explainer_gen.method import background_examples
from tfx_explain.explainer_gen.profiles import FeatureProfile
from tfx_explain.explainer_gen.sampled import BACKGROUND, MODEL_SAMPLE, Sample
from tfx_explain.explainer_gen.sampling import Block, SamplePlan, is_in
from tfx_explain.explainer_gen.shards import shard_count
from tfx_explain.explainer_gen.slicing import Slicing
from tfx_explain.explainer_gen.strata import SlicePlan
from tfx_explain.explainer_gen.summary import interval
from tfx_explain.explainer_gen.target import LABEL
from tfx_explain.names import NUM_BUCKETS, SliceKey

MAX_FEATURES = 20
"""Features of an entry of any slice but the overall one."""

_CHUNK = 4096
_PASSED = "the last model that passed"
_THEN = 1
"""Added to the seed of the draws of stored statistics: those are other rows."""

# What another release's model, a damaged file or a missing op raises where it is loaded or run. A reference model that
# fails decides nothing, so it must not end the candidate's job either.
_MODEL_FAULTS = (
    tf.errors.OpError,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

# What must agree for two models' attributions to have one unit.
_SAME = ("unit", "num_targets", "target", "class_names")


@dataclasses.dataclass(frozen=True)
class StoredShares:
    """What the reference holds of its model's own time.

    Attributes:
      slices: bucket sums by slice.
      examples: fingerprint of the rows read then; where today's are the same rows, both are drawn together.
    """

    slices: Mapping[str, BucketStatistics]
    examples: str = ""


@dataclasses.dataclass(frozen=True)
class Partner:
    """A model that is explained on the same rows as the candidate.

    Attributes:
      spec: of `reference_spec`.
      stored: what the reference holds of it.
    """

    spec: JobSpec
    stored: StoredShares


@dataclasses.dataclass(frozen=True)
class PairedBlock:
    """A block's rows in both models.

    Attributes:
      index: of the block.
      reason: why the models could not be paired, or None.
      candidate_features, reference_features: what each model attributes to.
      rows: those that at least one model explained.
      member_row, member_place: [m] pairs: row `member_row` belongs to the slice of that number in the plan.
    """

    index: int
    reason: str | None
    candidate_features: tuple[str, ...] = ()
    reference_features: tuple[str, ...] = ()
    rows: PairedRows | None = None
    member_row: np.ndarray | None = None
    member_place: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class PairedOutcome:
    """What is published of one slice's pairs.

    Attributes:
      place: number of the slice in the plan; 0 is the overall one.
      reason: why there is no comparison; then this is the only outcome of the job.
      comparison: both models on the same rows.
      drift: the reference model's shares now and at its time, by feature; empty where nothing was stored of the slice.
    """

    place: int
    reason: str | None = None
    comparison: Comparison | None = None
    drift: Mapping[str, ShareDrift] = dataclasses.field(default_factory=dict)


def reference_spec(spec: JobSpec, model_path: str, fingerprint: str) -> JobSpec:
    """The candidate's job, for another model: same sample, input baseline, bins, cut policies, unit and target.

    The background rows stay, too. Slices, labels and weights stay the candidate's: they are taken from its rows.
    A label that is the target is read again, by the reference model's function where it is an output of one.

    Args:
      spec: of the candidate.
      model_path: the reference model's serving folder.
      fingerprint: of its files.
    """
    by_label = spec.config.target == LABEL
    config = spec.config.model_copy(
        update={
            "permutation_importance": PermutationImportanceConfig(repeats=0),
            "keep_features": (),
            "label": spec.config.label if by_label else None,
            "example_weight_key": None,
        }
    )
    return dataclasses.replace(
        spec,
        model_path=model_path,
        fingerprint=fingerprint,
        config=config,
        slicing=Slicing(),
        label=spec.label if by_label else None,
        example_weight=None,
        evaluation=None,
        pinned_rows=tuple(row for row in spec.pinned_rows if row[0] == BACKGROUND),
    )


def explain_pairs(
    pipeline: beam.Pipeline,
    sample: Sample,
    explained: beam.PCollection[ExplainedBlock],
    spec: JobSpec,
    partner: Partner,
) -> beam.PCollection[PairedOutcome]:
    """Explains the sample by the reference's model too, and compares both models by slice.

    The worker that explains a block holds both models in memory: their variables, tables and graphs add up.

    Args:
      pipeline: the job.
      sample: of the candidate's job.
      explained: the same blocks, explained by the candidate.
      spec: the candidate's.
      partner: the reference's model.

    Returns:
      One outcome a slice; or a single one with a reason where the reference's model cannot be explained here.
    """
    paired = (
        {
            "block": sample.blocks | "BlockByIndex" >> beam.Map(lambda block: (block.index, block)),
            "explained": explained | "ExplainedByIndex" >> beam.Map(lambda block: (block.index, block)),
        }
        | "SameBlock" >> beam.CoGroupByKey()
        | "ExplainReference"
        >> beam.ParDo(
            ExplainReference(partner.spec, shared.Shared()), sample.plan, sample.slices, sample.profiles, sample.picked
        )
    )
    reasons = beam.pvalue.AsList(
        paired | "PairReasons" >> beam.FlatMap(lambda block: [(block.index, block.reason)] if block.reason else [])
    )
    outcomes = (
        paired
        | "PairedParts" >> beam.FlatMap(paired_parts, sample.slices, spec.config.max_examples)
        | "GroupPairedShards" >> beam.GroupByKey()
        | "SumPairs" >> beam.Map(sum_pairs)
        | "GroupPairedSlices" >> beam.GroupByKey()
        | "FinishPairs" >> beam.FlatMap(finish_pairs, spec, sample.content, sample.slices, partner.stored, reasons)
    )
    refused = (
        pipeline
        | "PairRefusal" >> beam.Create([None])
        | "RefusePairs" >> beam.FlatMap(lambda _, all_: [PairedOutcome(0, min(all_)[1])] if all_ else [], reasons)
    )
    return (outcomes, refused) | "PairedOutcomes" >> beam.Flatten()


class ExplainReference(beam.DoFn):
    """(index, the block and what the candidate made of it) -> PairedBlock; the model is loaded once a process."""

    def __init__(self, spec: JobSpec, handle: shared.Shared):
        self._spec, self._handle = spec, handle
        self._loaded: _Loaded | None = None
        self._explained = Metrics.counter("tfx_explain.ExplainerGen", "rows_explained_by_reference")

    def process(
        self,
        element: tuple[int, Mapping[str, Iterable[Any]]],
        plan: SamplePlan,
        slices: SlicePlan,
        profiles: Sequence[FeatureProfile],
        picked: Sequence[tuple[str, str, bytes]],
    ) -> Iterable[PairedBlock]:
        """Explains one block again, and pairs its rows."""
        index, parts = element
        (block,), (candidate,) = parts["block"], parts["explained"]
        if candidate.facts.error is not None:
            yield PairedBlock(index, f"the candidate could not be explained: {candidate.facts.error}")
            return
        if candidate.facts.no_gradient is not None:
            yield PairedBlock(index, f"nothing is attributed in the candidate: {candidate.facts.no_gradient}")
            return
        if self._loaded is None:
            sample = [raw for role, _, raw in sorted(picked) if role == MODEL_SAMPLE]
            ordered = sorted(profiles, key=lambda p: p.name)
            background = background_examples(self._spec.pinned_rows, picked)
            self._loaded = self._handle.acquire(
                lambda: _Loaded.of(self._spec, ordered, sample, background), self._spec.fingerprint
            )
        loaded = self._loaded
        reason = loaded.reason or incomparable(candidate.facts, loaded.facts)
        if loaded.explainer is None or reason is not None:
            yield PairedBlock(index, reason)
            return
        try:
            reference = loaded.explainer.explain(block, slices, plan.rows)
        except _MODEL_FAULTS as error:
            yield PairedBlock(index, _sentence("could not be run", error))
            return
        self._explained.inc(len(reference.ids))
        yield pair(block, candidate, reference)


@dataclasses.dataclass
class _Loaded:
    """A loaded model, or why there is none."""

    explainer: ModelExplainer | None
    reason: str | None

    @property
    def facts(self) -> ModelFacts:
        return self.explainer.facts if self.explainer else ModelFacts()

    @classmethod
    def of(
        cls,
        spec: JobSpec,
        profiles: Sequence[FeatureProfile],
        sample: Sequence[bytes],
        background: Sequence[bytes] = (),
    ) -> _Loaded:
        try:
            explainer = ModelExplainer(spec, profiles, sample, background)
        except _MODEL_FAULTS as error:
            return cls(None, _sentence("could not be loaded", error))
        if explainer.facts.error is not None:
            return cls(None, f"{_PASSED} could not be explained: {explainer.facts.error}")
        return cls(explainer, None)


def _sentence(what: str, error: Exception) -> str:
    logging.getLogger(__name__).warning("%s %s", _PASSED, what, exc_info=error)
    lines = str(error).strip().splitlines()
    return f"{_PASSED} {what} ({type(error).__name__}: {lines[0] if lines else 'no message'})"


def incomparable(candidate: ModelFacts, reference: ModelFacts) -> str | None:
    """Why attributions of both models have no common unit, or None."""
    differences = [
        f"{name} {getattr(reference, name)!r} (the candidate's is {getattr(candidate, name)!r})"
        for name in _SAME
        if getattr(candidate, name) != getattr(reference, name)
    ]
    if differences:
        return f"{_PASSED} has another output: {', '.join(differences)}"
    if candidate.background_digest != reference.background_digest:
        return f"{_PASSED} can run other background rows ({reference.background_rows}) than the candidate"
    return None


def pair(block: Block, candidate: ExplainedBlock, reference: ExplainedBlock) -> PairedBlock:
    """Joins both models' rows of a block by id; weights, buckets and slices are the candidate's."""
    ours, theirs = is_in(block.ids, candidate.ids), is_in(block.ids, reference.ids)
    rows = candidate.rows
    bucket, weight = np.zeros(len(ours), np.int64), np.zeros(len(ours))
    for chosen, buckets, weights in (
        (ours, rows.bucket, rows.weight),
        (~ours, rows.failed_bucket, rows.failed_weight),
    ):
        bucket[chosen], weight[chosen] = buckets, weights
    kept = ours | theirs
    place_in_kept = np.cumsum(kept) - 1
    member_row = np.concatenate(
        [np.nonzero(ours)[0][candidate.member_row], np.nonzero(~ours)[0][candidate.failed_member_row]]
    )
    member_place = np.concatenate([candidate.member_place, candidate.failed_member_place])
    member_kept = kept[member_row]
    both = PairedRows(bucket, weight, _side(ours, candidate), _side(theirs, reference))
    return PairedBlock(
        index=block.index,
        reason=None,
        candidate_features=candidate.facts.features,
        reference_features=reference.facts.features,
        rows=both.take(np.nonzero(kept)[0]),
        member_row=place_in_kept[member_row[member_kept]],
        member_place=member_place[member_kept],
    )


def _side(explained: np.ndarray, block: ExplainedBlock) -> ModelRows:
    """One model's rows, spread over all rows of the block."""
    n = len(explained)
    attributions = np.zeros((n, len(block.facts.features)), np.float32)
    prediction, target = np.zeros(n), np.zeros(n, np.int64)
    attributions[explained] = block.rows.attributions
    prediction[explained], target[explained] = block.rows.prediction, block.target
    return ModelRows(attributions, prediction, target, explained)


def paired_parts(
    block: PairedBlock, slices: SlicePlan, max_examples: int
) -> Iterable[tuple[tuple[int, int], PairedBlock]]:
    """((slice, shard), its part of a block)."""
    if block.reason is not None or block.rows is None or block.member_row is None or block.member_place is None:
        return
    order = np.lexsort((block.member_row, block.member_place))
    places = block.member_place[order]
    for place in np.unique(places):
        first, last = (np.searchsorted(places, place, side=s) for s in ("left", "right"))
        chosen = block.member_row[order[first:last]]
        shard = block.rows.bucket[chosen] * shard_count(slices, int(place), max_examples) // NUM_BUCKETS
        for shard_number in np.unique(shard):
            rows = block.rows.take(chosen[shard == shard_number])
            yield (
                (int(place), int(shard_number)),
                dataclasses.replace(block, rows=rows, member_row=None, member_place=None),
            )


def sum_pairs(
    element: tuple[tuple[int, int], Iterable[PairedBlock]],
) -> tuple[int, tuple[int, PairedStatistics]]:
    """(slice, (shard, sums)): rows in the order of their blocks, in chunks of a fixed size."""
    (place, shard), parts = element
    ordered = sorted(parts, key=lambda p: p.index)
    rows = PairedRows.concatenate([p.rows for p in ordered if p.rows is not None])
    names = ordered[0].candidate_features, ordered[0].reference_features
    total = PairedStatistics.empty(*names)
    for start in range(0, len(rows.bucket), _CHUNK):
        total = total + PairedStatistics.of(*names, rows.take(np.arange(start, min(start + _CHUNK, len(rows.bucket)))))
    return place, (shard, total)


def finish_pairs(
    element: tuple[int, Iterable[tuple[int, PairedStatistics]]],
    spec: JobSpec,
    content: tuple[int, int],
    slices: SlicePlan,
    stored: StoredShares,
    reasons: Sequence[tuple[int, str]],
) -> Iterable[PairedOutcome]:
    """The comparison of one slice; nothing where some block could not be paired. All slices draw the same buckets."""
    if reasons:
        return
    place, shards = element
    total = sum_in_order(shards)
    seed = draw_seed(spec, content)
    draws = bucket_draws(seed)
    then = stored.slices.get(slices.names[place])
    drift: Mapping[str, ShareDrift] = {}
    if then is not None:
        same = stored.examples == examples_fingerprint(content, spec.config.splits)
        drift = share_drifts(total, draws, then, draws if same else bucket_draws(seed + _THEN))
    yield PairedOutcome(place, None, compare(total, draws), drift)


def paired_entries(
    outcomes: Iterable[PairedOutcome], names: Sequence[str], keys: Sequence[SliceKey | None]
) -> dict[str, Any]:
    """All outcomes of a job as JSON: why there are none, else an entry a slice, the overall one first.

    The overall slice has all features, others the MAX_FEATURES whose shares differ most.

    Args:
      outcomes: of `explain_pairs`.
      names: of the plan's slices.
      keys: of the plan's slices; None for a remainder.
    """
    ordered = sorted(outcomes, key=lambda o: o.place)
    reason = next((o.reason for o in ordered if o.reason is not None), None)
    if reason is None and not ordered:
        reason = "no row was explained"
    entries = [] if reason is not None else [_entry(o, names[o.place], keys[o.place]) for o in ordered]
    return {"absent": reason, "slices": entries}


def _entry(outcome: PairedOutcome, name: str, key: SliceKey | None) -> dict[str, Any]:
    found = outcome.comparison
    if found is None:
        raise ValueError(f"an outcome must have a comparison or a reason. Received: neither, for slice {name!r}")
    features = []
    for one in found.features[: None if outcome.place == 0 else MAX_FEATURES]:
        drift = outcome.drift.get(one.feature)
        features.append(
            {
                "name": one.feature,
                "absent_from": one.absent_from,
                "share": interval(one.candidate_share),
                "reference_share": interval(one.reference_share),
                "reference_share_then": interval(drift.then) if drift else None,
                "model_part": interval(one.share_difference),
                "data_part": interval(drift.difference) if drift else None,
                "rank": one.candidate_rank,
                "reference_rank": one.reference_rank,
                "mean": interval(one.candidate_mean),
                "reference_mean": interval(one.reference_mean),
                "sign_changed": one.sign_changed,
                "correlation": interval(one.correlation),
                "mean_absolute_difference": interval(one.mean_absolute_difference),
            }
        )
    return {
        "name": name,
        "key": None if key is None else [list(part) for part in key],
        "paired_rows": found.rows,
        "weight": number(found.weight),
        "effective_rows": number(found.effective_rows),
        "other_target_rows": found.other_target_rows,
        "candidate_only_rows": found.candidate_only_rows,
        "reference_only_rows": found.reference_only_rows,
        "prediction_difference": interval(found.prediction_difference),
        "absolute_prediction_difference": interval(found.absolute_prediction_difference),
        "total": interval(found.candidate_total),
        "reference_total": interval(found.reference_total),
        "features": features,
    }
