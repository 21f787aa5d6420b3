"""From explained blocks to statistics of slices: rows go to their slices, a slice is summed in the rows' order."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfx_explain.artifacts.pins import Pins
from tfx_explain.artifacts.text_fingerprint import text_fingerprint
from tfx_explain.engine.aggregates.buckets import (
    SCORE_SIZE,
    Rows,
    accumulate,
    histogram_bins,
    magnitudes,
    score_histogram,
)
from tfx_explain.engine.aggregates.feature_clusters import MAX_FEATURES, Moments, clusters
from tfx_explain.engine.aggregates.groups import Group, GroupStatistics, present_groups
from tfx_explain.engine.aggregates.intervals import seed_from
from tfx_explain.engine.aggregates.permuted_scores import edges_size, score_edges
from tfx_explain.engine.aggregates.sketch import QuantileSketch, sketch_bins
from tfx_explain.explainer_gen.crosses import families, with_crosses
from tfx_explain.explainer_gen.explain import ExplainedBlock
from tfx_explain.explainer_gen.job_spec import JobSpec, ModelFacts
from tfx_explain.explainer_gen.outcome import SliceOutcome, SliceSums, outcome_of
from tfx_explain.explainer_gen.profiles import FeatureProfile, feature_bins
from tfx_explain.explainer_gen.shards import Shards, shards_of
from tfx_explain.explainer_gen.strata import SlicePlan
from tfx_explain.explainer_gen.transit import travels

ROWS_OF_MOMENTS = 32_768
"""Rows that tell which features move together: the first by id, a fair sample, since ids are hashes."""


@dataclasses.dataclass(frozen=True)
class BlockTotals:
    """What must be known of all blocks before they can be summed.

    Attributes:
      index: of the block.
      weight, total: weight, and weighted sum of |attribution|.
      moments: of the attributions; None above MAX_FEATURES features, where clusters are not looked for, and in all but
        the first blocks.
      scores: histogram of logits of labelled rows; None without them.
      facts: of the model.
    """

    index: int
    weight: float
    total: float
    moments: Moments | None
    scores: np.ndarray | None
    facts: ModelFacts


@dataclasses.dataclass(frozen=True)
class Scale:
    """What all blocks share when they are summed.

    Attributes:
      unit: total mean |attribution| that histograms are measured in: the reference's, else this sample's.
      total: total mean |attribution| of this sample.
      groups: (name, features) whose shares are measured together: configured ones, features with their crosses, and
        clusters.
      score_edges: of permuted scores; None where scores are no logits of two classes.
      features: what is attributed.
      items: (name, raw features) of what is permuted: each feature, and configured groups.
      task: of the model, None where some block has no labels.
    """

    unit: float
    total: float
    groups: tuple[Group, ...]
    score_edges: np.ndarray | None
    features: tuple[str, ...]
    items: tuple[Group, ...]
    task: str | None


def block_totals(block: ExplainedBlock, batch_size: int) -> BlockTotals:
    """The totals of one block of a job whose blocks have so many rows."""
    rows = block.rows
    per_row = magnitudes(rows.attributions)
    scores = None
    if rows.binary and rows.score is not None:
        scores = score_histogram(rows.score, rows.weight)
    clustered = block.index * batch_size < ROWS_OF_MOMENTS and 0 < len(block.facts.features) <= MAX_FEATURES
    return BlockTotals(
        block.index,
        float(rows.weight.sum()),
        float((rows.weight * per_row).sum()),
        Moments.of(rows.attributions, rows.weight) if clustered else None,
        scores,
        block.facts,
    )


def scale_of(
    _: object,
    pins: Pins | None,
    feature_groups: Mapping[str, tuple[str, ...]],
    repeats: int,
    totals: Sequence[BlockTotals],
) -> Scale:
    """Joins the totals of all blocks, in order."""
    ordered = sorted(totals, key=lambda t: t.index)
    facts = ordered[0].facts if ordered else ModelFacts()
    weight = total = 0.0
    moments = scores = None
    for part in ordered:
        weight, total = weight + part.weight, total + part.total
        if part.moments is not None:
            moments = part.moments if moments is None else moments + part.moments
        if part.scores is not None:
            scores = part.scores if scores is None else scores + part.scores
    mean = total / weight if weight else 0.0
    configured = [(name, with_crosses(members, facts.crosses)) for name, members in sorted(feature_groups.items())]
    groups: list[Group] = list(present_groups(configured, facts.features))
    found = list(families(facts.crosses, facts.features))
    if moments is not None:
        found += [(" + ".join(m), m) for m in clusters(moments, facts.features)]
    for name, members in found:
        if all(set(members) != set(known) for _, known in groups):
            groups.append((name, members))
    items: list[Group] = [(name, (name,)) for name in facts.permutable if name not in facts.only_grouped]
    items += present_groups(sorted(feature_groups.items()), facts.permutable)
    edges = None
    if facts.task == "binary":
        size = edges_size(len(items), max(repeats, 1))
        edges = score_edges(np.zeros(SCORE_SIZE) if scores is None else scores, size)
    return Scale(
        unit=pins.histogram_unit if pins is not None and pins.histogram_unit > 0 else mean or 1.0,
        total=mean,
        groups=tuple(groups),
        score_edges=edges,
        features=facts.features,
        items=tuple(items),
        task=None if any(part.facts.label_error for part in ordered) else facts.task,
    )


def take(rows: Rows, chosen: np.ndarray, failed: np.ndarray) -> Rows:
    """Some of the explained, and some of the failed rows."""
    out: dict[str, Any] = {}
    for field in dataclasses.fields(Rows):
        value = getattr(rows, field.name)
        if isinstance(value, np.ndarray):
            value = value[failed if field.name.startswith("failed_") else chosen]
        out[field.name] = value
    return Rows(**out)


def concatenate(parts: Sequence[Rows]) -> Rows:
    """Rows of several blocks, in order; a label that one block lacks is NaN there."""
    out: dict[str, Any] = {}
    for field in dataclasses.fields(Rows):
        values = [getattr(p, field.name) for p in parts]
        if field.name == "binary":
            out[field.name] = any(values)
        elif all(v is None for v in values):
            out[field.name] = None
        else:
            out[field.name] = np.concatenate(
                [np.full(len(p.bucket), np.nan) if v is None else v for p, v in zip(parts, values, strict=True)]
            )
    return Rows(**out)


@travels
@dataclasses.dataclass(frozen=True)
class MemberRows:
    """Some rows of a block, each once, and which slices of a shard they belong to.

    Attributes:
      block: its number.
      rows: the rows.
      member_row, member_place, failed_member_row, failed_member_place: as in ExplainedBlock, of these rows.
    """

    block: int
    rows: Rows
    member_row: np.ndarray
    member_place: np.ndarray
    failed_member_row: np.ndarray
    failed_member_place: np.ndarray

    @classmethod
    def concatenate(cls, parts: Iterable[MemberRows]) -> MemberRows:
        """Parts of several blocks, in the blocks' order."""
        ordered = sorted(parts, key=lambda part: part.block)
        starts, failed = (
            np.concatenate([[0], np.cumsum(sizes)])
            for sizes in (
                [len(part.rows.bucket) for part in ordered],
                [len(part.rows.failed_bucket) for part in ordered],
            )
        )
        return cls(
            ordered[0].block,
            concatenate([part.rows for part in ordered]),
            np.concatenate([part.member_row + start for part, start in zip(ordered, starts, strict=False)]),
            np.concatenate([part.member_place for part in ordered]),
            np.concatenate([part.failed_member_row + start for part, start in zip(ordered, failed, strict=False)]),
            np.concatenate([part.failed_member_place for part in ordered]),
        )

    def by_slice(self) -> Iterator[tuple[int, Rows]]:
        """(slice, its rows)."""
        order = np.argsort(self.member_place, kind="stable")
        failed_order = np.argsort(self.failed_member_place, kind="stable")
        places, failed_places = self.member_place[order], self.failed_member_place[failed_order]
        for place in np.union1d(places, failed_places):
            (own, failed) = (
                slice(*(np.searchsorted(found, place, side=side) for side in ("left", "right")))
                for found in (places, failed_places)
            )
            yield int(place), take(self.rows, self.member_row[order[own]], self.failed_member_row[failed_order[failed]])


