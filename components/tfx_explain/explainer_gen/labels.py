"""Labels and weights of raw examples: a raw feature, or an output of one of the model's signatures; and losses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfx_explain.engine.aggregates.losses import agreement, binary_losses, class_losses, fitting_label, logits
from tfx_explain.explainer_gen.columns import Columns


class LabelError(ValueError):
    """A label or example weight cannot be had; the message says why, and stands in the artifact."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Where one number a row is found.

    Attributes:
      key: name of a raw feature, or of an output of one of `functions`.
      functions: signatures of the model that map serialised examples to transformed features.
      transformed: the key must be an output of them; else a raw feature is taken where it is none.
      optional: functions that the model lacks are passed over.
    """

    key: str
    functions: tuple[str, ...] = ()
    transformed: bool = False
    optional: bool = False


class NumberReader:
    """Reads one number a row, a label or an example weight, as TFMA does with its keys."""

    def __init__(self, source: Source, model: Any, what: str = "label", classes: Sequence[str] | None = None):
        """Looks the preprocessing function up.

        Args:
          source: where the number is found.
          model: the loaded SavedModel; not used where the source has no functions.
          what: how errors call the number.
          classes: names that stand for the numbers 0, 1, ... where the label is a string; None takes numbers alone.

        Raises:
          LabelError: the model has no such signature, or it gives no such output.
        """
        self._key, self._what = source.key, what
        self._classes = None if classes is None else {name.encode(): float(i) for i, name in enumerate(classes)}
        self._function = None
        for name in source.functions:
            if source.optional and name not in model.signatures:
                continue
            if name not in model.signatures:
                raise LabelError(
                    f"{what}.preprocessing_function must be a signature of the model, one of "
                    f"{sorted(model.signatures)}. Received: {name!r}"
                )
            function = model.signatures[name]
            inputs = function.structured_input_signature[1]
            if len(inputs) != 1:
                raise LabelError(
                    f"signature {name!r} must take serialised examples alone. Received: inputs {sorted(inputs)}"
                )
            if source.key in function.structured_outputs:
                self._name, self._function, (self._input,) = name, function, inputs
                return
            if source.transformed:
                raise LabelError(
                    f"{what}.key must be an output of signature {name!r}, one of "
                    f"{sorted(function.structured_outputs)}. Received: {source.key!r}"
                )

    def read(self, raw: list[bytes], columns: Columns) -> np.ndarray:
        """The number of each row: float64 [rows], NaN where a row has none.

        Args:
          raw: serialised examples, all readable by the model's parser.
          columns: the same rows, decoded.

        Raises:
          LabelError: it is no number, or not one a row.
        """
        if self._function is not None:
            try:
                values = self._function(**{self._input: tf.constant(raw)})[self._key]
            except tf.errors.InvalidArgumentError as error:
                raise LabelError(
                    f"signature {self._name!r} refuses the rows, as it does where the {self._what}'s raw "
                    f"features are missing: {error.message.splitlines()[0]}"
                ) from error
            if isinstance(values, tf.SparseTensor):
                values = tf.sparse.to_dense(values)
            array = np.asarray(values)
            if array.dtype.kind == "O" and self._classes is not None:
                array = self._numbers(array.reshape(-1), self._classes)
            if array.dtype.kind not in "iufb" or array.size != len(raw):
                raise LabelError(
                    f"{self._what} {self._key!r} must be one number a row. Received: shape {array.shape}, "
                    f"dtype {array.dtype}"
                )
            return array.reshape(-1).astype(np.float64)
        out = np.full(columns.rows, np.nan)
        found = False
        for kind in "if":
            column = columns.columns.get((self._key, kind))
            if column is not None:
                found = True
                first, present = column.first()
                out[present] = first[present]
        if not found and (self._key, "b") in columns.columns:
            if self._classes is None:
                raise LabelError(
                    f"{self._what} {self._key!r} must be a number. Received: strings; class_names gives them numbers"
                )
            first, present = columns.columns[self._key, "b"].first()
            out[present] = self._numbers(first[present], self._classes)
        return out

    @staticmethod
    def _numbers(names: np.ndarray, classes: Mapping[bytes, float]) -> np.ndarray:
        """Number of each name, NaN for a name that no class has: float64 [n] of bytes [n]."""
        distinct, place = np.unique(names.astype(object), return_inverse=True)
        return np.array([classes.get(name, np.nan) for name in distinct], np.float64)[place]


def label_fields(task: str, unit: str, label: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    """The fields of `Rows` that need a label; a label that does not fit the task becomes NaN.

    Args:
      task: `binary`, `multiclass`, `agreement` or `regression`.
      unit: of the scores: `logit`, `probability` or `output`.
      label: float64 [rows], NaN where there is none.
      scores: float64 [rows, targets], the model's predictions.
    """
    label = fitting_label(task, label, scores.shape[1])
    if task == "binary":
        score = logits(unit, scores[:, 0])
        correct, loss = binary_losses(score, label)
        return {"label": label, "score": score, "binary": True, "log_loss": loss, "correct": correct}
    if task == "multiclass":
        correct, loss = class_losses(unit, scores, label)
        return {"label": label, "log_loss": loss, "correct": correct}
    if task == "agreement":
        return {"label": label, "correct": agreement(scores[:, 0], label)}
    return {"label": label, "squared_error": (scores[:, 0] - label) ** 2}
