"""The page of AttributionAnomalies: the verdict, why, and what the model leans on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from tfx_explain.report.attributions import attribution_sections, check_format, check_summary, facts_section
from tfx_explain.report.by_value import by_value_sections
from tfx_explain.report.formats import ABSENT, text
from tfx_explain.report.html import Html, joined, page, prose, table, tag
from tfx_explain.report.metric_change import metric_change
from tfx_explain.report.origin import Linked, Origin, earlier_models, judged_of, read_next
from tfx_explain.report.units import cells

_COLORS: Final = {"PASS": "good", "FAIL": "bad", "NEEDS_APPROVAL": "bad", "INCONCLUSIVE": "bad", "NO_REFERENCE": "bad"}
_SEVERITIES: Final = ("block", "warn", "off")
_FOUND: Final = {"block": "blocks", "warn": "warns only", "off": "is off"}
_PASSED: Final = {"block": "would block", "warn": "would warn", "off": "is off"}
"""What a finding of each severity does, and what it would have done."""
_FOUND_OUT: Final = ("FAIL", "NEEDS_APPROVAL")
"""Verdicts that the steps below are about; what is told of another one stands in its sentence alone."""
_STEPS: Final = "what-to-do-now"
_NONE: Final = f"{ABSENT}: the check has no such number, or it could not be measured."
_UNKNOWN: Final = Origin()
_NO_FILES: Final[Mapping[str, Sequence[Linked]]] = MappingProxyType({})


def render_anomalies(
    anomalies: Mapping[str, Any],
    summary: Mapping[str, Any] | None = None,
    passed: Sequence[Mapping[str, Any]] = (),
    origin: Origin = _UNKNOWN,
    files: Mapping[str, Sequence[Linked]] = _NO_FILES,
) -> str:
    """The page of one verdict, the same bytes for the same input.

    Args:
      anomalies: what `anomalies.json` holds.
      summary: the judged model's `summary.json`; None when it could not be read.
      passed: summaries of the models that it was compared with, newest last.
      origin: the run that reached it.
      files: what there is to read, by what it is of; see `read_next`.

    Returns:
      A whole HTML document that loads nothing, without scripts; its links are those of `files`.

    Raises:
      ValueError: the input is of a newer format, or holds an unknown status, verdict or severity.
    """
    check_format(anomalies)
    results = sorted(anomalies["results"], key=_urgency)
    count = len(anomalies["blocking"])
    verdict = "Blessed" if anomalies["blessed"] else f"Not blessed: {count} {'reason' if count == 1 else 'reasons'}"
    metrics = metric_change(summary, passed, not anomalies["blessed"])
    more = read_next(anomalies, origin, files)
    return page(
        " · ".join(part for part in (verdict, origin.pipeline, "attribution gate") if part),
        _banner(anomalies, verdict, judged_of(anomalies, origin), metrics, more),
        *by_value_sections(anomalies, summary),
        *_next_steps(anomalies),
        tag("h2", "All checks"),
        _check_table(results),
        *earlier_models(anomalies, origin),
        *_model_sections(summary, passed, results),
    )


def _urgency(result: Mapping[str, Any]) -> tuple[bool, int]:
    """What did not pass first, and of that what blocks."""
    if result["verdict"] not in _COLORS:
        raise ValueError(f"verdict must be one of {tuple(_COLORS)}. Received: verdict={result['verdict']!r}")
    if result["severity"] not in _SEVERITIES:
        raise ValueError(f"severity must be one of {_SEVERITIES}. Received: severity={result['severity']!r}")
    return result["verdict"] == "PASS", _SEVERITIES.index(result["severity"])


def _banner(anomalies: Mapping[str, Any], verdict: str, judged: Html, metrics: Html, more: Html) -> Html:
    """The verdict, what it is of, why, and where to look next."""
    warned = _warnings(anomalies["results"])
    if anomalies["blessed"]:
        consequence = "Every check that blocks has passed: Pusher may push this model."
        return tag(
            "section", tag("h1", verdict), tag("p", consequence), judged, warned, metrics, more, class_="banner good"
        )
    consequence = "Pusher does not push this model; what it pushed before stays."
    reasons = _reasons(anomalies)
    command = anomalies.get("diagnose")
    upstream = " With --metadata and the SQLite file of ML Metadata it also says what differs upstream."
    way = tag("p", "What changed, the model or the data: ", tag("code", str(command)), upstream) if command else Html()
    parts = (tag("p", consequence), judged, reasons, warned, metrics, way, more)
    return tag("section", tag("h1", verdict), *parts, class_="banner bad")


def _reasons(anomalies: Mapping[str, Any]) -> Html:
    """What blocks; without what to write into the policy where the page has all of it in one piece below."""
    below = {
        str(r["sentence"]): f"`{r['policy']}`"
        for r in anomalies["results"]
        if r.get("policy") and r["verdict"] in _FOUND_OUT and anomalies.get("next_steps")
    }
    told = ((sentence, below.get(str(sentence), "")) for sentence in anomalies["blocking"])
    return tag("ol", *(tag("li", *_reason(str(sentence), policy)) for sentence, policy in told))


def _reason(sentence: str, policy: str) -> list[Html]:
    before, found, after = sentence.partition(f"write into the policy {policy}") if policy else (sentence, "", "")
    if not found:
        return [prose(sentence)]
    return [prose(before), joined(("say so in the policy ", tag("a", "as below", href=f"#{_STEPS}"))), prose(after)]


def _warnings(results: Sequence[Mapping[str, Any]]) -> Html:
    """Which checks found something that blocks nothing."""
    checks = [str(r["check"]) for r in results if r["verdict"] != "PASS" and r["severity"] == "warn"]
    if not checks:
        return Html()
    count = "1 warning, which does" if len(checks) == 1 else f"{len(checks)} warnings, which do"
    return tag("p", f"{count} not block: {', '.join(dict.fromkeys(checks))}.")


def _check_table(results: Sequence[Mapping[str, Any]]) -> Html:
    """Every result; the slice has a column when any result is not of the overall slice."""
    sliced = any(result.get("slice", "overall") != "overall" for result in results)
    header = ["check", "verdict", "feature", "value", "interval", "threshold", "sentence"]
    rows = [
        [
            str(result["check"]),
            _badge(result),
            *([text(result.get("slice"))] if sliced else []),
            text(result.get("feature")),
            *cells(result),
            prose(str(result["sentence"])),
        ]
        for result in results
    ]
    if sliced:
        header.insert(2, "slice")
    first = header.index("value")
    content = tag("div", table(header, rows, numeric=range(first, first + 3)), class_="wide checks")
    return joined((content, tag("p", _NONE, class_="note")))


def _badge(result: Mapping[str, Any]) -> Html:
    """The verdict, and what it does; only one that blocks is a full red."""
    color, severity = _COLORS[result["verdict"]], str(result["severity"])
    does = (_PASSED if color == "good" else _FOUND)[severity]
    if color == "bad" and severity != "block":
        color = "warn"
    badge = tag("span", result["verdict"].replace("_", " "), class_=f"badge {color}")
    return joined((badge, "\n", tag("span", does, class_="note")))


def _next_steps(anomalies: Mapping[str, Any]) -> list[Html]:
    """The ways out of a refusal."""
    steps: Sequence[Mapping[str, Any]] = anomalies.get("next_steps") or ()
    if not steps:
        return []
    lines = (
        tag("li", str(step["what"]), *([tag("pre", tag("code", str(step["policy"])))] if step["policy"] else []))
        for step in steps
    )
    return [tag("h2", "What to do now", id=_STEPS), tag("ul", *lines)]


def _model_sections(
    summary: Mapping[str, Any] | None, passed: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]
) -> list[Html]:
    if summary is None:
        return [tag("p", "There are no attributions that could be judged, so nothing is drawn.", class_="warning")]
    check_summary(summary)
    if summary["status"] == "not_explained":
        return [tag("p", f"The model was not explained: {summary['reason']}", class_="warning"), facts_section(summary)]
    refusing = [result for result in results if result["verdict"] != "PASS" and result["severity"] == "block"]
    features, slices = (
        {str(result[key]) for result in refusing if result.get(key) is not None} for key in ("feature", "slice")
    )
    return attribution_sections(summary, passed, features, slices)
