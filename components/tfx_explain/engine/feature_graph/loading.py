"""Loads a SavedModel's signature and checks that rows can be explained one by one; TensorFlow's errors get names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.dense_signature import ExampleSignatures
from tfx_explain.engine.feature_graph.errors import (
    BatchDependentError,
    ExampleError,
    NotRepeatableError,
    SavedModelError,
)
from tfx_explain.engine.feature_graph.refused_ops import unregistered
from tfx_explain.engine.feature_graph.rounding import relative_difference, tolerance_of

_ROWS_CHECKED_ALONE = 4
_BROKEN_FILES = (
    IndexError,  # what the checkpoint reader raises on truncated variables
    OSError,
    tf.errors.DataLossError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
)
_WHERE = ("Graph execution error", "Detected at node", "<stack traces", "File ", "Node:", "[[")
_BROKEN_TABLES = (tf.errors.NotFoundError, tf.errors.FailedPreconditionError, tf.errors.DataLossError)


@dataclasses.dataclass(frozen=True)
class LoadedSignature:
    """One signature of a loaded SavedModel.

    Attributes:
        model: owns the variables and tables; kept alive.
        signature: the ConcreteFunction, of serialised tf.Examples.
        path: where it was loaded from.
        notes: what a reader of the results should know.
    """

    model: object
    signature: Any
    path: str
    notes: tuple[str, ...] = ()

    def outputs(self, examples: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the untouched signature on serialised tf.Examples, bytes [rows]; half precision comes as float32."""
        results = self.signature(tf.constant(examples))
        return {name: np.asarray(_readable(results[name]).numpy()) for name in sorted(results)}

    def tolerance(self, output: str) -> float:
        """How far two runs of an output may lie apart; see `relative_difference`."""
        return tolerance_of(self.signature.structured_outputs[output].dtype.name)


def load_signature(
    path: str,
    name: str,
    preprocessing_function: str | None = None,
    sample: Sequence[bytes] | np.ndarray = (),
    input_features: Mapping[str, str] | None = None,
) -> LoadedSignature:
    """Loads a SavedModel. A signature that takes tensors gets a parser in front; see `ExampleSignatures`.

    Args:
        path: folder that holds `saved_model.pb`.
        name: of the signature.
        preprocessing_function: another signature, which maps serialised tf.Examples to what `name` takes.
        sample: serialised tf.Examples; a signature of tensors must find its inputs among their features.
        input_features: by input of such a signature the raw feature that it takes, where their names differ.

    Raises:
        SavedModelError: if the folder holds none, or one of its files is missing or truncated.
        SignatureError: if it has no signature of that name, or one that cannot be fed with tf.Examples.
    """
    if not any(tf.io.gfile.exists(f"{path}/saved_model.{kind}") for kind in ("pb", "pbtxt")):
        raise SavedModelError(
            f"path must be the folder that holds saved_model.pb. Received: path={path!r}. "
            "In a TFX Model artifact that is Format-Serving."
        )
    try:
        model = _load(path)
    except (RuntimeError, *_BROKEN_FILES) as error:
        unknown = unregistered(error, path)
        if unknown is not None or not isinstance(error, _BROKEN_FILES):
            raise unknown or error from error
        raise SavedModelError(
            f"the SavedModel {path!r} cannot be read: a file is missing or truncated ({_reason(error)}). "
            "Export or copy it again."
        ) from error
    signatures = ExampleSignatures(model.signatures, sample)
    signature, notes = signatures.get(name, preprocessing_function, input_features)
    examples = signature.inputs[0]
    if examples.shape.rank == 1 and examples.shape[0] is not None:
        raise BatchDependentError(
            f"the signature must take batches of any size, but its input {examples.name.split(':')[0]!r} takes "
            f"{examples.shape[0]} rows: export it with an open batch dimension (TensorSpec([None], tf.string))."
        )
    return LoadedSignature(model, signature, path, notes)


