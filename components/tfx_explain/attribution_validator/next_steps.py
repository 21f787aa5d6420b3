"""What to do after a refusal, in three ways: another model, an approval, or another threshold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import yaml

from tfx_explain.attribution_validator.checks.advice import DATE, REASON, cap_above, quoted
from tfx_explain.attribution_validator.checks.base import Result
from tfx_explain.attribution_validator.checks.units import INVERSE, RATIO, allowed

_CAME: Final = ("max_share", "new_features")
_WENT: Final = ("removed_features", "vanished")
_APPROVED: Final = ("new_features", "removed_features")
_DISTANCES: Final = ("share_change", "profile_change", "direction_flip", "total_scale")
"""Checks whose value must lie below their threshold; that of `vanished` is what is left of a feature."""
_CLASSES: Final = "predicted_classes"
_UNBOUNDED: Final = ("profile_change", "total_scale")
_NAMED: Final = 5
_LEAST: Final = 1e-300
"""Of a distance whose second digit is a number too."""


def next_steps(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The ways out of a refusal, as JSON; none where nothing was found, since then evidence is what is missing.

    Args:
      results: of a verdict.

    Returns:
      Entries of `what`, a sentence, and `policy`: YAML to write into the policy, or None.
    """
    found = [r for r in results if r.blocks and r.verdict in ("FAIL", "NEEDS_APPROVAL")]
    steps = [
        *_train(_features(found, _CAME), "should not lean on", "take it out, and look whether it is made of the label"),
        *_train(_features(found, _WENT), "should still use", "look where it was lost"),
        *_classes(found),
        *_approve(found, results),
        *_thresholds(found),
    ]
    if not any(policy for _, policy in steps):
        return [_step(what, policy) for what, policy in steps]
    again = (
        "With a changed policy run the pipeline again: with its cache on only AttributionValidator judges anew, and "
        "ExplainerGen's attributions are taken from the cache."
    )
    return [_step(what, policy) for what, policy in (*steps, (again, None))]


_Step = tuple[str, str | None]


def _step(what: str, policy: str | None) -> dict[str, Any]:
    return {"what": what, "policy": policy}


def _features(found: Iterable[Result], checks: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for r in found if r.check in checks for name in _judged(r)))


def _train(features: Sequence[str], case: str, action: str) -> list[_Step]:
    if not features:
        return []
    more = f" and {len(features) - _NAMED} more" if len(features) > _NAMED else ""
    names = ", ".join(map(repr, features[:_NAMED])) + more
    return [(f"If the model {case} {names}: {action}, and train again.", None)]


def _classes(found: Sequence[Result]) -> list[_Step]:
    if all(r.check != _CLASSES for r in found):
        return []
    what = "If a class should mean what it meant before: compare the label and its vocabulary with the last run's."
    return [(what, None)]


def _approve(found: Sequence[Result], results: Sequence[Result]) -> list[_Step]:
    """What lets features come, go and lead."""
    approved = _features(found, _APPROVED)
    # An approval reaches to the cap of any feature, so that one above it needs a cap of its own as well.
    caps: dict[str, float] = {}
    for r in results:
        wanted = r.blocks or r.feature in approved
        if r.check == "max_share" and r.verdict in ("FAIL", "INCONCLUSIVE") and wanted and r.feature is not None:
            share = max(v for v in (r.value, r.high, 0.0) if v is not None)
            caps[r.feature] = max(caps.get(r.feature, 0.0), cap_above(share))
    lines = ["approved_features:", *(_approval(f) for f in approved)] if approved else []
    if caps:
        lines += ["dominant_features:"]
        lines += [f"  {quoted(f)}: {{max_share: {cap:g}, reason: {REASON}}}" for f, cap in caps.items()]
    what = "If this is how it should be: approve it in the policy (validation_config of the gate), with the reason."
    return [(what, "\n".join(lines))] if lines else []


def _judged(result: Result) -> list[str]:
    """The feature that a result is about; of several that are judged together, all that its policy approves."""
    if result.feature:
        return [result.feature]
    approved = yaml.safe_load(result.policy or "{}").get("approved_features", ())
    return [str(approval["name"]) for approval in approved]


def _approval(feature: str) -> str:
    return f"  - {{name: {quoted(feature)}, reason: {REASON}, until: {DATE}}}"


def _thresholds(found: Sequence[Result]) -> list[_Step]:
    """Thresholds that would have let the model pass; what no threshold lets pass may warn."""
    needed: dict[str, float] = {}
    units = {r.check: r.unit for r in found}
    for r in found:
        ends = [v for v in (r.value, r.high) if v is not None and math.isfinite(v) and v > 0]
        if r.check in _DISTANCES and ends:
            needed[r.check] = max(needed.get(r.check, 0.0), *ends)
    lines = [_threshold(check, _above(check, value), units[check]) for check, value in needed.items()]
    steps = []
    if needed:
        which = f"{', '.join(needed)} {'is a false alarm' if len(needed) == 1 else 'are false alarms'}"
        steps.append(f"If {which}: raise the threshold; it then holds for later models too.")
    kept = [r.threshold for r in found if r.check == _CLASSES and r.threshold is not None]
    if kept:  # a class that other rows get now is beyond every threshold
        lines.append(f"  {_CLASSES}: {{threshold: {kept[0]:g}, severity: warn}}")
        steps.append(f"If classes are meant to differ: let {_CLASSES} warn until this model has passed.")
    return [(" ".join(steps), "\n".join(["checks:", *lines]))] if lines else []


def _threshold(check: str, bound: float, unit: str | None) -> str:
    """One check's setting; what is given as a logarithm with what it comes to, since sentences tell ratios."""
    ratio = f"  # {allowed(bound, unit)}" if unit in (RATIO, INVERSE) else ""
    return f"  {check}: {{threshold: {bound:.6g}}}{ratio}"


def _above(check: str, value: float) -> float:
    """The next threshold above a positive value in two digits, as far as the policy takes it."""
    unit = 10.0 ** (math.floor(math.log10(max(value, _LEAST))) - 1)
    return min((math.floor(value / unit) + 1) * unit, 100.0 if check in _UNBOUNDED else 1.0)
