"""Numbers of a check in the unit of its sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from tfx_explain.report.formats import ABSENT, interval, is_number, number, percent

_SHARE: Final = "share"
_RATIOS: Final = {"log_ratio": 1.0, "log_inverse_ratio": -1.0}
_LARGEST: Final = 600.0
"""Of a logarithm whose ratio can still be told."""


def cells(result: Mapping[str, Any]) -> tuple[str, str, str]:
    """Value, interval and threshold of a result; plain numbers where it names no unit, as in files of before."""
    value, low, high, threshold = (result.get(key) for key in ("value", "low", "high", "threshold"))
    unit = result.get("unit")
    if unit in _RATIOS:
        sign = _RATIOS[str(unit)]
        ends = sorted((_times(sign, end) for end in (low, high) if is_number(end)), key=float)
        bound = f"{_times(-1.0, threshold)} to {_times(1.0, threshold)} times" if is_number(threshold) else ABSENT
        shown = f"{_times(sign, value)} times" if is_number(value) else ABSENT
        return shown, f"{' to '.join(ends)} times" if len(ends) == 2 else ABSENT, bound
    form = percent if unit == _SHARE else number
    return form(value), interval(low, high, form), form(threshold)


def _times(sign: float, log_ratio: float) -> str:
    ratio = math.exp(sign * min(log_ratio, _LARGEST))
    return f"{ratio:.2f}" if ratio < 10**6 else f"{ratio:.3g}"
