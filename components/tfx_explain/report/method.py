"""Words for the method: what the attributions are, and in which unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfx_explain.report.formats import is_number, number, text

_NAMES = {
    "integrated_gradients": "Integrated gradients from the input baseline to each row",
    "expected_gradients": "Expected gradients: integrated gradients from each row of a background, averaged",
    "gradient_x_input": "Gradient x input: the first-order term of the prediction's change from the input baseline",
    "gradient": "Gradient: how steeply the prediction changes at each row",
    "smoothgrad": "SmoothGrad: the gradient, averaged over noisy copies of each row",
}
_WITHOUT_SIGN = ("gradient", "smoothgrad")


def method_unit(summary: Mapping[str, Any]) -> str:
    """The unit of the attributions; that of the explained value where nothing else is said."""
    return text(summary["method"].get("unit") or summary["model"].get("unit"))


def method_sentence(summary: Mapping[str, Any]) -> str:
    """Which method, its unit, and what must not be read into it."""
    method = summary["method"]
    name = str(method.get("name"))
    words = _NAMES.get(name, text(name))
    if is_number(method.get("background_rows")):
        words += f" ({number(method['background_rows'])} rows)"
    sentence = f"{words}; unit: {method_unit(summary)}."
    # An artifact that says nothing is of a release that knew integrated gradients alone.
    if method.get("is_complete", name == "integrated_gradients"):
        return sentence
    sentence += " The attributions of a row need not add up to its prediction's change: no gate passes on them."
    if name in _WITHOUT_SIGN:
        sentence += " Only a feature that enters as one number has a sign; any other has the length of its gradient."
    return sentence
