"""Which output column of each row is explained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfx_explain.config import ExplainConfig
from tfx_explain.names import PREDICTED

LABEL = "label"


class TargetError(ValueError):
    """The model has no such column; the message says which it has."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A choice of column.

    Attributes:
      name: as artifacts call it: `predicted`, `label`, the column's class name, or its number.
      column: of all rows; None where each row has its own.
    """

    name: str
    column: int | None

    @property
    def by_label(self) -> bool:
        """Whether each row's label says which column."""
        return self.column is None and self.name == LABEL

    def of(self, scores: np.ndarray, label: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(column of each row, int32 [rows]; bool [rows], the row has one).

        Args:
          scores: [rows, targets], the model's predictions.
          label: float [rows], number of each row's class, NaN where there is none; None where no row has one.
        """
        rows, targets = scores.shape
        if self.column is not None:
            return np.full(rows, self.column, np.int32), np.ones(rows, bool)
        if not self.by_label:
            return np.argmax(scores, axis=1).astype(np.int32), np.ones(rows, bool)
        if label is None:
            label = np.full(rows, np.nan)
        known = np.isfinite(label) & (label >= 0) & (label < targets) & (label == np.floor(label))
        return np.where(known, label, 0).astype(np.int32), known


def known_classes(
    config: ExplainConfig, told: Sequence[str] | None, num_targets: int, link: str = ""
) -> tuple[str, ...] | None:
    """Names of the classes: the configuration's, else those that the model tells. A column of class numbers, the link
    `class`, may have any number of them.

    Raises:
      TargetError: the configuration names another number of classes than there are.
    """
    if not config.class_names:
        return tuple(told) if told else None
    if link == "class":
        return config.class_names
    wanted = num_targets if num_targets > 1 else 2
    if len(config.class_names) != wanted:
        raise TargetError(
            f"class_names must name the {wanted} classes of an output with {num_targets} "
            f"{'column' if num_targets == 1 else 'columns'}. Received: {list(config.class_names)}"
        )
    return config.class_names


def check_fits(target: Target, link: str, num_targets: int) -> None:
    """Checks that the columns are classes where each row has its own.

    Raises:
      TargetError: a target of each row's own is asked of columns that do not exclude each other.
    """
    if target.column is not None or link in ("softmax", "logsoftmax"):
        return
    if link == "sigmoid" and not target.by_label:
        return  # of several labels the likeliest
    independent = "numbers of their own" if link == "raw" else "labels of their own"
    logits = ", or set from_logits if they are logits of classes" if link == "raw" else ""
    raise TargetError(
        f"target must be a column, 0 to {num_targets - 1}, where the output's columns are {independent}{logits}. "
        f"Received: target={target.name!r}"
    )


def resolve_target(config: ExplainConfig, classes: Sequence[str] | None, num_targets: int) -> Target:
    """The configured target of a model.

    Args:
      config: `target`.
      classes: see `known_classes`.
      num_targets: columns of the output.

    Raises:
      TargetError: the model has no such column, or class.
    """
    names = classes if classes is not None and len(classes) == num_targets else None
    wanted = config.target
    if num_targets == 1 and wanted in (None, PREDICTED):
        return Target("0", 0)
    if wanted is None or wanted == PREDICTED:
        return Target(PREDICTED, None)
    if wanted == LABEL:
        if num_targets == 1:
            raise TargetError("target 'label' needs an output with a column for each class. Received: one column")
        return Target(LABEL, None)
    if isinstance(wanted, int):
        if wanted >= num_targets:
            raise TargetError(
                f"target must be below the number of output columns, {num_targets}. Received: target={wanted}"
            )
        return Target(names[wanted] if names else str(wanted), wanted)
    if names is None:
        raise TargetError(
            f"target must be a column, 'predicted' or 'label': the model tells no class names, and class_names gives "
            f"none for its {num_targets} columns. Received: target={wanted!r}"
        )
    if wanted not in names:
        raise TargetError(f"target must be one of the classes {list(names)}. Received: target={wanted!r}")
    return Target(wanted, list(names).index(wanted))
