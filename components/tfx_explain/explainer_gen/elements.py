"""Attributions of single pixels and tokens, of the rows with the smallest ids of each split."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from tfx_explain.artifacts.statistics import to_parquet
from tfx_explain.engine.aggregates.intervals import number
from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.explainer_gen.columns import Column, decode
from tfx_explain.explainer_gen.row_ids import hexadecimal

if TYPE_CHECKING:
    from tfx_explain.config import ExplainConfig
    from tfx_explain.explainer_gen.explain import ExplainedBlock, ModelExplainer
    from tfx_explain.explainer_gen.sampling import Block

SHOWN_ROWS = 8
"""Rows of each split whose maps the summary holds."""
_BATCH = 64
_MAX_SIDE = 56
_MAX_TOKENS = 512


class ElementsError(ValueError):
    """Elements are asked of a feature that the model does not have."""


@dataclasses.dataclass(frozen=True)
class ElementRow:
    """A row whose elements are to be attributed.

    Attributes:
      id: 16 bytes.
      raw: serialised example.
      target: output column that was explained.
      num_steps: nodes behind the row's attributions.
      prediction: the explained value.
    """

    id: bytes
    raw: bytes
    target: int
    num_steps: int
    prediction: float


@dataclasses.dataclass(frozen=True)
class ElementAttributions:
    """The elements of one feature in some rows.

    Attributes:
      feature: attributed feature.
      values: float32 [rows, ...], in the unit of the explained value; a row's sum is the feature's attribution.
      names: by row, what the elements are, as many as the row has; None where it is not known.
    """

    feature: str
    values: np.ndarray
    names: list[list[str] | None]


def element_rows(block: Block, out: ExplainedBlock, config: ExplainConfig) -> Iterable[tuple[int, ElementRow]]:
    """(split, row) of the rows of a block that may be among those with the smallest ids of their split."""
    if not config.elements.features or not config.write_rows or out.facts.error is not None:
        return
    place = {name: index for index, name in enumerate(block.ids.tolist())}
    for split in range(len(config.splits)):
        for i in np.nonzero(out.split == split)[0][: config.elements.max_rows]:  # a block is sorted by id
            name = out.ids[i].item()
            yield (
                split,
                ElementRow(
                    out.ids[i : i + 1].tobytes(),
                    block.raw[place[name]],
                    int(out.target[i]),
                    int(out.num_steps[i]),
                    float(out.rows.prediction[i]),
                ),
            )


def smallest_ids(max_rows: int) -> beam.PTransform:
    """(split, row) -> (split, the rows with the smallest ids, rising)."""
    return beam.combiners.Top.SmallestPerKey(max_rows, key=_id)


def _id(row: ElementRow) -> bytes:
    return row.id


def elements_of(
    model: FeatureModel, configured: Sequence[str], values: Mapping[str, int]
) -> tuple[tuple[str, ...], list[str]]:
    """(those of the configured features that have elements, why the others have none).

    Args:
      model: loaded.
      configured: names of features.
      values: most raw values that a row has, by feature.

    Raises:
      ElementsError: the model has no such feature.
    """
    known = {*model.features, *model.unused_features, *model.uncovered_features}
    found, notes = [], []
    for name in configured:
        if name not in known:
            raise ElementsError(
                f"elements.features must name features of the model, such as {sorted(known)[:20]}. Received: {name!r}"
            )
        if name not in model.features:
            notes.append(f"feature {name!r} has no attribution, so it has none by element")
            continue
        shapes = model.cut_shapes[name]
        if len(set(shapes)) != 1:
            notes.append(
                f"feature {name!r} is cut at tensors of different shapes, {sorted(set(shapes))}, and has no "
                f"attributions by element; set cut_policies: {{{name}: element}} for attributions per token"
            )
        elif len(shapes[0]) == 1 and shapes[0] != (values.get(name, 1),):
            notes.append(
                f"feature {name!r} is attributed as one vector; set cut_policies: {{{name}: element}} for "
                "attributions per token"
            )
        else:
            found.append(name)
    return tuple(found), notes


def attribute_elements(explainer: ModelExplainer, rows: Sequence[ElementRow]) -> list[ElementAttributions]:
    """Attributions by element, with the method, the nodes and the target of each row's own attributions.

    Rows of equal nodes go through the model in batches of one fixed, padded shape.
    """
    model, method, features = explainer.model, explainer.method, explainer.elements
    if method is None or not isinstance(model, FeatureModel) or not features or not rows:
        return []
    raw = np.array([row.raw for row in rows], object)
    steps = np.array([row.num_steps for row in rows])
    target = np.array([row.target for row in rows], np.int32)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in features}
    order = []
    for nodes in np.unique(steps):
        chosen = np.nonzero(steps == nodes)[0]
        for start in range(0, len(chosen), _BATCH):
            part = chosen[start : start + _BATCH]
            padded = np.resize(part, _BATCH)
            encoded = model.encode(list(raw[padded]))
            ids = np.frombuffer(b"".join(rows[i].id for i in padded), "S16")
            found = method.elements(encoded, target[padded], ids, int(nodes), features)
            order.append(part)
            for name in features:
                parts[name].append(found[name][: len(part)])
    back = np.argsort(np.concatenate(order))
    columns = decode([row.raw for row in rows]).columns
    out = []
    for name in features:
        values = np.concatenate(parts[name])[back]
        column = next((c for (feature, _), c in sorted(columns.items()) if feature == name), None)
        names: Sequence[list[str] | None] = _names(column, values)
        if values.ndim == 2 and not any(names):
            names = model.tokens(model.encode(list(raw)), name) or names
        out.append(ElementAttributions(name, values, list(names)))
    return out


def _names(column: Column | None, values: np.ndarray) -> list[list[str] | None]:
    """A row's raw values where there may be one for each element of a sequence, else None."""
    several = column is not None and values.ndim == 2 and values.shape[1] > 1
    if column is None or not several or not 1 < column.lengths.max() <= values.shape[1]:
        return [None] * len(values)
    out: list[list[str] | None] = []
    for start, end in zip(column.offsets[:-1], column.offsets[1:], strict=True):
        out.append([_text(value) for value in column.values[start:end]])
    return out


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def element_file(rows: Sequence[ElementRow], attributed: Sequence[ElementAttributions]) -> bytes:
    """Parquet: one line a row and feature, by id, features as they are configured."""
    lines = [(i, part) for i in range(len(rows)) for part in attributed]
    ids = hexadecimal(np.frombuffer(b"".join(row.id for row in rows), "S16")) if rows else []
    return to_parquet(
        pa.table(
            {
                "id": pa.array([ids[i] for i, _ in lines], pa.string()),
                "target": pa.array([rows[i].target for i, _ in lines], pa.int32()),
                "feature": pa.array([part.feature for _, part in lines], pa.string()),
                "shape": pa.array([part.values.shape[1:] for _, part in lines], pa.list_(pa.int32())),
                "attribution": pa.array([part.values[i].reshape(-1) for i, part in lines], pa.list_(pa.float32())),
                "elements": pa.array([part.names[i] for i, part in lines], pa.list_(pa.string())),
            }
        )
    )