def slice_parts(
    block: ExplainedBlock, plan: SlicePlan, max_examples: int, scale: Scale
) -> Iterable[tuple[int, MemberRows]]:
    """(shard, the block's rows in its slices); attributions are binned here, once for all slices of a row."""
    if block.facts.error is not None:
        return
    attributions = block.rows.attributions
    rows = dataclasses.replace(
        block.rows,
        histogram_bin=histogram_bins(attributions, scale.unit),
        sketch_bin=sketch_bins(attributions, scale.unit),
        magnitude=magnitudes(attributions),
    )
    shards = shards_of(plan, max_examples, len(scale.features))
    shard = shards.of(block.member_place, rows.bucket[block.member_row])
    failed_shard = shards.of(block.failed_member_place, rows.failed_bucket[block.failed_member_row])
    for number in np.union1d(shard, failed_shard):
        own, failed = np.flatnonzero(shard == number), np.flatnonzero(failed_shard == number)
        chosen, member_row = np.unique(block.member_row[own], return_inverse=True)
        failed_chosen, failed_member_row = np.unique(block.failed_member_row[failed], return_inverse=True)
        yield (
            int(number),
            MemberRows(
                block.index,
                take(rows, chosen, failed_chosen),
                member_row,
                block.member_place[own],
                failed_member_row,
                block.failed_member_place[failed],
            ),
        )


