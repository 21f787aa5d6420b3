"""Numbers and names as a reader sees them."""

from __future__ import annotations

import decimal
import math
import unicodedata
from collections.abc import Callable
from typing import TypeGuard

ABSENT = "–"
"""Stands where there is no number."""


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