def _load(path: str) -> Any:
    try:
        return tf.saved_model.load(path)
    except ValueError as several:
        # One graph for each kind of device, as TPUs have: the one for none of them is marked "serve" alone.
        try:
            return tf.saved_model.load(path, tags=[tf.saved_model.SERVING])
        except (RuntimeError, ValueError):
            raise SavedModelError(
                f"the SavedModel {path!r} must have one graph, or one with the tag 'serve' alone ({_reason(several)}). "
                "Export it so."
            ) from several


def run_sample(loaded: LoadedSignature, sample: np.ndarray) -> dict[str, np.ndarray]:
    """Runs the signature on the sample: its outputs by name.

    Raises:
        SavedModelError: if a vocabulary file cannot be read, which TensorFlow only notices at the first call.
        ExampleError: if the model refuses the sample.
    """
    try:
        return loaded.outputs(sample)
    except _BROKEN_TABLES as error:
        raise SavedModelError(
            f"the SavedModel {loaded.path!r} loads but does not run: a vocabulary or another asset file is missing or "
            f"unreadable ({_reason(error)}). Export or copy it again."
        ) from error
    except tf.errors.InvalidArgumentError as error:
        raise ExampleError(f"the model refuses the sample of {len(sample)} rows: {_reason(error)}") from error


def check_rows(loaded: LoadedSignature, sample: np.ndarray, outputs: dict[str, np.ndarray]) -> None:
    """Checks that rows are repeatable and independent of their batch.

    Args:
        loaded: the signature.
        sample: serialised tf.Examples, bytes [rows].
        outputs: what it gave on the sample, of those outputs that matter; others need not even have rows.

    Raises:
        NotRepeatableError, BatchDependentError: see there.
    """
    _check_repeatable(loaded, outputs, loaded.outputs(sample))
    for index in range(min(len(sample), _ROWS_CHECKED_ALONE)):
        try:
            alone = loaded.outputs(sample[index : index + 1])
        except tf.errors.OpError as error:
            raise BatchDependentError(
                f"the model must take batches of any size, but takes {len(sample)} rows and not 1 "
                f"({_reason(error)}): export the signature with an open batch dimension, without stateful layers."
            ) from error
        _check_independent(loaded, outputs, alone, index)


def _check_repeatable(loaded: LoadedSignature, first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    for name, values in first.items():
        difference = relative_difference(values, second[name])
        if difference > loaded.tolerance(name):
            raise NotRepeatableError(
                f"output {name!r} changes between two calls on the same rows (by {difference:.2g} of its largest "
                "value): export it with training=False, without dropout or noise."
            )


def _check_independent(
    loaded: LoadedSignature, together: dict[str, np.ndarray], alone: dict[str, np.ndarray], index: int
) -> None:
    for name, values in together.items():
        if values.ndim == 0 or alone[name].shape[:1] != (1,):
            raise BatchDependentError(
                f"output {name!r} must have one row an example. Received: shape {alone[name].shape} for 1 row."
            )
        scale = np.nanmax(np.abs(values)) if values.dtype.kind == "f" and not np.isnan(values).all() else None
        difference = relative_difference(values[index : index + 1], alone[name], scale)
        if difference > loaded.tolerance(name):
            raise BatchDependentError(
                f"output {name!r} of a row depends on the other rows of its batch (by {difference:.2g} of the largest "
                "value): export it with training=False, without statistics of the batch."
            )


def _readable(output: tf.Tensor) -> tf.Tensor:
    """The output in a type that numpy counts among its floats."""
    return tf.cast(output, tf.float32) if output.dtype in (tf.float16, tf.bfloat16) else output


def _reason(error: BaseException) -> str:
    """The line of a TensorFlow error that says what is wrong; the others say where in the graph."""
    lines = [line.strip() for line in (getattr(error, "message", None) or str(error)).splitlines()]
    telling = (line for line in lines if line and not line.startswith(_WHERE))
    return next(telling, type(error).__name__)[:300]
