"""What is published of one slice, from its sums."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tfx_explain.engine.aggregates.buckets import BucketStatistics
from tfx_explain.engine.aggregates.groups import GroupStatistics, group_shares
from tfx_explain.engine.aggregates.intervals import Measured, bucket_draws, measure
from tfx_explain.engine.aggregates.metrics import prediction_metrics, unconverged_fraction
from tfx_explain.engine.aggregates.sketch import QuantileSketch
from tfx_explain.engine.aggregates.statistics import (
    SliceStatistics,
    shares_known,
    slice_statistics,
    total_attribution,
)
from tfx_explain.explainer_gen.transit import travels

_DRAWS_OF_SHOWN_SLICES = 200


@travels
@dataclasses.dataclass(frozen=True)
class SliceSums:
    """All sums of a slice, or of a shard of it."""

    statistics: BucketStatistics
    sketch: QuantileSketch
    groups: GroupStatistics

    def __add__(self, other: SliceSums) -> SliceSums:
        return SliceSums(self.statistics + other.statistics, self.sketch + other.sketch, self.groups + other.groups)

    @classmethod
    def of_shards(cls, shards: Iterable[tuple[int, SliceSums]]) -> SliceSums:
        """Sums of a slice from (number, sums) of its shards in any order, never holding all of them.

        Shards hold whole buckets, so sums by bucket are the same bits in whatever order they are added. Sketches are
        not by bucket: they are kept, being small, and added in the order of their numbers.
        """
        statistics: BucketStatistics | None = None
        groups: GroupStatistics | None = None
        sketches: dict[int, QuantileSketch] = {}
        for number, sums in shards:
            statistics = sums.statistics if statistics is None else statistics + sums.statistics
            groups = sums.groups if groups is None else groups + sums.groups
            sketches[number] = sums.sketch
        if statistics is None or groups is None:
            raise ValueError("a slice must have at least one shard. Received: none")
        first, *others = (sketches[number] for number in sorted(sketches))
        return cls(statistics, functools.reduce(operator.add, others, first), groups)


@travels
@dataclasses.dataclass(frozen=True)
class SliceOutcome:
    """What is published of a slice.

    Attributes:
      place: number of the slice in the plan; 0 is the overall one.
      rows, weight, effective_rows, failed_rows, failed_weight_fraction: of the distinct rows.
      unconverged: weight of rows that did not converge, as a share.
      prediction: mean prediction.
      statistics: per feature.
      metrics: of the predictions.
      group_shares: by group's name.
      sums: of the overall and the required slices: what intervals and later comparisons are made of; else None.
    """

    place: int
    rows: int
    weight: float
    effective_rows: float
    failed_rows: int
    failed_weight_fraction: float
    unconverged: Measured
    prediction: float
    statistics: SliceStatistics
    metrics: Mapping[str, Measured]
    group_shares: Mapping[str, Measured]
    sums: SliceSums | None


def outcome_of(
    place: int, sums: SliceSums, seed: int, task: str | None, ordered: Sequence[bool], floor: float, keep_sums: bool
) -> SliceOutcome:
    """Statistics of one slice with their intervals.

    Args:
      place: number of the slice.
      sums: its sums.
      seed: of the draws; the same for all slices.
      task: which metrics there are; None for none.
      ordered: [F] features whose value bins have an order.
      floor: least total mean |attribution| at which shares are known.
      keep_sums: whether the outcome holds the sums.
    """
    draws = bucket_draws(seed)
    if not keep_sums:  # what no check reads gets by with fewer of the same draws
        draws = draws[: 1 + _DRAWS_OF_SHOWN_SLICES]
    statistics = sums.statistics
    weight = statistics.total_weight
    shares = group_shares(sums.groups, statistics, draws)
    if not shares_known(total_attribution(statistics), floor):
        shares = np.full_like(shares, np.nan)
    filled = statistics.filled_buckets
    return SliceOutcome(
        place=place,
        rows=int(statistics.scalars["rows"].sum()),
        weight=weight,
        effective_rows=statistics.effective_rows,
        failed_rows=int(statistics.scalars["failed_rows"].sum()),
        failed_weight_fraction=statistics.failed_weight_fraction,
        unconverged=unconverged_fraction(statistics, draws),
        prediction=float(statistics.scalars["sum_prediction"].sum()) / weight if weight else float("nan"),
        statistics=slice_statistics(statistics, sums.sketch, draws, ordered, floor),
        metrics=prediction_metrics(statistics, draws, task) if task is not None else {},
        group_shares={name: measure(shares[:, j], filled) for j, (name, _) in enumerate(sums.groups.groups)},
        sums=sums if keep_sums else None,
    )
