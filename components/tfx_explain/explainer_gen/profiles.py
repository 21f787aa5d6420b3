"""Profile of a raw feature over the sample: its kind, central value and value bins."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from tfx_explain.artifacts.pins import Pins
from tfx_explain.engine.aggregates.bins import FeatureBins, category_bins, decile_bins, quantile_bins
from tfx_explain.engine.aggregates.weighted_order import finite_order
from tfx_explain.engine.methods.input_baseline import central_value, lower_median
from tfx_explain.explainer_gen.columns import Column, Columns
from tfx_explain.explainer_gen.sampling import Block
from tfx_explain.explainer_gen.transit import travels


@travels
@dataclasses.dataclass(frozen=True)
class FeatureValues:
    """What a block's rows say of one raw feature; rows without a value are left out.

    Attributes:
      block: its number.
      kind: `i`, `f` or `b`: int64, float or bytes.
      lengths: how many values each row has, [n].
      values: of all rows, row after row.
      counts: how many equal rows each row stands for, [n].
    """

    block: int
    kind: str
    lengths: np.ndarray
    values: np.ndarray
    counts: np.ndarray


@dataclasses.dataclass(frozen=True)
class FeatureProfile:
    """What the sample says of one raw feature.

    Attributes:
      name: of the raw feature.
      kind: `i`, `f` or `b`: int64, float or bytes.
      central: its median or mode.
      bins: its value bins.
      max_values: most values that a row has.
    """

    name: str
    kind: str
    central: tuple[float | int | bytes, ...]
    bins: FeatureBins
    max_values: int = 1


def feature_values(block: Block) -> Iterable[tuple[str, FeatureValues]]:
    """(feature, its values) of a block's rows."""
    return values_of(block.columns, block.count, block.index)


def values_of(columns: Columns, count: np.ndarray, block: int = 0) -> Iterable[tuple[str, FeatureValues]]:
    """(feature, its values) of decoded rows, of which each stands for `count` equal ones, int [rows]."""
    for (name, kind), column in sorted(columns.columns.items()):
        present = column.lengths > 0
        yield name, FeatureValues(block, kind, _small(column.lengths[present]), column.values, _small(count[present]))


def _small(values: np.ndarray) -> np.ndarray:
    """Integers >= 0 in the smallest type that holds them: one byte where every row has one value."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def profile(values: tuple[str, Iterable[FeatureValues]], categorical_ints: frozenset[str]) -> FeatureProfile:
    """Joins (feature, its values of all blocks), in the blocks' order.

    Where rows disagree on the kind, the kind that holds more weight is the feature's; the model's parser will refuse
    the other rows.
    """
    name, parts = values
    ordered = sorted(parts, key=lambda p: (p.kind, p.block))
    weight = {kind: sum(int(p.counts.sum()) for p in ordered if p.kind == kind) for kind in "bfi"}
    kind = max(weight, key=lambda k: (weight[k], k))
    chosen = [p for p in ordered if p.kind == kind]
    lengths = np.concatenate([p.lengths for p in chosen]).astype(np.int64)
    counts = np.concatenate([p.counts for p in chosen]).astype(np.int64)
    flat = np.concatenate([p.values for p in chosen])
    categorical = kind == "b" or name in categorical_ints
    if not categorical and (lengths == 1).all():  # one order of all values tells the median and the deciles
        order = finite_order(flat, counts)
        central, bins = np.array([lower_median(*order)], flat.dtype), decile_bins(*order)
    else:
        central = central_value(flat, lengths, counts, categorical)
        first, _ = Column(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), flat).first()
        bins = category_bins(first, counts) if categorical else quantile_bins(first, counts)
    plain = tuple(v if isinstance(v, bytes) else v.item() for v in central)
    return FeatureProfile(name, kind, plain, bins, int(lengths.max(initial=0)))


def profiles_of(blocks: Iterable[Block], categorical_ints: frozenset[str]) -> list[FeatureProfile]:
    """Profiles of all features of a few blocks, in the order in which they are met."""
    return profiles_from((pair for block in blocks for pair in feature_values(block)), categorical_ints)


def profiles_from(pairs: Iterable[tuple[str, FeatureValues]], categorical_ints: frozenset[str]) -> list[FeatureProfile]:
    """Profiles from (feature, its values) pairs, in the order in which features are met."""
    values: dict[str, list[FeatureValues]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return [profile(item, categorical_ints) for item in values.items()]


def feature_bins(
    features: Sequence[str], profiles: Iterable[FeatureProfile], pins: Pins | None
) -> dict[str, FeatureBins]:
    """Value bins of attributed features: pinned, else the sample's; a cross, or a feature never seen, has one."""
    known = known_bins(profiles, pins)
    return {f: known.get(f, FeatureBins(edges=())) for f in features}


def known_bins(profiles: Iterable[FeatureProfile], pins: Pins | None) -> dict[str, FeatureBins]:
    """Value bins by raw feature: pinned, else the sample's; none where the reference never saw one that it used."""
    if pins is None:
        return {p.name: p.bins for p in profiles}
    used = pins.raw_features
    return {p.name: p.bins for p in profiles if p.name not in used} | dict(pins.bins)
