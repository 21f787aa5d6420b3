"""What the model's metrics were in the last model that passed: a leak of the label shows there first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tfx_explain.report.formats import excludes, is_number, measured, number
from tfx_explain.report.html import Html, tag

_PREFERRED: Final = ("auc", "binary_accuracy", "sparse_categorical_accuracy", "accuracy", "mean_squared_error")
_NAMES: Final = {"auc": "AUC"}
_OF_DATA: Final = ("label_mean", "example_count", "weighted_example_count")
_SHOWN: Final = 2


def others(summary: Mapping[str, Any], passed: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The models that passed without this one, which a rerun finds among them; all where there is no other."""
    fingerprint = summary["model"].get("fingerprint")
    return [earlier for earlier in passed if earlier["model"].get("fingerprint") != fingerprint] or passed


def metric_change(summary: Mapping[str, Any] | None, passed: Sequence[Mapping[str, Any]], refused: bool) -> Html:
    """A line with the leading metrics of both models; nothing where no metric is known of both.

    Args:
      summary: of this model; None when it could not be read.
      passed: of the models that passed, newest last.
      refused: whether to say what a jump for the better may mean.
    """
    before = [] if summary is None else others(summary, passed)
    if summary is None or not before:
        return Html()
    ours, theirs = _of_both(summary, before[-1])
    names = sorted(ours, key=lambda name: (name not in _PREFERRED, _place(name), name))[:_SHOWN]
    if not names:
        return Html()
    parts = [f"{_NAMES.get(name, name)} {measured(ours[name])}, was {number(theirs[name]['value'])}" for name in names]
    jumped = refused and any(_better(name, ours[name], theirs[name]["value"]) for name in names)
    leak = " A jump for the better is often a leak of the label." if jumped else ""
    change = tag("strong", f"{'; '.join(parts)} in the last model that passed.")
    return tag("p", change, tag("span", f" For information, no check judges it.{leak}", class_="soft"))


def _better(name: str, ours: Mapping[str, Any], before: float) -> bool:
    """Whether a metric is clearly better than before; of one whose good end is not known it is never said."""
    if not excludes(ours, before):
        return False
    if name == "auc" or name.endswith("accuracy"):
        return bool(ours["value"] > before)
    return name.endswith(("crossentropy", "error")) and bool(ours["value"] < before)


def _of_both(
    summary: Mapping[str, Any], before: Mapping[str, Any]
) -> tuple[dict[str, Mapping[str, Any]], dict[str, Mapping[str, Any]]]:
    """Metrics that both models have, ours; Evaluator's where we have none."""
    for kind in ("metrics", "evaluator_metrics"):
        ours, theirs = summary.get(kind) or {}, before.get(kind) or {}
        names = [
            name
            for name in ours
            if name in theirs
            and name not in _OF_DATA
            and is_number(ours[name].get("value"))
            and is_number(theirs[name].get("value"))
        ]
        if names:
            return {name: ours[name] for name in names}, {name: theirs[name] for name in names}
    return {}, {}


def _place(name: str) -> int:
    return _PREFERRED.index(name) if name in _PREFERRED else 0
