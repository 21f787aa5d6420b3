"""Names of an output's columns, where the signature itself says them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfx_explain.engine.feature_graph.dependencies import find_dependencies
from tfx_explain.engine.feature_graph.flat_graph import FlatGraph, topological
from tfx_explain.engine.feature_graph.sources import find_sources

_USUAL_NAME = "classes"


def constant_class_names(
    flat: FlatGraph, outputs: Mapping[str, np.ndarray], num_targets: int
) -> tuple[str, ...] | None:
    """Names of the output's columns from a string output that is the same whatever the row.

    Classification signatures have one: `classes` [rows, columns] beside `scores`. One that depends on a feature's value
    (the classes by falling score) says nothing about columns.

    Args:
        flat: the graph.
        outputs: the signature's outputs on a sample, by name.
        num_targets: columns of the explained output.

    Returns:
        The names, or None where there are none, they are no distinct texts, or several outputs disagree and none of
        them is called `classes`.
    """
    strings = {name: values for name, values in outputs.items() if values.dtype == object}
    if not strings or num_targets < 2:
        return None
    tensors = {name: flat.tensor(flat.output_names[name]) for name in strings}
    dependencies = find_dependencies(flat, find_sources(flat), topological(tensors.values()))
    found = {}
    for name, values in strings.items():
        if dependencies.features(tensors[name]):
            continue
        row = values[0] if values.ndim == 2 else values
        if row.shape != (num_targets,) or (values != row).any():
            continue
        if values.ndim == 1 and dependencies.on_batch(tensors[name]):
            continue  # one string a row
        texts = _texts(row)
        if texts is not None:
            found[name] = texts
    if _USUAL_NAME in found:
        return found[_USUAL_NAME]
    return next(iter(found.values())) if len(set(found.values())) == 1 else None


def _texts(row: np.ndarray) -> tuple[str, ...] | None:
    try:
        texts = tuple(value.decode() for value in row)
    except UnicodeDecodeError:
        return None
    return texts if len(set(texts)) == len(texts) else None
