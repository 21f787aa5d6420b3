"""In which unit the numbers of a check stand: what a page shows must agree with the check's sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

SHARE: Final = "share"
"""A fraction, told in %."""
RATIO: Final = "log_ratio"
INVERSE: Final = "log_inverse_ratio"
"""|log| of how many times as much something is: of more than before, and of less."""

UNITS: Final[Mapping[str, str]] = {
    "completeness": SHARE,
    "max_share": SHARE,
    "new_features": SHARE,
    "removed_features": SHARE,
    "share_change": SHARE,
    "vanished": SHARE,
}
"""By check; another one's numbers are plain, or say their unit in the result."""


def ratio_unit(log_ratio: float) -> str:
    """Which way a ratio goes."""
    return INVERSE if log_ratio < 0 else RATIO


def bounds(low: float, high: float, unit: str | None) -> tuple[str, str]:
    """Both ends of an interval in words, the smaller one first."""
    if unit == INVERSE:
        low, high = -high, -low
    if unit == SHARE:
        first, second = (f"{100 * end:.3g} %" for end in (low, high))
    elif unit in (RATIO, INVERSE):
        first, second = (f"{math.exp(min(end, 700.0)):.2f}" for end in (low, high))
        second += " times"
    else:
        first, second = (f"{end:.3g}" for end in (low, high))
    return first, second


def allowed(threshold: float, unit: str | None) -> str:
    """A threshold in words."""
    if unit in (RATIO, INVERSE):
        return " to ".join(bounds(-threshold, threshold, RATIO))
    return bounds(threshold, threshold, unit)[1]
