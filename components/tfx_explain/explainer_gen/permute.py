"""Permutation importance over blocks: which rows give to which, and the permuted predictions of a block."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from tfx_explain.config import PermutationImportanceConfig
from tfx_explain.engine.aggregates.intervals import bucket_draws
from tfx_explain.engine.aggregates.permutation import Importance, importances
from tfx_explain.engine.aggregates.permuted_rows import PermutedRows
from tfx_explain.engine.aggregates.permuted_sums import PermutationStatistics, accumulate
from tfx_explain.engine.feature_graph import Narrow, PermutationModel
from tfx_explain.engine.feature_graph.errors import ExampleError
from tfx_explain.engine.methods.permutation import Donors
from tfx_explain.explainer_gen.aggregate import Scale, draw_seed, sum_in_order
from tfx_explain.explainer_gen.columns import Columns, decode
from tfx_explain.explainer_gen.explain import ExplainedBlock, ModelExplainer
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.row_ids import row_ids
from tfx_explain.explainer_gen.sampling import Block, is_in
from tfx_explain.explainer_gen.shards import shard_count
from tfx_explain.explainer_gen.strata import SlicePlan
from tfx_explain.explainer_gen.transit import PackedInTransit, travels
from tfx_explain.names import NUM_BUCKETS

_ROWS_TOGETHER = 16_384
"""Rows that are predicted in one call, where a batch is smaller: one call costs as much as thousands of rows. All ten
repeats of a default batch fit in."""

Payload = tuple[np.ndarray, ...]
Items = Sequence[tuple[str, tuple[str, ...]]]
"""(name, raw features that are replaced together)."""


@travels
@dataclasses.dataclass(frozen=True)
class DonorBlock(PackedInTransit):
    """The explained rows of a block, as donors and as receivers.

    Attributes:
      index: of the block.
      raw: serialised examples [n] of a model that reads more of a receiver than its payloads, else none.
      payloads: what a row gives, by raw feature: arrays [n, ...].
      weight: float64 [n].
      bucket: int [n].
      label: float64 [n].
      stratum: S16 [n], or None without strata.
      member_row, member_place: as in ExplainedBlock.
    """

    index: int
    raw: list[bytes]
    payloads: Mapping[str, Payload]
    weight: np.ndarray
    bucket: np.ndarray
    label: np.ndarray
    stratum: np.ndarray | None
    member_row: np.ndarray
    member_place: np.ndarray

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.weight)

    @property
    def payload_bytes(self) -> int:
        """Bytes of what its rows give."""
        return sum(
            sum(len(v) for v in array.ravel()) if array.dtype == object else array.nbytes
            for payload in self.payloads.values()
            for array in payload
        )


@dataclasses.dataclass(frozen=True)
class DonorFacts:
    """What the plan needs to know of a block of donors."""

    index: int
    rows: int
    stratum: np.ndarray | None
    payload_bytes: int
    weights: frozenset[float]  # two of them tell that not all rows weigh the same


def donor_facts(block: DonorBlock) -> DonorFacts:
    """The facts of one block."""
    weights = frozenset({float(block.weight.min()), float(block.weight.max())} if block.rows else ())
    return DonorFacts(block.index, block.rows, block.stratum, block.payload_bytes, weights)


@dataclasses.dataclass(frozen=True)
class PermutationPlan:
    """Who gives to whom; made once, and read by all workers.

    Attributes:
      starts: first rank of each block, by block: int64 [blocks + 1].
      blocks: numbers of the blocks, rising: int64 [blocks].
      donors: of each rank.
      content: fingerprint of the rows, from which the offsets come.
      side_input: donors fit into one side input.
      repeats: donors of every row and item.
      weighted: not all rows weigh the same.
      places: slices that get permutation importance.
      alone: rows that are the only one of their stratum, and so keep their own values.
    """

    starts: np.ndarray
    blocks: np.ndarray
    donors: Donors
    content: str
    side_input: bool
    repeats: int
    weighted: bool
    places: frozenset[int]
    alone: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.starts[-1])

    def ranks(self, block: int) -> np.ndarray:
        """Ranks of a block's rows."""
        at = int(np.searchsorted(self.blocks, block))
        return np.arange(self.starts[at], self.starts[at + 1])

    def of(self, ranks: np.ndarray, item: str) -> np.ndarray:
        """Donors' ranks: int64 [repeats, k]."""
        return self.donors.of_repeats(ranks, self.content, item, range(self.repeats))


