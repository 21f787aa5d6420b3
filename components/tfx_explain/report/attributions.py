"""The page of ModelAttributions: what the model leans on, and how well that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from tfx_explain.report.blocked import blocked_sections, no_gradient
from tfx_explain.report.chart import MAX_FEATURES, share_bars
from tfx_explain.report.cost import cost_sections, lowered
from tfx_explain.report.formats import (
    ABSENT,
    NO_INTERVAL,
    interval,
    is_number,
    measured,
    number,
    percent,
    raw,
    shortened,
    text,
    visible,
)
from tfx_explain.report.groups import group_sections
from tfx_explain.report.html import Html, folded, joined, page, table, tag
from tfx_explain.report.importance import importance_sections, shown_metric
from tfx_explain.report.maps import map_sections
from tfx_explain.report.method import method_sentence, method_unit
from tfx_explain.report.metric_change import others
from tfx_explain.report.paired import paired_sections
from tfx_explain.report.profiting import profiting_sections
from tfx_explain.report.slices import slice_sections
from tfx_explain.report.spread import spread_table
from tfx_explain.report.weak_slices import weak_sections

_FORMAT_VERSION: Final = 3
_STATUSES: Final = ("explained", "not_explained")
_OPEN_ROWS: Final = 20


def render_attributions(summary: Mapping[str, Any], passed: Sequence[Mapping[str, Any]] = ()) -> str:
    """The page of one model's attributions, the same bytes for the same input.

    Args:
      summary: what `summary.json` holds. Shares are fractions, attributions in the unit of
        `method_unit`.
      passed: summaries of the models that passed the gate before, newest last.

    Returns:
      A whole HTML document without scripts or links.

    Raises:
      ValueError: a summary is of a newer format, or its status is unknown.
    """
    check_summary(summary)
    name = f"Model {_short(summary['model'].get('fingerprint'))}"
    if summary["status"] == "not_explained":
        return page(
            f"{name}: not explained",
            tag("section", tag("h1", "Not explained"), tag("p", summary["reason"]), class_="banner bad"),
            facts_section(summary),
        )
    reason = no_gradient(summary)
    if reason:
        return page(
            f"{name}: no attributions",
            tag("section", tag("h1", "No attributions"), tag("p", reason), _sample(summary), class_="banner bad"),
            *attribution_sections(summary, passed),
        )
    return page(
        f"{name}: attributions",
        tag(
            "section",
            tag("h1", _headline(summary)),
            tag("p", method_sentence(summary), class_="soft"),
            _sample(summary),
            class_="banner",
        ),
        *attribution_sections(summary, passed),
    )


def attribution_sections(
    summary: Mapping[str, Any],
    passed: Sequence[Mapping[str, Any]],
    named: Set[str] = frozenset(),
    named_slices: Set[str] = frozenset(),
) -> list[Html]:
    """All sections of an explained model; features in `named` are drawn in red, slices in `named_slices` come first.

    Raises:
      ValueError: as `render_attributions`.
    """
    for earlier in passed:
        check_summary(earlier)
    passed = others(summary, passed)
    candidate = _by_name(summary)
    references = [_by_name(earlier) for earlier in passed]
    if no_gradient(summary):
        return _without_attributions(summary, passed, named, named_slices)
    return [
        tag("h2", "What the model leans on"),
        *_notes(summary),
        _bars(candidate, references, named),
        *blocked_sections(summary),
        *paired_sections(summary),
        *importance_sections(summary),
        *group_sections(summary),
        *weak_sections(summary),
        *slice_sections(summary, shown_metric(summary), named_slices, named),
        *profiting_sections(summary),
        *map_sections(summary),
        tag("h2", "Every feature"),
        _feature_table(candidate, references, method_unit(summary), summary.get("at_input_baseline")),
        *spread_table(summary),
        tag("h2", "Predictions"),
        _predictions(summary, passed),
        facts_section(summary),
        *cost_sections(summary),
    ]


def _without_attributions(
    summary: Mapping[str, Any], passed: Sequence[Mapping[str, Any]], named: Set[str], named_slices: Set[str]
) -> list[Html]:
    """The sections of a model of which nothing was attributed: what was measured without a gradient."""
    return [
        *_notes(summary),
        *importance_sections(summary),
        *blocked_sections(summary),
        *slice_sections(summary, shown_metric(summary), named_slices, named),
        *profiting_sections(summary),
        tag("h2", "Predictions"),
        _predictions(summary, passed),
        facts_section(summary),
        *cost_sections(summary),
    ]


def check_summary(summary: Mapping[str, Any]) -> None:
    """Refuses what this version cannot read.

    Raises:
      ValueError: a summary is of a newer format, or its status is unknown.
    """
    check_format(summary)
    if summary["status"] not in _STATUSES:
        raise ValueError(f"status must be one of {_STATUSES}. Received: status={summary['status']!r}")


def check_format(data: Mapping[str, Any]) -> None:
    """Refuses a newer format.

    Raises:
      ValueError: `format_version` is above the one that this version writes.
    """
    if data["format_version"] > _FORMAT_VERSION:
        raise ValueError(
            f"format_version must be <= {_FORMAT_VERSION}; upgrade tfx-explain to read a newer one."
            f" Received: format_version={data['format_version']}"
        )


def facts_section(summary: Mapping[str, Any]) -> Html:
    """Everything that says what was explained, of which rows, and how."""
    model, examples, method = summary["model"], summary["examples"], summary["method"]
    unconverged = examples.get("unconverged_weight_fraction") or {}
    reasons = examples.get("failure_reasons") or {}
    at_baseline = summary.get("at_input_baseline") or {}
    rows: list[tuple[str, str]] = [
        ("Splits", ", ".join(map(str, examples.get("splits") or ())) or ABSENT),
        ("Rows read", number(examples.get("rows"))),
        ("Distinct rows explained", number(examples.get("explained_rows"))),
        ("Weight", number(examples.get("weight"))),
        ("Effective rows", number(examples.get("effective_rows"))),
        ("Failed rows", f"{number(examples.get('failed_rows'))} ({percent(examples.get('failed_weight_fraction'))})"),
        *((f"Failed: {reason}", number(reasons[reason])) for reason in sorted(reasons)),
        ("Unconverged weight", measured(unconverged, percent)),
        ("Method", text(method.get("name"))),
        ("Steps a row", number(method.get("num_steps"))),
        ("Steps of repaired rows", ", ".join(map(number, method.get("repair_steps") or ())) or ABSENT),
        *((("Crosses", text(method.get("crosses"))),) if method.get("crosses", "pair") != "pair" else ()),
        ("Input baseline from", text(method.get("input_baseline_source"))),
        *(
            [("Rows at the input baseline in every feature", percent(at_baseline.get("all_features")))]
            if at_baseline
            else []
        ),
        *((f"Image baseline of {n}", text(b)) for n, b in sorted((method.get("image_baselines") or {}).items())),
        ("Unit", text(model.get("unit"))),
        ("Targets", number(model.get("num_targets"))),
        *(
            (f"Model {key}", tag("code", text(model.get(key))))
            for key in ("uri", "signature", "output", "target", "link")
        ),
        *(
            (f"Fingerprint of {key}", tag("code", text(value)))
            for key, value in sorted((summary.get("fingerprints") or {}).items())
        ),
    ]
    return joined(
        (
            tag("h2", "Facts"),
            tag("div", table(("fact", "value"), rows), class_="wide facts"),
            *_input_baseline(summary, method.get("input_baseline") or {}, at_baseline.get("features") or {}),
        ),
    )


def _input_baseline(
    summary: Mapping[str, Any], values: Mapping[str, Sequence[Any]], at: Mapping[str, Any]
) -> list[Html]:
    """Where the paths begin, and how much of the weight has nothing to say of a feature since it is there already."""
    if not values:
        return []
    names = {*map(str, summary.get("uncovered_features") or ()), *_by_name(summary)}
    used = {part for name in names for part in (name, *name.split(" x "))}
    rows = [
        (
            name,
            tag("code", ", ".join(map(raw, part)) or "no value"),
            percent(at.get(name)) if name in used or name in at else "not used",
        )
        for name, part in values.items()
    ]
    header = ("feature", "input baseline", "rows at it")
    return [tag("h2", "Input baseline"), tag("div", table(header, rows, numeric=[2]), class_="wide facts")]


def _headline(summary: Mapping[str, Any]) -> str:
    """The first thing to know: which feature leads, and by how much."""
    features = [feature for feature in summary["features"] if is_number(feature.get("share"))]
    if not features:
        return "Explained, yet no feature has a share that can be read"
    first = max(features, key=lambda feature: feature["share"])
    return f"{shortened(visible(str(first['name'])), 60)} leads with {percent(first['share'])} of the attribution"


def _sample(summary: Mapping[str, Any]) -> Html:
    examples = summary["examples"]
    return tag(
        "p",
        f"{number(examples.get('explained_rows'))} distinct rows of {number(examples.get('rows'))} explained,"
        f" {len(summary['features'])} features {'attributed' if no_gradient(summary) else 'used'},"
        f" {len(summary.get('unused_features') or ())} unused.",
        class_="soft",
    )


def _notes(summary: Mapping[str, Any]) -> list[Html]:
    """What the bars leave out, and what the job had to say."""
    less = lowered(summary)
    notes = [tag("p", less, class_="warning")] if less else []
    notes += [tag("p", str(note), class_="note") for note in summary.get("notes") or ()]
    uncovered = summary.get("uncovered_features") or ()
    if uncovered:
        reached = "These features reach the output on a path that could not be explained: "
        notes.append(tag("p", reached, ", ".join(map(str, uncovered)), ".", class_="warning"))
    unused = summary.get("unused_features") or ()
    if unused:
        unread = "The model does not use these features: "
        notes.append(tag("p", unread, ", ".join(map(str, unused)), ".", class_="note"))
    return notes


def _bars(
    candidate: Mapping[str, Mapping[str, Any]], references: Sequence[Mapping[str, Mapping[str, Any]]], named: Set[str]
) -> Html:
    svg = share_bars(candidate, references, named)
    if not svg:
        nothing = "No feature has a share between 0 and 1 to draw; the table has what was measured."
        return tag("p", nothing, class_="warning")
    lines = "Lines are the 5th to the 95th percentile: how well a share is measured, not how far it may move."
    count = len(candidate)
    cut = f" The {MAX_FEATURES} largest of {count} features; the table has them all." if count > MAX_FEATURES else ""
    alone = "" if references else " No model has passed before that it could be compared with."
    return joined((tag("figure", svg), tag("p", lines, cut, alone, class_="note")))


def _feature_table(
    candidate: Mapping[str, Mapping[str, Any]],
    references: Sequence[Mapping[str, Mapping[str, Any]]],
    unit: str,
    at_baseline: Mapping[str, Any] | None = None,
) -> Html:
    """All features of the candidate and of the last model that passed, largest share first."""
    newest = references[-1] if references else {}
    names = sorted(
        {*candidate, *newest}, key=lambda name: (*(_descending(m.get(name, {})) for m in (candidate, newest)), name)
    )
    header = ["feature", "share", "interval", f"mean |attribution|, {unit}", "interval", f"mean, {unit}", "interval"]
    header.append("cut policy")
    if references:
        header.insert(3, "share, last passed")
    if at_baseline:
        header.insert(-1, "rows at the input baseline")
    rows = []
    for name in names:
        feature = candidate.get(name, {})
        row = [
            name,
            percent(feature.get("share")) if feature else "not used",
            interval(feature.get("share_low"), feature.get("share_high"), percent),
            number(feature.get("mean_absolute")),
            interval(feature.get("mean_absolute_low"), feature.get("mean_absolute_high")),
            number(feature.get("mean")),
            interval(feature.get("mean_low"), feature.get("mean_high")),
            text(feature.get("cut_policy")),
        ]
        if references:
            row.insert(3, percent(newest[name].get("share")) if name in newest else "not used")
        if at_baseline:
            row.insert(-1, percent((at_baseline.get("features") or {}).get(name)))
        rows.append(row)
    content = tag("div", table(header, rows, numeric=range(1, len(header) - 1)), class_="wide features")
    return folded(f"All {len(rows):,} features", content) if len(rows) > _OPEN_ROWS else content


def _predictions(summary: Mapping[str, Any], passed: Sequence[Mapping[str, Any]]) -> Html:
    """Mean prediction and metrics beside Evaluator's, and those of the last model that passed."""
    columns = {"this model": _measures(summary)}
    if summary.get("evaluator_metrics"):
        columns["Evaluator"] = summary["evaluator_metrics"]
    if passed:
        columns["last passed"] = _measures(passed[-1])
    names = dict.fromkeys(name for measures in columns.values() for name in measures)
    rows = [
        [name, *(cell for measures in columns.values() for cell in _measure_cells(measures.get(name) or {}))]
        for name in names
    ]
    header = ["", *(word for column in columns for word in (column, "interval"))]
    absent = summary.get("metrics_absent")
    note = tag("p", f"No metrics: {absent}", class_="warning") if absent else Html()
    dash = tag("p", NO_INTERVAL, class_="note")
    other = [tag("p", str(sentence), class_="warning") for sentence in summary.get("evaluator_differs") or ()]
    return joined((note, *other, tag("div", table(header, rows, numeric=range(1, len(header))), class_="wide"), dash))


def _measures(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    mean = (summary.get("prediction") or {}).get("mean")
    metrics = summary.get("metrics") or {}
    return {"mean prediction": {"value": mean}, **{name: metrics[name] for name in sorted(metrics)}}


def _measure_cells(measure: Mapping[str, Any]) -> tuple[str, str]:
    return number(measure.get("value")), interval(measure.get("low"), measure.get("high"))


def _by_name(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(feature["name"]): feature for feature in summary["features"]}


def _descending(feature: Mapping[str, Any]) -> tuple[bool, float]:
    """Sorts by share, largest first, and features without a share last."""
    share = feature.get("share")
    return (False, -share) if is_number(share) else (True, 0.0)


def _short(fingerprint: object) -> str:
    """Enough of a fingerprint to tell two models apart."""
    return text(fingerprint)[:12]
