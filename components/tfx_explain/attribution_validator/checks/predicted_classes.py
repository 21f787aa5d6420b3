"""Predicted classes: rows to which the last model that passed gave a class get it still."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfx_explain.attribution_validator.checks.base import Evidence, Result, judge, percent, result
from tfx_explain.attribution_validator.checks.cells import largest, lower_bounds
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.intervals import drawn
from tfx_explain.names import NUM_BUCKETS, OVERALL

CHECK = "predicted_classes"
_ROWS = 50
"""Rows of a class from which it is judged by itself; rarer ones are judged together."""
_REST = -1
_HINT = (
    " The classes may be numbered otherwise than before, their labels inverted or merged: attributions to each row's "
    "own class look the same then."
)


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """The class of which the least is left, on the rows that the reference keeps; none where one column is explained.

    Where each row is explained by the class that it is given, a model that has learnt inverted labels, or other numbers
    for its classes, has the attributions of one that has not. What is lost of a class is 1 less the part of its rows
    that still get it, more the part of all other rows that get it too: 0 where all is as before, 1 where the class is
    given by chance or to no row. It is far below 1 in honest retrains, even of weak models.
    """
    rule, candidate, reference = config.checks.predicted_classes, evidence.candidate, evidence.reference
    if reference is None:
        raise ValueError("predicted_classes needs a reference. Received: none")
    if candidate.classes is None or reference.classes is None:
        return []
    rows = [row for row in reference.classes if row in candidate.classes]
    if 2 * len(rows) < len(reference.classes) or not rows:
        sentence = (
            f"Of {len(reference.classes)} rows that are kept for comparison, {len(rows)} have a class by this model "
            f"and by {reference.name}: whether classes kept their meaning is not known, as where the model refuses "
            "rows without its new features. This does not block."
        )
        severity = "off" if rule.severity == "off" else "warn"
        return [Result(CHECK, "INCONCLUSIVE", severity, sentence, threshold=rule.threshold)]
    before = np.array([reference.classes[row] for row in rows])
    now = np.array([candidate.classes[row] for row in rows])
    bucket = np.array([int(row[:2], 16) * NUM_BUCKETS >> 8 for row in rows])
    cells = _cells(before)
    if not cells:
        sentence = f"No class, nor rarer ones together, has {_ROWS} of the {len(rows)} rows that are kept to compare."
        return [Result(CHECK, "PASS", rule.severity, sentence, threshold=rule.threshold)]
    table = np.stack([_lost(cell, cells, before, now, bucket, evidence.draws) for cell in cells], axis=1)
    filled = len(np.unique(bucket))
    (low,) = lower_bounds([table], [filled])
    top, measured = largest(table, low, filled)
    verdict = judge(measured, rule.threshold)
    sentence = _sentence(cells[top], cells, before, now, candidate.class_names, reference.name)
    sentence += f" What is lost of it is {measured.value:.3f}, allowed is {rule.threshold:.3g}."
    if verdict != "PASS":
        sentence += _HINT
    if verdict == "INCONCLUSIVE":  # more rows are no way out: those that are kept are the first model's
        sentence += f" The interval {measured.low:.3g} to {measured.high:.3g} straddles the threshold."
    return [result(CHECK, verdict, rule.severity, sentence, measured, rule.threshold, None, OVERALL)]


def _cells(before: np.ndarray) -> list[int]:
    """Classes that have rows enough, and _REST where the others have together."""
    classes, counts = np.unique(before, return_counts=True)
    common = [int(c) for c in classes[counts >= _ROWS]]
    return [*common, _REST] if np.count_nonzero(~np.isin(before, common)) >= _ROWS else common


def _lost(
    cell: int, cells: Sequence[int], before: np.ndarray, now: np.ndarray, bucket: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    """What is lost of a class: [1 + draws]."""
    inside, kept = _of(cell, cells, before, now)
    # Of few other rows it is not known what they get: a model of rare positives may give none a retrain later.
    others = ~inside if cell != _REST and np.count_nonzero(~inside) >= _ROWS else np.zeros(len(before), bool)
    columns = np.stack([inside, inside & kept, others, others & (now == cell)], axis=1)
    sums = np.zeros((NUM_BUCKETS, 4))
    np.add.at(sums, bucket, columns)
    rows, same, elsewhere, taken = drawn(draws, sums).T
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - same / rows + np.where(elsewhere > 0, taken / elsewhere, 0.0)


def _of(cell: int, cells: Sequence[int], before: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows that had the class, rows that have the class that they had): bool [rows] each."""
    inside = ~np.isin(before, [c for c in cells if c != _REST]) if cell == _REST else before == cell
    return inside, now == before


def _sentence(
    cell: int, cells: Sequence[int], before: np.ndarray, now: np.ndarray, names: Sequence[str], reference: str
) -> str:
    inside, kept = _of(cell, cells, before, now)
    part = percent(float(kept[inside].mean()))
    if cell == _REST:
        return (
            f"Of {int(inside.sum())} among {len(before)} rows that are kept for comparison, to which {reference} gave "
            f"rarer classes, {part} get the same one from this model."
        )
    name = repr(names[cell]) if cell < len(names) else str(cell)
    others = f", and {percent(float((now[~inside] == cell).mean()))} of the other rows" if (~inside).any() else ""
    return (
        f"Class {name}, which {reference} gave to {int(inside.sum())} of {len(before)} rows that are kept for "
        f"comparison, goes to {part} of these by this model{others}."
    )
