"""Numbers and names as a reader sees them."""

from __future__ import annotations

import decimal
import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard

ABSENT = "–"
"""Stands where there is no number."""

NO_INTERVAL = (
    "–: no number, or no interval. A count has none, nor have Evaluator's numbers where it was not told to make"
    " some, nor what too few rows, or too few of one label, stand behind."
)
"""What the mark means beside a value."""


def text(value: object) -> str:
    """The value as text, or the mark for absent."""
    return ABSENT if value is None or value == "" else str(value)


def is_number(value: object) -> TypeGuard[int | float]:
    """True for numbers that can be drawn: finite, and neither bool nor absent."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) or math.isfinite(value)


def number(value: object) -> str:
    """Whole numbers from 1,000 on, four significant digits below; NaN and infinities by name."""
    if value is None:
        return ABSENT
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**15 else f"{decimal.Decimal(value):.4g}"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) < 10**15 and (abs(value) >= 1000 or value == int(value)):
        return f"{round(value):,}"
    return f"{value:.4g}"


def raw(value: object) -> str:
    """A value of a feature: whole numbers in full and without separators, since they may be ids."""
    if not isinstance(value, float) or not is_number(value):
        return str(value)
    return f"{value:.0f}" if value == int(value) and abs(value) < 10**15 else f"{value:.6g}"


def percent(value: object) -> str:
    """A fraction in per cent: one decimal from 1 % on, two significant digits below."""
    if not is_number(value):
        return number(value)
    scaled = 100 * decimal.Decimal(value)
    if not scaled:
        return "0 %"
    if abs(scaled) < 1:
        return f"{float(scaled):.2g} %"
    return f"{scaled:.1f} %" if abs(scaled) < 10**6 else f"{scaled:.4g} %"


def interval(low: object, high: object, form: Callable[[object], str] = number) -> str:
    """`low to high`, or the mark for absent when neither end was measured."""
    if low is None and high is None:
        return ABSENT
    return f"{form(low)} to {form(high)}"


def measured(measure: Mapping[str, Any] | None, form: Callable[[object], str] = number) -> str:
    """`value (low to high)`, or the value alone where it has no interval."""
    if not measure or measure.get("value") is None:
        return ABSENT
    bounds = interval(measure.get("low"), measure.get("high"), form)
    return form(measure["value"]) if bounds == ABSENT else f"{form(measure['value'])} ({bounds})"


def known(measure: Mapping[str, Any] | None) -> float | None:
    """The value of a measured number, or None where there is none that can be drawn."""
    value = (measure or {}).get("value")
    return float(value) if is_number(value) and abs(value) < 10**300 else None


def excludes(measure: Mapping[str, Any] | None, value: object) -> bool:
    """Whether both ends of the interval and the value are known, and the value lies outside."""
    low, high = (measure or {}).get("low"), (measure or {}).get("high")
    return is_number(low) and is_number(high) and is_number(value) and not low <= value <= high


def points(value: object) -> str:
    """A difference of two fractions in percentage points, with its sign and one decimal."""
    if not is_number(value) or abs(value) > 10**6:
        return number(value)
    scaled = f"{100 * value:+.1f}"
    return f"{'0.0' if scaled in ('+0.0', '-0.0') else scaled} points"


def listed(names: Iterable[object], most: int) -> str:
    """The names with commas between them; of more than `most`, how many are left out."""
    every = [str(name) for name in names]
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def visible(raw: str) -> str:
    """The text with control, invisible and direction-changing characters written out as escapes; line breaks stay.

    A lone surrogate cannot be encoded, and a right-to-left override would show another name than the one meant.
    """
    return "".join(character if _is_plain(character) else _escape(character) for character in raw)


def _is_plain(character: str) -> bool:
    return character in " \n" or not unicodedata.category(character).startswith(("C", "Z"))


def _escape(character: str) -> str:
    """A character as Python writes its code point."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shortened(text: str, length: int) -> str:
    """The text, its middle left out when it is longer than `length`: both ends of a name tell features apart."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[-tail:]}"