def element_entries(
    split: str, rows: Sequence[ElementRow], attributed: Sequence[ElementAttributions]
) -> dict[str, Any]:
    """What the summary shows of a split: the first rows' maps, and the mean |attribution| of each element.

    Images of more than 56 pixels a side are summed over squares, sequences cut after 512 tokens.
    """
    ids = hexadecimal(np.frombuffer(b"".join(row.id for row in rows), "S16")) if rows else []
    features = []
    for part in attributed:
        mean = _coarse(np.abs(part.values.astype(np.float64)).mean(axis=0, keepdims=True))[0]
        features.append(
            {
                "name": part.feature,
                "shape": list(part.values.shape[1:]),
                "rows": len(rows),
                "mean_absolute": _listed(mean),
            }
        )
    shown = []
    for i, row in enumerate(rows[:SHOWN_ROWS]):
        maps = []
        for part in attributed:
            names = part.names[i]
            maps.append(
                {
                    "name": part.feature,
                    "attribution": _listed(_coarse(part.values[i : i + 1].astype(np.float64))[0]),
                    "elements": None if names is None else names[:_MAX_TOKENS],
                }
            )
        shown.append({"id": ids[i], "target": row.target, "prediction": number(row.prediction), "features": maps})
    return {"split": split, "features": features, "rows": shown}


def _coarse(values: np.ndarray) -> np.ndarray:
    """Maps [rows, height, width] with at most 56 squares a side, sequences [rows, tokens] with at most 512."""
    if values.ndim == 2:
        return values[:, :_MAX_TOKENS]
    for axis in range(1, values.ndim):
        size = values.shape[axis]
        step = -(-size // _MAX_SIDE)
        values = np.add.reduceat(values, np.arange(0, size, step), axis=axis)
    return values


def _listed(values: np.ndarray) -> list:
    """Nested lists in six significant digits."""
    return [number(float(v)) for v in values] if values.ndim == 1 else [_listed(v) for v in values]


def element_path(split: str) -> str:
    """Where a split's element attributions lie."""
    return f"Split-{split}/elements-00000-of-00001.parquet"
