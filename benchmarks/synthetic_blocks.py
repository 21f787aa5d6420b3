"""Explained rows of a known additive model: what the benchmarks aggregate, without a network behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tfx_explain.config import ExplainConfig
from tfx_explain.engine.aggregates.bins import FeatureBins
from tfx_explain.engine.aggregates.buckets import Rows
from tfx_explain.explainer_gen.columns import Column, Columns
from tfx_explain.explainer_gen.explain import ExplainedBlock
from tfx_explain.explainer_gen.job_spec import JobSpec, ModelFacts
from tfx_explain.explainer_gen.labels import label_fields
from tfx_explain.explainer_gen.profiles import FeatureProfile
from tfx_explain.explainer_gen.row_ids import ID_DTYPE, buckets
from tfx_explain.explainer_gen.shards import Shards, shards_of
from tfx_explain.explainer_gen.slicing import SliceAssigner, Slicing
from tfx_explain.explainer_gen.strata import ALL, SlicePlan
from tfx_explain.names import SliceKey

BLOCK_ROWS = 1024
PLACE, HOUR = "place", "hour"
SLICING = Slicing((((PLACE,), ()), ((HOUR,), ())))
"""With the overall slice, every row is in three."""

# Deciles of the standard normal distribution.
_EDGES = (-1.281552, -0.841621, -0.524401, -0.253347, 0.0, 0.253347, 0.524401, 0.841621, 1.281552)


@dataclasses.dataclass(frozen=True)
class Population:
    """Rows of a logit that adds up: attribution = coefficient * value, values standard normal, input baseline 0.

    Attributes:
      features: how many are attributed, F.
      places, hours: values of the two features that are sliced on; 1 + places + hours slices.
    """

    features: int
    places: int
    hours: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the attributed features."""
        return tuple(f"f{i:03d}" for i in range(self.features))

    @property
    def profiles(self) -> list[FeatureProfile]:
        """Of the attributed features: ten value bins each."""
        return [FeatureProfile(name, "f", (0.0,), FeatureBins(edges=_EDGES)) for name in self.names]

    @property
    def facts(self) -> ModelFacts:
        """What the model turned out to be."""
        return ModelFacts(features=self.names, link="sigmoid", unit="logit", num_targets=1, target="0", task="binary")

    def spec(self, rows: int) -> JobSpec:
        """A job that explains all rows."""
        return JobSpec("", ExplainConfig(max_examples=rows, batch_size=BLOCK_ROWS), SLICING, fingerprint="benchmark")

    def shards(self, rows: int) -> Shards:
        """Where the slices of the plan are summed."""
        return shards_of(self.plan(rows), rows, self.features)

    def plan(self, rows: int) -> SlicePlan:
        """Every slice is kept and no row is left out."""
        counts: dict[SliceKey, int] = {
            ((HOUR, value),): len(range(value, rows, self.hours)) for value in range(self.hours)
        }
        counts |= {((PLACE, name),): len(range(i, rows, self.places)) for i, name in enumerate(self._place_names)}
        return SlicePlan(ALL, counts, {}, {}, 0, (), ())

    def rows(self, start: int, count: int) -> SyntheticRows:
        """Rows `start` to `start + count`; the same whatever else is made."""
        rng = np.random.default_rng([start, self.features])
        values = rng.standard_normal((count, self.features), np.float32)
        attributions = values * self._coefficients
        score = attributions.sum(axis=1, dtype=np.float64)
        number = np.arange(start, start + count)
        return SyntheticRows(
            ids=np.ascontiguousarray(rng.integers(0, 2**64, (count, 2), np.uint64)).view(ID_DTYPE).reshape(-1),
            place=np.array(self._place_names, object)[number % self.places],
            hour=(number % self.hours).astype(np.int64),
            values=values,
            attributions=attributions,
            score=score,
            label=(rng.random(count) < 1 / (1 + np.exp(-score))).astype(np.float64),
            weight=rng.integers(1, 4, count).astype(np.float64),
        )

    def chunks(self, rows: int) -> Iterator[SyntheticRows]:
        """All rows, a block at a time."""
        for start in range(0, rows, BLOCK_ROWS):
            yield self.rows(start, min(BLOCK_ROWS, rows - start))

    @property
    def _place_names(self) -> list[bytes | str]:
        return [f"p{i:04d}" for i in range(self.places)]

    @property
    def _coefficients(self) -> np.ndarray:
        return (np.linspace(1.0, -0.5, self.features) / np.sqrt(self.features)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class SyntheticRows:
    """Some rows: arrays [n], `values` and `attributions` [n, F]."""

    ids: np.ndarray
    place: np.ndarray
    hour: np.ndarray
    values: np.ndarray
    attributions: np.ndarray
    score: np.ndarray
    label: np.ndarray
    weight: np.ndarray

    @property
    def columns(self) -> Columns:
        """The features that are sliced on, as decoded."""
        offsets = np.arange(len(self.ids) + 1, dtype=np.int64)
        place = np.array([name.encode() for name in self.place], object)
        columns = {(PLACE, "b"): Column(offsets, place), (HOUR, "i"): Column(offsets, self.hour)}
        return Columns(columns, np.ones(len(self.ids), bool))

    def statistics_rows(self) -> Rows:
        """What the statistics need of them."""
        return Rows(
            bucket=buckets(self.ids),
            weight=self.weight,
            attributions=self.attributions,
            converged=np.ones(len(self.ids), bool),
            prediction=self.score,
            bin_index=np.searchsorted(np.array(_EDGES), self.values, side="right").astype(np.int32),
            failed_bucket=np.zeros(0, np.int64),
            failed_weight=np.zeros(0),
            **label_fields("binary", "logit", self.label, self.score[:, None]),
        )

    def extracts(self, names: tuple[str, ...]) -> Mapping[str, Any]:
        """A batch as it stands in TFMA's pipeline after its extractors."""
        prediction = 1 / (1 + np.exp(-self.score))
        return {
            "features": {PLACE: self.place[:, None], HOUR: self.hour[:, None]},
            "labels": self.label[:, None],
            "predictions": prediction[:, None],
            "example_weights": self.weight[:, None],
            "attributions": {name: self.attributions[:, j] for j, name in enumerate(names)},
        }


def explained_block(
    index: int,
    rows: SyntheticRows,
    statistics_rows: Rows,
    columns: Columns,
    facts: ModelFacts,
    assigner: SliceAssigner,
    plan: SlicePlan,
) -> ExplainedBlock:
    """A block as a worker would give it, its slices assigned."""
    members = assigner.assign([b""] * len(rows.ids), columns)
    count = len(plan.names)
    pairs = np.unique(members.row * count + plan.places(members.keys)[members.slice])
    integers, none = np.zeros(len(rows.ids), np.int64), np.zeros(0, np.int64)
    return ExplainedBlock(
        index=index,
        facts=facts,
        ids=rows.ids,
        split=integers,
        count=integers + 1,
        target=integers,
        convergence_delta=np.zeros(len(rows.ids)),
        num_steps=integers,
        rows=statistics_rows,
        member_row=pairs // count,
        member_place=pairs % count,
        failed_member_row=none,
        failed_member_place=none,
        kept={},
        failures={},
        forward_equivalents=0.0,
    )