def plan_permutation(
    _: object,
    facts: Sequence[DonorFacts],
    content: tuple[int, int],
    config: PermutationImportanceConfig,
    slices: SlicePlan,
) -> PermutationPlan:
    """The plan for all blocks' rows."""
    ordered = sorted(facts, key=lambda f: f.index)
    starts = np.concatenate([[0], np.cumsum([f.rows for f in ordered])]).astype(np.int64)
    alone = 0
    if ordered and ordered[0].stratum is not None:
        strata = np.concatenate([f.stratum for f in ordered if f.stratum is not None])
        _, codes, counts = np.unique(strata, return_inverse=True, return_counts=True)
        donors, alone = Donors.within(codes), int((counts == 1).sum())
    else:
        donors = Donors.marginal(int(starts[-1]))
    kept = [i for i, key in enumerate(slices.keys) if key in slices.required or not i]
    largest = [i for i in range(1, 1 + len(slices.rows)) if i not in kept][: config.max_slices]
    return PermutationPlan(
        starts=starts,
        blocks=np.array([f.index for f in ordered], np.int64),
        donors=donors,
        content=f"{content[0]}:{content[1]:032x}",
        side_input=sum(f.payload_bytes for f in ordered) <= config.max_side_input_bytes,
        repeats=config.repeats,
        weighted=len(frozenset().union(*(f.weights for f in ordered))) > 1,
        places=frozenset((*kept, *largest)),
        alone=alone,
    )


@dataclasses.dataclass(frozen=True)
class Given:
    """What one item's donors give to some rows of a block, in one repeat.

    Attributes:
      rows: positions in the receiving block [k].
      payload: by raw feature, arrays [k, ...].
      bucket, weight: of the donors [k].
    """

    rows: np.ndarray
    payload: Mapping[str, Payload]
    bucket: np.ndarray
    weight: np.ndarray


class DonorTable:
    """All donors in memory: the plan for samples that fit into one side input."""

    def __init__(self, blocks: Sequence[DonorBlock]):
        """Joins the blocks, in order."""
        ordered = sorted((b for b in blocks if b.rows), key=lambda b: b.index)
        self._payloads = {
            feature: tuple(
                np.concatenate([b.payloads[feature][i] for b in ordered])
                for i in range(len(ordered[0].payloads[feature]))
            )
            for feature in ordered[0].payloads
        }
        self._bucket = np.concatenate([b.bucket for b in ordered])
        self._weight = np.concatenate([b.weight for b in ordered])

    def give(self, donors: np.ndarray, features: Sequence[str]) -> list[Given]:
        """What the rows of these ranks [repeats, k] give, by repeat."""
        rows = np.arange(donors.shape[1])
        return [
            Given(
                rows,
                {f: tuple(a[at] for a in self._payloads[f]) for f in features},
                self._bucket[at],
                self._weight[at],
            )
            for at in _stretches(donors)
        ]


def _stretches(index: np.ndarray) -> list[np.ndarray | slice]:
    """Of rows of numbers [m, k] those that follow each other as slices, which copy nothing."""
    following = (index[:, 1:] - index[:, :-1] == 1).all(axis=1)
    return [
        slice(row[0], row[-1] + 1) if one and len(row) else row
        for row, one in zip(index, following.tolist(), strict=True)
    ]


def send(block: DonorBlock, plan: PermutationPlan, items: Items) -> Iterator[tuple[int, dict[tuple[int, int], Given]]]:
    """(receiving block, {(item, repeat): what it gets from this block}): the plan for samples of any size.

    Without strata a block gives to two others, or three where the ranks wrap around.
    """
    ranks = plan.ranks(block.index)
    out: dict[int, dict[tuple[int, int], Given]] = {}
    for number, (name, features) in enumerate(items):
        for repeat in range(plan.repeats):
            receivers = plan.donors.receivers(ranks, plan.content, name, repeat)
            place = np.searchsorted(plan.starts, receivers, side="right") - 1
            for target in np.unique(place):
                chosen = np.nonzero(place == target)[0]
                given = Given(
                    receivers[chosen] - plan.starts[target],
                    {f: tuple(a[chosen] for a in block.payloads[f]) for f in features},
                    block.bucket[chosen],
                    block.weight[chosen],
                )
                out.setdefault(int(plan.blocks[target]), {})[number, repeat] = given
    yield from out.items()


