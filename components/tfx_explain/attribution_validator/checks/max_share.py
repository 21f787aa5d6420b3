"""Share cap: no feature carries the model alone, unless the policy says that it may."""

from tfx_explain.attribution_validator.checks.base import Evidence, Result, judge, percent, result, uncertain, worst
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.intervals import Measured, measure

CHECK = "max_share"


def check(evidence: Evidence, config: ValidationConfig) -> list[Result]:
    """The largest share over features without a cap of their own, and one result per dominant feature."""
    rule, features = config.checks.max_share, evidence.candidate.statistics.features
    severity = rule.severity if evidence.alone or rule.severity == "off" else rule.with_reference
    cap = evidence.share_cap(config)
    shares = evidence.profiles.shares(features)
    plain = [i for i, f in enumerate(features) if f not in config.dominant_features]
    out = []
    if plain:
        top, measured = worst(shares[:, plain])
        out.append(_one(features[plain[top]], measured, cap, severity, "the policy caps a feature at"))
    for i, feature in enumerate(features):
        own = config.dominant_features.get(feature)
        if own is not None:
            reason = f"its own cap ({own.reason}) is"
            out.append(_one(feature, measure(shares[:, i]), own.max_share, severity, reason))
    return out


def _one(feature: str, measured: Measured, cap: float, severity: str, why: str) -> Result:
    verdict = judge(measured, cap)
    sentence = f"{feature!r} carries {percent(measured.value)} of the total attribution; {why} {percent(cap)}."
    if verdict != "PASS":
        sentence += (
            " One feature that carries a model is often a leak of the label; if it leads by nature, name it under "
            "dominant_features with a reason." + uncertain(verdict, measured, cap)
        )
    return result(CHECK, verdict, severity, sentence, measured, cap, feature)
