"""Labels of raw examples: a raw feature, or an output of one of the model's own signatures."""

from __future__ import annotations

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
            values = self._function(**{self._input: tf.constant(raw)})[self._label.key]
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