def joined(parts: Sequence[Given], rows: int) -> Given:
    """The parts that a block got for one item and repeat, in the order of its rows.

    Raises:
      ValueError: a row got nothing, or twice.
    """
    at = np.concatenate([p.rows for p in parts])
    order = np.argsort(at)
    if not np.array_equal(at[order], np.arange(rows)):
        raise ValueError(f"every one of the {rows} rows must get one donor. Received: {len(at)}")
    payload = {
        f: tuple(np.concatenate([p.payload[f][i] for p in parts])[order] for i in range(len(parts[0].payload[f])))
        for f in parts[0].payload
    }
    bucket, weight = (np.concatenate([getattr(p, n) for p in parts])[order] for n in ("bucket", "weight"))
    return Given(at[order], payload, bucket, weight)


def donors_of(explainer: ModelExplainer, block: Block, explained: ExplainedBlock) -> DonorBlock | None:
    """The explained rows of a block that have a label, or None where nothing is to be permuted."""
    rows = explained.rows
    if explainer.permutation is None or rows.label is None or explained.facts.task is None:
        return None
    labelled = np.nonzero(np.isfinite(rows.label))[0]
    chosen = np.nonzero(is_in(block.ids, explained.ids))[0][labelled]
    raw = [block.raw[i] for i in chosen]
    config = explainer.config.permutation_importance
    position = np.full(len(rows.label), -1)
    position[labelled] = np.arange(len(labelled))
    member = position[explained.member_row]
    payloads: Mapping[str, Payload] = {}
    if raw:
        payloads = {f: _first(p, len(raw)) for f, p in explainer.narrow(raw).payloads.items()}
    return DonorBlock(
        index=block.index,
        raw=raw if explainer.permutation.needs_examples else [],
        payloads=payloads,
        weight=rows.weight[labelled],
        bucket=rows.bucket[labelled],
        label=rows.label[labelled],
        stratum=_strata(raw, config.strata) if config.strata else None,
        member_row=member[member >= 0],
        member_place=explained.member_place[member >= 0],
    )


def _strata(raw: Sequence[bytes], features: Sequence[str]) -> np.ndarray:
    """Id of each row's values of some features: S16 [rows]."""
    columns = decode(raw)
    own = {key: column for key, column in columns.columns.items() if key[0] in features}
    return row_ids(Columns(own, columns.readable), raw)


def _first(payload: Payload, rows: int) -> Payload:
    return tuple(array[:rows] for array in payload)


def without_rows(block: DonorBlock) -> DonorBlock:
    """What donors are needed for: no raw examples."""
    return dataclasses.replace(block, raw=[])


def without_payloads(block: DonorBlock) -> DonorBlock:
    """What slices are needed for: neither payloads nor raw examples."""
    return dataclasses.replace(block, raw=[], payloads={})


def permute(
    explainer: ModelExplainer,
    block: DonorBlock,
    items: Items,
    plan: PermutationPlan,
    give: Callable[[int], Sequence[Given]],
) -> PermutedRows:
    """Predicts a block once for every item and repeat, in batches of the one fixed shape.

    Args:
      explainer: the model.
      block: the receiving rows.
      items: what is replaced.
      plan: of all blocks.
      give: item -> what the rows get, by repeat.
    """
    model = explainer.permutation
    if model is None or explainer.facts.task is None:
        raise ValueError("a block is permuted only where there are labels and a model. Received: none")
    repeats = plan.repeats
    own, base, copies = _stacked(explainer, model, block, repeats)
    rows, size, targets = block.rows, explainer.config.batch_size, explainer.facts.num_targets
    scores = np.zeros((len(items), repeats, rows, targets), np.float32)
    donor_bucket = np.zeros((len(items), repeats, rows), np.uint8)
    donor_weight = np.zeros((len(items), repeats, rows), np.float32) if plan.weighted else None
    for item in range(len(items)):
        given = give(item)
        for first in range(0, repeats, copies):
            places = range(first, min(first + copies, repeats))
            parts = given[first : first + copies]
            replaced = {
                feature: tuple(
                    _placed(array, [part.payload[feature][i] for part in parts], size)
                    for i, array in enumerate(own.payloads[feature])
                )
                for feature in parts[0].payload
            }
            predicted = model.predict_permuted(own, replaced)
            for copy, (repeat, part) in enumerate(zip(places, parts, strict=True)):
                scores[item, repeat] = predicted[copy * size : copy * size + rows]
                donor_bucket[item, repeat] = part.bucket
                if donor_weight is not None:
                    donor_weight[item, repeat] = part.weight
    return PermutedRows.of(
        explainer.facts.task,
        explainer.facts.unit,
        label=block.label,
        base_scores=base[:rows],
        permuted_scores=scores,
        bucket=block.bucket,
        weight=block.weight,
        donor_bucket=donor_bucket,
        donor_weight=donor_weight,
    )


