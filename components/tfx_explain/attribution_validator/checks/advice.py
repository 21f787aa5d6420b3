"""What a person writes into the policy to let something pass, ready to paste."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

REASON, DATE = "WHY", "YYYY-MM-DD"
"""What stands where the person must decide."""
_NAMED = 5
_WRITE = "write into the policy"


def approve(features: Sequence[str], share: float | None = None) -> str:
    """Where and what to write to approve features that came or went; of many the first few, as a pattern.

    Args:
      features: their names.
      share: in [0, 1], what each is to be let carry; None where the cap of any feature will do.
    """
    more = "" if share is None else f", max_share: {cap_above(share):g}"
    entries = (f"{{name: {quoted(f)}, reason: {REASON}, until: {DATE}{more}}}" for f in features[:_NAMED])
    others = ", and the others likewise" if len(features) > _NAMED else ""
    return f"{_WRITE} `approved_features: [{', '.join(entries)}]`{others}"


def lead(feature: str, share: float) -> str:
    """Where and what to write to let a feature or group carry its share, in [0, 1]: the next twentieth above it."""
    entry = f"{quoted(feature)}: {{max_share: {cap_above(share):g}, reason: {REASON}}}"
    return f"{_WRITE} `dominant_features: {{{entry}}}`"


def decide_alone() -> str:
    """Where and what to write to have the checks that need no reference decide for a time."""
    return f"{_WRITE} `without_reference: {{absolute_checks_decide: {{until: {DATE}}}}}`"


def ask_less(setting: str, value: float) -> str:
    """Where and what to write to ask for less evidence: `value` rounded down to one digit, or to whole rows."""
    if value >= 1:
        return f"{_WRITE} `evidence: {{{setting}: {math.floor(value)}}}`"
    places = math.ceil(-math.log10(value)) if value > 0 else 0
    least = math.floor(value * 10**places) / 10**places
    return f"{_WRITE} `evidence: {{{setting}: {least:.{places}f}}}`"


def written(sentence: str) -> str:
    """The YAML that a sentence tells to write; empty where it tells nothing."""
    found = re.search(f"{_WRITE} `([^`]*)`", sentence)
    return found.group(1) if found else ""


def cap_above(share: float) -> float:
    """The next twentieth above a share, at most 1."""
    return min(math.floor(20 * share + 1) / 20, 1.0) if math.isfinite(share) else 1.0


def quoted(name: str) -> str:
    """A name as YAML takes it whatever it holds."""
    # YAML takes no control character and breaks lines at some others. JSON's escapes of both would do, not those that it
    # makes of letters beyond 16 bits, which YAML reads as two.
    text = json.dumps(name, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
