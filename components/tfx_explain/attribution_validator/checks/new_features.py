"""New features: a feature that no model of the reference used may not lead before a person has approved it."""

from tfx_explain.attribution_validator.checks.base import Evidence, Result, Verdict, judge, percent, result, uncertain
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.intervals import measure

CHECK = "new_features"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """One result per new feature, or one PASS."""
    rule, features = config.checks.new_features, evidence.candidate.statistics.features
    shares, out = evidence.profiles.shares(features), []
    for i, feature in enumerate(features):
        if feature in evidence.known_features:
            continue
        measured = measure(shares[:, i])
        verdict: Verdict = judge(measured, rule.threshold)
        if verdict == "FAIL":
            verdict = "NEEDS_APPROVAL"
        sentence = (
            f"{feature!r} is new: no model that passed used it. It carries {percent(measured.value)} of the "
            f"attribution, {percent(rule.threshold)} need no approval."
        )
        approval = evidence.approval(feature, config)
        if verdict != "PASS" and approval is not None:
            verdict, sentence = "PASS", f"{sentence} Approved until {approval.until}: {approval.reason}"
        elif verdict != "PASS":
            sentence += f" If it may be used, add it to approved_features with a reason.{_ended(feature, config)}"
            sentence += uncertain(verdict, measured, rule.threshold)
        out.append(result(CHECK, verdict, rule.severity, sentence, measured, rule.threshold, feature))
    return out or [Result(CHECK, "PASS", rule.severity, "No feature is new.", threshold=rule.threshold)]


def _ended(feature: str, config: ValidationConfig) -> str:
    ends = [a.until for a in config.approved_features if a.name == feature]
    return f" Its approval ended on {max(ends)}." if ends else ""
