"""What a person writes into the policy to let something pass, ready to paste."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

REASON, DATE = "WHY", "YYYY-MM-DD"
"""What stands where the person must decide."""
_NAMED = 5


def approve(features: Sequence[str]) -> str:
    """Where and what to write to approve features that came or went; of many the first few, as a pattern."""
    entries = (f"{{name: {quoted(feature)}, reason: {REASON}, until: {DATE}}}" for feature in features[:_NAMED])
    others = ", and the others likewise" if len(features) > _NAMED else ""
    return f"write into the policy `approved_features: [{', '.join(entries)}]`{others}"


def lead(feature: str, share: float) -> str:
    """Where and what to write to let a feature or group carry its share, in [0, 1]: the next twentieth above it."""
    entry = f"{quoted(feature)}: {{max_share: {cap_above(share):g}, reason: {REASON}}}"
    return f"write into the policy `dominant_features: {{{entry}}}`"


def cap_above(share: float) -> float:
    """The next twentieth above a share, at most 1."""
    return min(math.floor(20 * share + 1) / 20, 1.0) if math.isfinite(share) else 1.0


def quoted(name: str) -> str:
    """A name as YAML takes it whatever it holds."""
    return json.dumps(name, ensure_ascii=False)
