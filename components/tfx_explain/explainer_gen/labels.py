"""Labels of raw examples: a raw feature, or an output of one of the model's own signatures; and losses by them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfx_explain.config import Label
from tfx_explain.explainer_gen.columns import Columns


class LabelError(ValueError):
    """The label cannot be had; the message says why, and stands in the artifact."""


class LabelReader:
    """Reads one label a row, as TFMA does with `label_key` and `preprocessing_function_names`."""

    def __init__(self, label: Label, model_path: str):
        """Looks the preprocessing function up.

        Raises:
          LabelError: the model has no such signature, or it gives no such output.
        """
        self._label = label
        self._function = None
        if label.preprocessing_function is None:
            return
        self._model = tf.saved_model.load(model_path)  # keeps the function's resources alive
        name = label.preprocessing_function
        if name not in self._model.signatures:
            raise LabelError(
                f"label.preprocessing_function must be a signature of the model, one of "
                f"{sorted(self._model.signatures)}. Received: {name!r}"
            )
        self._function = self._model.signatures[name]
        inputs = self._function.structured_input_signature[1]
        if len(inputs) != 1:
            raise LabelError(
                f"signature {name!r} must take serialised examples alone. Received: inputs {sorted(inputs)}"
            )
        (self._input,) = inputs
        if label.key not in self._function.structured_outputs:
            raise LabelError(
                f"label.key must be an output of signature {name!r}, one of "
                f"{sorted(self._function.structured_outputs)}. Received: {label.key!r}"
            )

    def read(self, raw: list[bytes], columns: Columns) -> np.ndarray:
        """Label of each row: float64 [rows], NaN where a row has none.

        Args:
          raw: serialised examples, all readable by the model's parser.
          columns: the same rows, decoded.

        Raises:
          LabelError: the label is no number, or not one a row.
        """
        if self._function is not None:
            try:
                values = self._function(**{self._input: tf.constant(raw)})[self._label.key]
            except tf.errors.InvalidArgumentError as error:
                raise LabelError(
                    f"signature {self._label.preprocessing_function!r} refuses the rows, as it does where the "
                    f"label's raw features are missing: {error.message.splitlines()[0]}"
                ) from error
            if isinstance(values, tf.SparseTensor):
                values = tf.sparse.to_dense(values)
            array = np.asarray(values)
            if array.dtype.kind not in "iufb" or array.size != len(raw):
                raise LabelError(
                    f"label {self._label.key!r} must be one number a row. Received: shape {array.shape}, "
                    f"dtype {array.dtype}"
                )
            return array.reshape(-1).astype(np.float64)
        out = np.full(columns.rows, np.nan)
        found = False
        for kind in "if":
            column = columns.columns.get((self._label.key, kind))
            if column is not None:
                found = True
                first, present = column.first()
                out[present] = first[present]
        if not found and (self._label.key, "b") in columns.columns:
            raise LabelError(f"label {self._label.key!r} must be a number. Received: strings")
        return out


def label_fields(task: str, unit: str, label: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    """The fields of `Rows` that need a label; a label that does not fit the task becomes NaN.

    Args:
      task: `binary`, `multiclass` or `regression`.
      unit: of the scores: `logit`, `probability` or `output`.
      label: float64 [rows], NaN where there is none.
      scores: float64 [rows, targets], the model's predictions.
    """
    if task == "binary":
        label = np.where((label == 0) | (label == 1), label, np.nan)
        logit = scores[:, 0]
        if unit == "probability":
            p = np.clip(logit, 1e-7, 1 - 1e-7)
            logit = np.log(p) - np.log1p(-p)
        return {
            "label": label,
            "score": logit,
            "binary": True,
            "log_loss": np.logaddexp(0.0, logit) - label * logit,
            "correct": ((logit > 0) == (label == 1)).astype(np.float64),
        }
    if task == "multiclass":
        label = np.where((label >= 0) & (label < scores.shape[1]) & (label == np.floor(label)), label, np.nan)
        known = np.where(np.isfinite(label), label, 0).astype(int)
        if unit == "probability":
            log_probability = np.log(np.clip(scores, 1e-7, 1.0))
        else:
            shifted = scores - scores.max(axis=1, keepdims=True)
            log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return {
            "label": label,
            "log_loss": -log_probability[np.arange(len(known)), known],
            "correct": (np.argmax(scores, axis=1) == known).astype(np.float64),
        }
    return {"label": label, "squared_error": (scores[:, 0] - label) ** 2}
