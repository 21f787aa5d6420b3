"""What a person writes into the policy to let something pass, ready to paste."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence

REASON, DATE = "WHY", "YYYY-MM-DD"
"""What stands where the person must decide."""
_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Advice:
    """What to write into the policy; as text, the part of a sentence that tells to.

    Attributes:
      policy: YAML, whole.
      pattern: what a sentence shows in its place where it is long; may be empty.
    """

    policy: str
    pattern: str = ""

    def __str__(self) -> str:
        shown = f"`{self.pattern}`, and the others likewise" if self.pattern else f"`{self.policy}`"
        return f"write into the policy {shown}"


def approve(features: Sequence[str], share: float | None = None) -> Advice:
    """To approve features that came or went; of many a sentence shows the first few, as a pattern.

    Args:
      features: their names.
      share: in [0, 1], what each is to be let carry; None where the cap of any feature will do.
    """
    more = "" if share is None else f", max_share: {cap_above(share):g}"
    entries = [f"{{name: {quoted(f)}, reason: {REASON}, until: {DATE}{more}}}" for f in features]
    whole, shown = (f"approved_features: [{', '.join(e)}]" for e in (entries, entries[:_NAMED]))
    return Advice(whole, pattern=shown if len(features) > _NAMED else "")


def lead(feature: str, share: float) -> Advice:
    """To let a feature or group carry its share, in [0, 1]: the next twentieth above it."""
    entry = f"{quoted(feature)}: {{max_share: {cap_above(share):g}, reason: {REASON}}}"
    return Advice(f"dominant_features: {{{entry}}}")


def decide_alone() -> Advice:
    """To have the checks that need no reference decide for a time."""
    return Advice(f"without_reference: {{absolute_checks_decide: {{until: {DATE}}}}}")


def ask_less(setting: str, value: float) -> Advice:
    """To ask for less evidence: `value` rounded down to one digit, or to whole rows."""
    if value >= 1:
        return Advice(f"evidence: {{{setting}: {math.floor(value)}}}")
    places = math.ceil(-math.log10(value)) if value > 0 else 0
    least = math.floor(value * 10**places) / 10**places
    return Advice(f"evidence: {{{setting}: {least:.{places}f}}}")


def cap_above(share: float) -> float:
    """The next twentieth above a share, at most 1."""
    return min(math.floor(20 * share + 1) / 20, 1.0) if math.isfinite(share) else 1.0


def quoted(name: str) -> str:
    """A name as YAML takes it whatever it holds."""
    # YAML takes no control character and breaks lines at some others. JSON's escapes of both would do, but it makes two
    # of a letter beyond 16 bits, and YAML reads them as two.
    text = json.dumps(name, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