def sum_shard(
    element: tuple[int, Iterable[MemberRows]],
    shards: Shards,
    profiles: Sequence[FeatureProfile],
    pins: Pins | None,
    scale: Scale,
) -> Iterator[tuple[int, tuple[int, SliceSums]]]:
    """(slice, (which of its shards, sums)): rows in the order of their blocks."""
    number, parts = element
    names = scale.features
    bins = tuple(b.size for b in feature_bins(names, profiles, pins).values())
    for place, rows in MemberRows.concatenate(parts).by_slice():
        sums = SliceSums(
            accumulate(names, bins, rows, scale.unit),
            QuantileSketch.of(rows.attributions, rows.weight, scale.unit, rows.sketch_bin),
            GroupStatistics.of(scale.groups, names, rows),
        )
        yield place, (number - int(shards.first[place]), sums)


def draw_seed(spec: JobSpec, content: tuple[int, int]) -> int:
    """Seed of the draws, from the model's files and all rows that were read."""
    return seed_from(spec.fingerprint, examples_fingerprint(content, spec.config.splits))


def examples_fingerprint(content: tuple[int, int], splits: Sequence[str]) -> str:
    """SHA-256 that belongs to the rows read, whatever their order and shards."""
    return text_fingerprint(f"{content[0]}:{content[1]:032x}:{','.join(splits)}")


def kept_places(slices: SlicePlan) -> list[int]:
    """Numbers of the slices that later comparisons are made of: the overall one, and those that checks name."""
    return [i for i, key in enumerate(slices.keys) if not i or key in slices.required]


def sum_in_order(shards: Iterable[tuple[int, Any]]) -> Any:
    """Sum of what (number, sums) of shards hold, by their numbers: the same bits whoever did which shard."""
    return functools.reduce(operator.add, [sums for _, sums in sorted(shards, key=lambda shard: shard[0])])


def finish_slice(
    element: tuple[int, Iterable[tuple[int, SliceSums]]],
    spec: JobSpec,
    content: tuple[int, int],
    slices: SlicePlan,
    scale: Scale,
    profiles: Sequence[FeatureProfile],
) -> SliceOutcome:
    """Statistics of one slice with their intervals; all slices draw the same buckets."""
    place, shards = element
    return outcome_of(
        place,
        SliceSums.of_shards(shards),
        draw_seed(spec, content),
        scale.task,
        [bins.edges is not None for bins in feature_bins(scale.features, profiles, spec.pins).values()],
        spec.config.min_total_attribution * scale.total,
        keep_sums=place in kept_places(slices),
    )
