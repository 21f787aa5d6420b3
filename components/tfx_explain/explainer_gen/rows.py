"""Row files: one Parquet file a block and split."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tfx_explain.artifacts.statistics import to_parquet
from tfx_explain.explainer_gen.columns import Column
from tfx_explain.explainer_gen.explain import ExplainedBlock
from tfx_explain.explainer_gen.profiles import FeatureProfile
from tfx_explain.explainer_gen.row_ids import hexadecimal


def attribution_columns(features: Sequence[str]) -> dict[str, str]:
    """Raw feature -> column name: letters, digits and `_`, unique whatever the case."""
    return _columns("attribution", features)


def kept_columns(features: Sequence[str]) -> dict[str, str]:
    """Pass-through feature -> column name."""
    return _columns("feature", features)


def _columns(prefix: str, features: Sequence[str]) -> dict[str, str]:
    out: dict[str, str] = {}
    taken: set[str] = set()
    for feature in features:
        stem = name = f"{prefix}_" + re.sub(r"[^A-Za-z0-9_]", "_", feature)
        number = 2
        while name.lower() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.lower())
        out[feature] = name
    return out


def row_files(
    block: ExplainedBlock,
    splits: Sequence[str],
    blocks: int,
    slices: Sequence[str],
    keep_features: Sequence[str],
    profiles: Sequence[FeatureProfile],
) -> dict[str, tuple[bytes, int]]:
    """Path -> (Parquet bytes, rows) of one block; a row stands under the first split that holds it.

    Args:
      block: the rows.
      splits: names of the splits.
      blocks: how many blocks there are.
      slices: names of the plan's slices.
      keep_features: raw features whose values are passed through.
      profiles: of the raw features; they say whether a pass-through column holds lists, in all files alike.
    """
    out = {}
    columns, kept = attribution_columns(block.facts.features), kept_columns(keep_features)
    known = {p.name: p for p in profiles}
    for number, split in enumerate(splits):
        chosen = np.nonzero(block.split == number)[0]
        if not len(chosen):
            continue
        table: dict[str, pa.Array] = {
            "id": pa.array(hexadecimal(block.ids[chosen]), pa.string()),
            "count": pa.array(block.count[chosen], pa.int64()),
            "weight": pa.array(block.rows.weight[chosen], pa.float64()),
            "bucket": pa.array(block.rows.bucket[chosen].astype(np.int32), pa.int32()),
            "slice": _slices(block, slices).take(pa.array(chosen)),
            "target": pa.array(block.target[chosen], pa.int32()),
            "prediction": pa.array(block.rows.prediction[chosen], pa.float64()),
            "convergence_delta": pa.array(block.convergence_delta[chosen].astype(np.float32), pa.float32()),
            "num_steps": pa.array(block.num_steps[chosen].astype(np.int32), pa.int32()),
        }
        if block.facts.class_names is not None:
            names = np.array(block.facts.class_names, object)
            table["target_name"] = pa.array(names[block.target[chosen]], pa.string())
        for j, feature in enumerate(block.facts.features):
            table[columns[feature]] = pa.array(block.rows.attributions[chosen, j].astype(np.float32), pa.float32())
        for feature in keep_features:
            table[kept[feature]] = _kept(block.kept.get(feature), known.get(feature), chosen)
        path = f"Split-{split}/attributions-{block.index:05d}-of-{blocks:05d}.parquet"
        out[path] = (to_parquet(pa.table(table)), len(chosen))
    return out


def _slices(block: ExplainedBlock, names: Sequence[str]) -> pa.ListArray:
    """Names of the slices of each row; a pair list is sorted by row."""
    offsets = np.searchsorted(block.member_row, np.arange(len(block.ids) + 1)).astype(np.int32)
    values = pa.array(names, pa.string()).take(pa.array(block.member_place))
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _kept(column: Column | None, profile: FeatureProfile | None, chosen: np.ndarray) -> pa.Array:
    """A pass-through feature: null where a row has none; lists where any row of the sample has several values."""
    type_ = {"i": pa.int64(), "f": pa.float32(), "b": pa.binary()}[profile.kind if profile else "b"]
    several = profile is not None and profile.max_values > 1
    if column is None:
        return pa.nulls(len(chosen), pa.list_(type_) if several else type_)
    part = column.take(chosen)
    if not several:
        first, present = part.first()
        return pa.array(first, type_, mask=~present)
    return pa.ListArray.from_arrays(pa.array(part.offsets.astype(np.int32)), pa.array(part.values, type_))
