"""Labels that fit a task, logits of two classes, and losses by row."""

from __future__ import annotations

import numpy as np

_LEAST_PROBABILITY = 1e-7


def fitting_label(task: str, label: np.ndarray, targets: int) -> np.ndarray:
    """The label where it fits the task, NaN elsewhere: float64 [n].

    Args:
      task: `binary` (0 or 1), `multiclass` (a class's number below `targets`), `agreement` (a class's number) or
        `regression` (finite).
      label: float64 [n].
      targets: columns of the output.
    """
    if task == "binary":
        return np.where((label == 0) | (label == 1), label, np.nan)
    if task == "multiclass":
        return np.where((label >= 0) & (label < targets) & (label == np.floor(label)), label, np.nan)
    if task == "agreement":
        return np.where(np.isfinite(label) & (label == np.floor(label)), label, np.nan)
    return np.where(np.isfinite(label), label, np.nan)


def agreement(predicted: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Whether the predicted class's number is the label's, as 0 or 1, of arrays of one shape."""
    return (predicted == label).astype(np.float64)


def logits(unit: str, scores: np.ndarray) -> np.ndarray:
    """Log-odds of the positive class, of its probabilities (clipped to 1e-7) where the unit says so."""
    if unit != "probability":
        return scores
    p = np.clip(scores, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return np.log(p) - np.log1p(-p)


def binary_losses(logit: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(whether the class is right as 0 or 1, log loss in nats) of logits and labels of one shape."""
    return ((logit > 0) == (label == 1)).astype(np.float64), _softplus(logit) - label * logit


def class_losses(unit: str, scores: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(whether the class is right as 0 or 1, log loss in nats) of scores [n, classes]; means nothing at NaN labels."""
    known = np.where(np.isfinite(label), label, 0).astype(np.int64)
    if unit == "probability":
        log_probability = np.log(np.clip(scores, _LEAST_PROBABILITY, 1.0))
    else:
        with np.errstate(invalid="ignore"):
            shifted = scores - scores.max(axis=1, keepdims=True)
            log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    right = (np.argmax(scores, axis=1) == known).astype(np.float64)
    return right, -log_probability[np.arange(len(known)), known]


def _softplus(values: np.ndarray) -> np.ndarray:
    """log(1 + exp(values)) as `np.logaddexp(0, values)` has it, four times as fast."""
    out = np.abs(values)
    np.negative(out, out=out)
    np.exp(out, out=out)
    np.log1p(out, out=out)
    out += np.maximum(values, 0.0)
    return out
