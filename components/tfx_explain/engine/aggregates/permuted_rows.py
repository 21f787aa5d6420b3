"""PermutedRows: what a block's or slice's rows are to permutation importance, and the metrics it is measured in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfx_explain.engine.aggregates.losses import agreement, binary_losses, class_losses, fitting_label, logits

LOSSES = {
    "binary": ("binary_accuracy", "binary_crossentropy"),
    "multiclass": ("sparse_categorical_accuracy", "sparse_categorical_crossentropy"),
    "agreement": ("accuracy",),
    "regression": ("mean_squared_error",),
}
"""Metrics that are a mean over rows, by task; binary tasks also have `auc`."""


@dataclasses.dataclass(frozen=True, eq=False)
class PermutedRows:
    """Rows of one block or slice with the model's answers when features are permuted: n rows, F features, R repeats.

    Pairs lie feature by feature and repeat by repeat, as they are predicted and summed.

    Attributes:
      task: `binary`, `multiclass`, `agreement` or `regression`.
      bucket: uint8 [n].
      weight: float64 [n].
      label: float64 [n], NaN where a row has none: such a row receives nothing.
      base: float32 [n, V]. V is 2 for a multiclass task (log loss and whether the class is right), else 1: the logit of
        a binary task, an agreement's class number, a regression's prediction.
      permuted: float32 [F, R, n, V], the same with the feature taken from the donor.
      donor_bucket: uint8 [F, R, n].
      donor_weight: float32 [F, R, n]; None when all rows that are explained weigh the same.
    """

    task: str
    bucket: np.ndarray
    weight: np.ndarray
    label: np.ndarray
    base: np.ndarray
    permuted: np.ndarray
    donor_bucket: np.ndarray
    donor_weight: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        task: str,
        unit: str,
        label: np.ndarray,
        base_scores: np.ndarray,
        permuted_scores: np.ndarray,
        bucket: np.ndarray,
        weight: np.ndarray,
        donor_bucket: np.ndarray,
        donor_weight: np.ndarray | None = None,
    ) -> PermutedRows:
        """Rows from the model's predictions; a label that does not fit the task becomes NaN.

        Args:
          task: `binary`, `multiclass`, `agreement` or `regression`.
          unit: of the scores: `logit`, `probability` or `output`.
          label: [n], NaN where there is none.
          base_scores: [n, targets].
          permuted_scores: [F, R, n, targets].
          bucket: [n].
          weight: [n].
          donor_bucket: [F, R, n].
          donor_weight: [F, R, n] or None when all rows that are explained weigh the same.

        Raises:
          ValueError: if the task is not known or shapes do not fit.
        """
        if task not in LOSSES:
            raise ValueError(f"task must be one of {sorted(LOSSES)}. Received: task={task!r}")
        rows, shape = len(label), permuted_scores.shape
        weight_shape = shape[:3] if donor_weight is None else donor_weight.shape
        if (
            len(shape) != 4
            or base_scores.shape != (rows, shape[3])
            or not shape[2] == rows == len(bucket) == len(weight)
            or not donor_bucket.shape == weight_shape == shape[:3]
        ):
            raise ValueError(
                "permuted_scores must be [F, R, n, targets] and donors [F, R, n] for labels [n] and base_scores "
                f"[n, targets]. Received: {shape}, {donor_bucket.shape} and {weight_shape} for {rows} labels and "
                f"{base_scores.shape}"
            )
        label = fitting_label(task, np.asarray(label, np.float64), shape[3])
        base = _row_values(task, unit, label, base_scores)
        permuted = np.empty((*shape[:3], base.shape[1]), np.float32)
        for f, r in np.ndindex(shape[:2]):
            permuted[f, r] = _row_values(task, unit, label, permuted_scores[f, r])
        return cls(
            task,
            np.asarray(bucket, np.uint8),
            np.asarray(weight, np.float64),
            label,
            base,
            permuted,
            np.asarray(donor_bucket, np.uint8),
            None if donor_weight is None else np.asarray(donor_weight, np.float32),
        )

    def __len__(self) -> int:
        return len(self.label)

    def take(self, index: np.ndarray | slice) -> PermutedRows:
        """Some of the rows, by index, mask or slice."""
        return PermutedRows(
            self.task,
            self.bucket[index],
            self.weight[index],
            self.label[index],
            self.base[index],
            _of_rows(self.permuted, index),
            _of_rows(self.donor_bucket, index),
            None if self.donor_weight is None else _of_rows(self.donor_weight, index),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[PermutedRows]) -> PermutedRows:
        """The rows of all parts, in their order; at least one part.

        Raises:
          ValueError: if there is no part, or the parts differ in task or in whether donors have weights.
        """
        kinds = sorted({(part.task, part.donor_weight is not None) for part in parts})
        if len(kinds) != 1:
            raise ValueError(
                f"parts must be one or more, of one task, all with donor_weight or all without. Received: {kinds}"
            )
        weights = [part.donor_weight for part in parts if part.donor_weight is not None]
        return cls(
            parts[0].task,
            np.concatenate([part.bucket for part in parts]),
            np.concatenate([part.weight for part in parts]),
            np.concatenate([part.label for part in parts]),
            np.concatenate([part.base for part in parts]),
            np.concatenate([part.permuted for part in parts], axis=2),
            np.concatenate([part.donor_bucket for part in parts], axis=2),
            np.concatenate(weights, axis=2) if weights else None,
        )


def _of_rows(pairs: np.ndarray, index: np.ndarray | slice) -> np.ndarray:
    """Pairs [F, R, n, ...] of some rows; `take` is twice as fast as an index in the midst."""
    if isinstance(index, slice):
        return pairs[:, :, index]
    return pairs.take(np.flatnonzero(index) if index.dtype == bool else index, axis=2)


def row_losses(task: str, values: np.ndarray, label: np.ndarray) -> list[np.ndarray]:
    """The metrics of LOSSES by row, in their order, of values [..., V] and labels [...]."""
    if task == "binary":
        return list(binary_losses(values[..., 0], label))
    if task == "multiclass":
        return [values[..., 1], values[..., 0]]
    if task == "agreement":
        return [agreement(values[..., 0], label)]
    return [(values[..., 0] - label) ** 2]


def _row_values(task: str, unit: str, label: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """float32 [n, V] of scores [n, targets]: what `PermutedRows` keeps of them."""
    scores = scores.astype(np.float64)
    if task == "multiclass":
        right, loss = class_losses(unit, scores, label)
        return np.stack([loss, right], axis=1).astype(np.float32)
    return (logits(unit, scores[:, :1]) if task == "binary" else scores[:, :1]).astype(np.float32)
