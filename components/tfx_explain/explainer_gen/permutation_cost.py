"""What permutation importance costs: the steps of the job, timed on one block."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from tfx_explain.engine.aggregates.permuted_rows import PermutedRows
from tfx_explain.explainer_gen.aggregate import Scale
from tfx_explain.explainer_gen.explain import ExplainedBlock, ModelExplainer
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.permute import (
    DonorBlock,
    DonorTable,
    Given,
    Items,
    PermutationPlan,
    donor_facts,
    donors_of,
    finish_permuted,
    permute,
    plan_permutation,
    sum_permuted,
)
from tfx_explain.explainer_gen.sampling import Block
from tfx_explain.explainer_gen.strata import SlicePlan

_SECONDS = 10.0  # for predictions; a model that needs more is timed on some of the items
_ITEMS_SUMMED, _ROWS_SUMMED = 8, 4096  # sums of more are timed alike


@dataclasses.dataclass(frozen=True)
class PermutationCost:
    """Seconds, at the configured repeats.

    Attributes:
      row: of a row, whatever is permuted: it is encoded, as a donor and as a receiver, and predicted as it is.
      pair: of a row, item and repeat: its prediction, and its sums in all of the row's slices.
      item: of an item in each slice: its importances are finished.
    """

    row: float = 0.0
    pair: float = 0.0
    item: float = 0.0


def permutation_cost(
    explainer: ModelExplainer,
    spec: JobSpec,
    block: Block,
    explained: ExplainedBlock,
    slices: SlicePlan,
    scale: Scale,
    rows_of_job: int,
) -> PermutationCost:
    """Takes one block through the steps of permutations; nothing where the block has no labels, or nothing is permuted.

    Args:
      explainer: the model.
      spec: the job.
      block: its rows.
      explained: the block's attributions.
      slices: those that the block's rows are in.
      scale: of the block.
      rows_of_job: that will be explained.
    """
    at = time.monotonic()
    donors = donors_of(explainer, block, explained)
    encoded = time.monotonic() - at
    if donors is None or not donors.rows or not scale.items:
        return PermutationCost()
    config = spec.config.permutation_importance
    plan = plan_permutation(None, [donor_facts(donors)], (0, 0), config, slices)
    _timed(explainer, donors, scale.items[:1], plan)  # the first call of this shape
    one, _ = _timed(explainer, donors, scale.items[:1], plan)
    few = int(np.clip(_SECONDS / max(one, 1e-9), 1, len(scale.items)))
    # Spread over all of them, since a text costs more than a number.
    chosen = [scale.items[i] for i in np.linspace(0, len(scale.items) - 1, few).astype(int)]
    several, permuted = _timed(explainer, donors, chosen, plan)
    of_item = min((several - one) / (few - 1) if few > 1 else one, several / few)
    rows, repeats = len(block.ids), plan.repeats
    summed, finished = _sum_seconds(spec, donors, permuted, chosen, slices, scale, rows_of_job)
    return PermutationCost(
        row=(encoded + max(several - few * of_item, 0.0)) / rows,
        pair=of_item / (rows * repeats) + summed / rows,
        item=finished,
    )


def _timed(
    explainer: ModelExplainer, donors: DonorBlock, items: Items, plan: PermutationPlan
) -> tuple[float, PermutedRows]:
    """(seconds that it takes to permute some items of a block, at all repeats; the predictions)."""
    at = time.monotonic()
    table, ranks = DonorTable([donors]), plan.ranks(donors.index)

    def give(item: int) -> list[Given]:
        name, features = items[item]
        return table.give(plan.of(ranks, name), features)

    permuted = permute(explainer, donors, items, plan, give)
    return time.monotonic() - at, permuted


def _sum_seconds(
    spec: JobSpec,
    donors: DonorBlock,
    permuted: PermutedRows,
    items: Items,
    slices: SlicePlan,
    scale: Scale,
    rows_of_job: int,
) -> tuple[float, float]:
    """Seconds of sums and of importances, from the predictions for some items.

    Of a slice as many rows are taken as the job has in it, some of them repeatedly, up to what is summed at a time.

    Returns:
      Of one item and repeat of all rows of the block, each summed in all of its slices; of an item that is finished.
    """
    few = slice(_ITEMS_SUMMED)
    items = items[few]
    some = dataclasses.replace(
        permuted,
        permuted=permuted.permuted[few],
        donor_bucket=permuted.donor_bucket[few],
        donor_weight=None if permuted.donor_weight is None else permuted.donor_weight[few],
    )
    kept = dataclasses.replace(scale, items=tuple(items))
    pairs = len(items) * some.permuted.shape[1]
    summed = finished = 0.0
    largest = spec.config.permutation_importance.max_slices
    for place in np.unique(donors.member_place):
        if place and not largest:
            continue
        rows = donors.member_row[donors.member_place == place]
        size = int(np.clip(rows_of_job * len(rows) / donors.rows, 1, _ROWS_SUMMED))
        at = time.monotonic()
        part = sum_permuted(((int(place), 0), [(donors.index, some.take(np.resize(rows, size)))]), kept)
        summed += (time.monotonic() - at) * len(rows) / (size * pairs)
        if not place:
            at = time.monotonic()
            finish_permuted((0, [part[1]]), spec, (0, 0))
            finished = (time.monotonic() - at) / len(items)
    return summed, finished