def _stacked(
    explainer: ModelExplainer, model: PermutationModel, block: DonorBlock, repeats: int
) -> tuple[Narrow, np.ndarray, int]:
    """(the padded block several times over, its predictions, how many times): repeats are predicted together.

    How many depends on the model and the configuration alone, so that every batch has one fixed shape; a model that
    takes batches of one size only gets one block at a time.
    """
    size, together = explainer.config.batch_size, min(_ROWS_TOGETHER, model.rows_at_once)
    calls = -(-repeats // max(1, together // size))
    copies = -(-repeats // calls)

    def stacked(copies: int) -> tuple[Narrow, np.ndarray, int]:
        if model.needs_examples:
            own = explainer.narrow(block.raw, copies)
        else:  # padded by its own rows
            padded = {f: [np.resize(a, (size, *a.shape[1:])) for a in arrays] for f, arrays in block.payloads.items()}
            own = model.stack(padded, copies)
        return own, model.predict(own), copies

    try:
        return stacked(copies)
    except ExampleError:
        if copies == 1:
            raise
    return stacked(1)


def _placed(array: np.ndarray, values: Sequence[np.ndarray], size: int) -> np.ndarray:
    """A payload of stacked blocks, `size` rows each, in which the first rows of each block are replaced."""
    if sum(map(len, values)) == len(array):
        return np.concatenate(values)
    out = array.copy()
    for copy, own in enumerate(values):
        out[copy * size : copy * size + len(own)] = own
    return out


def permuted_parts(
    element: tuple[DonorBlock, PermutedRows], plan: PermutationPlan, slices: SlicePlan, max_examples: int
) -> Iterable[tuple[tuple[int, int], tuple[int, PermutedRows]]]:
    """((slice, shard), (block, its rows)): a slice with many rows is summed in several shards of whole buckets."""
    block, rows = element
    order = np.argsort(block.member_place, kind="stable")
    places = block.member_place[order]
    for place in np.unique(places):
        if int(place) not in plan.places:
            continue
        chosen = block.member_row[order[places == place]]
        shards = shard_count(slices, int(place), max_examples)
        shard = block.bucket[chosen] * shards // NUM_BUCKETS
        for number in np.unique(shard):
            yield (int(place), int(number)), (block.index, rows.take(_stretches(chosen[None, shard == number])[0]))


def sum_permuted(
    element: tuple[tuple[int, int], Iterable[tuple[int, PermutedRows]]], scale: Scale
) -> tuple[int, tuple[int, PermutationStatistics]]:
    """(slice, (shard, sums)), in the order of the rows."""
    (place, shard), parts = element
    rows = PermutedRows.concatenate([part for _, part in sorted(parts, key=lambda p: p[0])])
    names = tuple(name for name, _ in scale.items)
    return place, (shard, accumulate(names, rows, scale.score_edges))


def finish_permuted(
    element: tuple[int, Iterable[tuple[int, PermutationStatistics]]], spec: JobSpec, content: tuple[int, int]
) -> tuple[int, dict[str, dict[str, Importance]]]:
    """(slice, importances by item and metric)."""
    place, shards = element
    total = sum_in_order(shards)
    return place, importances(total, bucket_draws(draw_seed(spec, content)))
