"""Row files: one Parquet file a block and split."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tfx_explain.artifacts.statistics import to_parquet
from tfx_explain.explainer_gen.explain import ExplainedBlock
from tfx_explain.explainer_gen.row_ids import hexadecimal
from tfx_explain.names import OVERALL


def attribution_columns(features: Sequence[str]) -> dict[str, str]:
    """Raw feature -> column name: letters, digits and `_`, unique whatever the case."""
    out: dict[str, str] = {}
    taken: set[str] = set()
    for feature in features:
        stem = name = "attribution_" + re.sub(r"[^A-Za-z0-9_]", "_", feature)
        number = 2
        while name.lower() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.lower())
        out[feature] = name
    return out


def row_files(block: ExplainedBlock, splits: Sequence[str], blocks: int) -> dict[str, tuple[bytes, int]]:
    """Path -> (Parquet bytes, rows) of one block; a row stands under the first split that holds it."""
    out = {}
    columns = attribution_columns(block.facts.features)
    for number, split in enumerate(splits):
        chosen = block.split == number
        if not chosen.any():
            continue
        table: dict[str, pa.Array] = {
            "id": pa.array(hexadecimal(block.ids[chosen]), pa.string()),
            "count": pa.array(block.count[chosen], pa.int64()),
            "weight": pa.array(block.rows.weight[chosen], pa.float64()),
            "bucket": pa.array(block.rows.bucket[chosen].astype(np.int32), pa.int32()),
            "slice": pa.array([[OVERALL]] * int(chosen.sum()), pa.list_(pa.string())),
            "target": pa.array(block.target[chosen], pa.int32()),
            "prediction": pa.array(block.rows.prediction[chosen], pa.float64()),
            "convergence_delta": pa.array(block.convergence_delta[chosen].astype(np.float32), pa.float32()),
            "num_steps": pa.array(block.num_steps[chosen].astype(np.int32), pa.int32()),
        }
        for j, feature in enumerate(block.facts.features):
            table[columns[feature]] = pa.array(block.rows.attributions[chosen, j].astype(np.float32), pa.float32())
        path = f"Split-{split}/attributions-{block.index:05d}-of-{blocks:05d}.parquet"
        out[path] = (to_parquet(pa.table(table)), int(chosen.sum()))
    return out
