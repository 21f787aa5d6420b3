"""Profile of a raw feature over the sample: its kind, central value and value bins."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from tfx_explain.artifacts.pins import Pins
from tfx_explain.engine.aggregates.bins import FeatureBins, category_bins, decile_bins, quantile_bins
from tfx_explain.engine.aggregates.weighted_order import finite_order
from tfx_explain.engine.methods.input_baseline import central_value, lower_median
from tfx_explain.explainer_gen.columns import Column
from tfx_explain.explainer_gen.sampling import Block

_Values = tuple[int, str, np.ndarray, np.ndarray, np.ndarray]


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


def feature_values(block: Block) -> Iterable[tuple[str, _Values]]:
    """(feature, (block, kind, lengths, values, counts)) of the rows that have a value."""
    for (name, kind), column in sorted(block.columns.columns.items()):
        present = column.lengths > 0
        yield name, (block.index, kind, _small(column.lengths[present]), column.values, _small(block.count[present]))


def _small(values: np.ndarray) -> np.ndarray:
    """Integers >= 0 in the smallest type that holds them: one byte where every row has one value."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def profile(values: tuple[str, Iterable[_Values]], categorical_ints: frozenset[str]) -> FeatureProfile:
    """Joins (feature, its values of all blocks), in the blocks' order.

    Where rows disagree on the kind, the kind that holds more weight is the feature's; the model's parser will refuse
    the other rows.
    """
    name, parts = values
    ordered = sorted(parts, key=lambda p: (p[1], p[0]))
    weight = {kind: sum(int(p[4].sum()) for p in ordered if p[1] == kind) for kind in "bfi"}
    kind = max(weight, key=lambda k: (weight[k], k))
    chosen = [p for p in ordered if p[1] == kind]
    lengths, counts = (np.concatenate([p[i] for p in chosen]).astype(np.int64) for i in (2, 4))
    flat = np.concatenate([p[3] for p in chosen])
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
    values: dict[str, list[_Values]] = {}
    for block in blocks:
        for name, value in feature_values(block):
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
