"""A SavedModel's signature, opened: checked on a sample and flattened, before any cut is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.class_names import constant_class_names
from tfx_explain.engine.feature_graph.encoded import as_batch
from tfx_explain.engine.feature_graph.flat_graph import FlatGraph
from tfx_explain.engine.feature_graph.loading import LoadedSignature, check_rows, load_signature, run_sample
from tfx_explain.engine.feature_graph.named_faults import named_faults
from tfx_explain.engine.feature_graph.numbered_classes import with_numbered_classes
from tfx_explain.engine.feature_graph.output import (
    CLASS,
    Output,
    declared_logits,
    find_output,
    is_argmax,
    other_choices,
    without_foreign_link,
)
from tfx_explain.engine.feature_graph.refused_ops import random_operations
from tfx_explain.engine.feature_graph.rewrites import repair_gradients
from tfx_explain.engine.feature_graph.rounding import tolerance_of


@dataclasses.dataclass(frozen=True)
class OpenedModel:
    """What every cut of one model starts from.

    Attributes:
        loaded: the signature, and the model that owns its variables and tables.
        flat: its graph.
        output: what is predicted.
        unit: `logit`, `probability`, or `output` when the output has no logits, whatever was asked for.
        num_targets: columns of the output.
        sample: serialised tf.Examples, bytes [rows], at least two.
        whole: the untouched signature's output on the sample, [rows, ...].
        class_names: of the output's columns, where the signature tells them, else None.
        notes: what a reader of the results should know.
    """

    loaded: LoadedSignature
    flat: FlatGraph
    output: Output
    unit: str
    num_targets: int
    sample: np.ndarray
    whole: np.ndarray
    class_names: tuple[str, ...] | None
    notes: tuple[str, ...]

    @property
    def tolerance(self) -> float:
        """How far the output of this graph, or of its parts, may lie from the untouched signature's."""
        of_link = tolerance_of(self.flat.tensor(self.output.tensor).dtype.name)
        return max(of_link, self.loaded.tolerance(self.output.name))


def open_model(
    path: str,
    *,
    sample: Sequence[bytes],
    signature: str = "serving_default",
    output: str | None = None,
    unit: Literal["logit", "probability"] = "logit",
    from_logits: bool = False,
    preprocessing_function: str | None = None,
    integers: bool = False,
    input_features: Mapping[str, str] | None = None,
    integer_output: Literal["class", "amount"] = "class",
    class_names: Sequence[str] = (),
) -> OpenedModel:
    """Loads a SavedModel's signature and checks on the sample that its rows stand alone; see `FeatureModel.load`.

    With `integers`, an output of integers can be opened too (see `find_output`), or of strings that `class_names` give
    numbers: it can be predicted, not explained.

    Raises:
        FeatureModelError: by its subclass, why the model cannot be used.
        ValueError: if an argument is out of its range.
    """
    if unit not in ("logit", "probability"):
        raise ValueError(f"unit must be 'logit' or 'probability'. Received: unit={unit!r}")
    notes = []
    rows = as_batch(sample)
    if len(rows) == 1:
        rows = np.repeat(rows, 2)
    if len(set(rows)) == 1:
        notes.append("the sample has one row only: whether rows depend on their batch could not be seen")
    loaded = load_signature(path, signature, preprocessing_function, rows, input_features)
    told = False
    if integers and class_names:
        numbered = with_numbered_classes(loaded, output, class_names)
        told, loaded = numbered is not loaded, numbered
    notes += loaded.notes
    as_exported = FlatGraph.from_signature(loaded.signature)
    with named_faults(as_exported, rows):
        whole = run_sample(loaded, rows)
    flat = repair_gradients(as_exported, tf.constant(rows))
    drawn = random_operations(flat.nodes)
    if drawn:
        notes.append(f"the graph draws random numbers that change nothing on the sample: {', '.join(map(str, drawn))}")
    found = find_output(flat, output, integers=integers, integer_output=integer_output)
    if found.link == CLASS and not told and not is_argmax(flat.tensor(found.tensor)):
        notes.append(
            f"the integers of output {found.name!r} are taken for numbers of classes, right where they equal the "
            "label; `integer_output: amount` takes them for amounts, and measures the squared error"
        )
    with named_faults(as_exported, rows):
        check_rows(loaded, rows, {found.name: whole[found.name]})
    notes += other_choices(flat, output, found.name)
    num_targets = int(np.prod(whole[found.name].shape[1:], dtype=int))
    found = without_foreign_link(flat, found, num_targets, tf.constant(rows))
    if from_logits and whole[found.name].dtype.kind == "f":
        found = declared_logits(found, num_targets)
    actual_unit = "output" if found.link in ("raw", CLASS) else unit
    names = constant_class_names(flat, whole, num_targets)
    return OpenedModel(loaded, flat, found, actual_unit, num_targets, rows, whole[found.name], names, tuple(notes))
