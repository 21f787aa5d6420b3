"""The section of permutation importance: what metrics lose without a feature, beside its share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tfx_explain.report.chart import fraction
from tfx_explain.report.formats import excludes, interval, known, listed, measured, number, percent
from tfx_explain.report.html import Html, folded, joined, table, tag
from tfx_explain.report.importance_chart import MAX_FEATURES, importance_bars
from tfx_explain.report.slice_data import Measure

_PREFERRED: Final = (
    "auc",
    "binary_crossentropy",
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "mean_squared_error",
    "accuracy",
)
_NAMES: Final = 8
_OPEN_ROWS: Final = 8
_LARGE: Final = 0.05
"""A part of the attribution, or of all drops, that is worth a sentence when the other measure disagrees."""
_DISAGREES: Final = 4.0
"""How many times a feature's part of all drops is its share, before the share counts as small."""


def shown_metric(summary: Mapping[str, Any]) -> str | None:
    """The metric whose drops are shown first: one that was measured, AUC and losses before others."""
    items = (summary.get("permutation_importance") or {}).get("features") or ()
    names = {
        str(metric)
        for item in items
        for metric, entry in item["metrics"].items()
        if known(entry.get("drop")) is not None
    }
    return min(names, key=lambda name: (name not in _PREFERRED, _place(name), name), default=None)


def _place(name: str) -> int:
    return _PREFERRED.index(name) if name in _PREFERRED else 0


def importance_sections(summary: Mapping[str, Any]) -> list[Html]:
    """Bars, table and notes, or why there are none; nothing for a summary that was not asked."""
    measuring = summary.get("permutation_importance")
    if measuring is None:
        return []
    head = tag("h2", "Permutation importance")
    metric = shown_metric(summary)
    if measuring.get("absent") or metric is None:
        reason = measuring.get("absent") or "no metric could be measured"
        return [head, tag("p", f"Not measured: {reason}.", class_="note")]
    shares = _shares(summary)
    items = sorted(measuring["features"], key=lambda item: (-(known(_drop(item, metric)) or 0.0), str(item["name"])))
    drops = {str(item["name"]): _drop(item, metric) for item in items}
    svg = importance_bars(drops, shares, metric)
    more = f" Drawn are {MAX_FEATURES} of {len(drops)}; the table has them all." if len(drops) > MAX_FEATURES else ""
    lines = f"Lines are the 5th to the 95th percentile.{more}"
    figure = joined((tag("figure", svg), tag("p", lines, class_="note"))) if svg else Html()
    content = _table(items, shares, metric)
    return [
        head,
        *_disagreements(summary, items, shares, metric),
        figure,
        folded(f"Every drop ({len(items)})", content, shut=len(items) > _OPEN_ROWS),
        *_how(measuring),
    ]


def _drop(item: Mapping[str, Any], metric: str) -> Measure:
    return (item["metrics"].get(metric) or {}).get("drop") or {}


def _shares(summary: Mapping[str, Any]) -> dict[str, Measure]:
    """Share of each feature and each group; a feature goes before a group of its name."""
    out = {str(name): share for name, share in (summary.get("group_shares") or {}).items()}
    for feature in summary["features"]:
        out[str(feature["name"])] = {
            "value": fraction(feature.get("share")),
            "low": feature.get("share_low"),
            "high": feature.get("share_high"),
        }
    return out


def _table(items: Sequence[Mapping[str, Any]], shares: Mapping[str, Measure], metric: str) -> Html:
    others = sorted({str(name) for item in items for name in item["metrics"]} - {metric})
    header = ["feature", f"drop in {metric}", "interval", "ratio", "std of repeats", "share", "interval"]
    header += [f"drop in {name}" for name in others]
    rows = []
    for item in items:
        entry, share = item["metrics"].get(metric) or {}, shares.get(str(item["name"])) or {}
        drop = entry.get("drop") or {}
        rows.append(
            [
                str(item["name"]),
                number(drop.get("value")),
                interval(drop.get("low"), drop.get("high")),
                number((entry.get("ratio") or {}).get("value")),
                number(entry.get("std")),
                percent(share.get("value")),
                interval(share.get("low"), share.get("high"), percent),
                *(measured(_drop(item, name)) for name in others),
            ]
        )
    return tag("div", table(header, rows, numeric=range(1, len(header))), class_="wide features")


def _disagreements(
    summary: Mapping[str, Any], items: Sequence[Mapping[str, Any]], shares: Mapping[str, Measure], metric: str
) -> list[Html]:
    """Features on which attributions and permutations do not agree; groups stand for themselves."""
    features = {str(feature["name"]) for feature in summary["features"]}
    total = sum(max(known(_drop(item, metric)) or 0.0, 0.0) for item in items if str(item["name"]) in features)
    idle, hidden = [], []
    for item in items:
        name, drop = str(item["name"]), _drop(item, metric)
        share, value = known(shares.get(name)), known(drop)
        if name not in features or share is None or value is None:
            continue
        part = value / total if total > 0 else 0.0
        if share >= _LARGE and not any(_needs(_drop(item, one)) for one in item["metrics"]):
            idle.append((share, f"{name} ({percent(share)})"))
        elif part >= _LARGE and part > _DISAGREES * share and _needs(drop):
            hidden.append((part, f"{name} ({percent(part)} of all drops, {percent(share)} of the attribution)"))
    sentences = []
    if idle:
        sentences.append(
            f"Large share, yet no metric clearly loses when it is permuted: {_largest(idle)}. Either other features"
            " carry the same, or the model leans on what does not help it here."
        )
    if hidden:
        sentences.append(
            f"Small share, yet {metric} loses much when it is permuted: {_largest(hidden)}. It may act together with"
            " other features, whose attributions then cancel or hold its part."
        )
    return [tag("p", sentence, class_="warning") for sentence in sentences]


def _needs(drop: Measure) -> bool:
    return (known(drop) or 0.0) > 0 and excludes(drop, 0.0)


def _largest(found: Sequence[tuple[float, str]]) -> str:
    return listed((text for _, text in sorted(found, key=lambda one: (-one[0], one[1]))), _NAMES)


def _how(measuring: Mapping[str, Any]) -> list[Html]:
    """How it was measured, and what was not."""
    strata = listed(measuring.get("strata") or (), _NAMES)
    donors = f"rows that agree in {strata}" if strata else "all rows"
    sentences = [
        f"Each feature of {number(measuring.get('rows'))} rows was replaced {number(measuring.get('repeats'))} times"
        f" by its value in another row, out of {donors}. A drop is positive when the model needs the feature: what"
        " AUC and accuracies lose, what losses gain. The ratio is the metric permuted to the metric as it is."
    ]
    alone = measuring.get("rows_alone_in_their_stratum")
    if alone:
        sentences.append(f"{number(alone)} rows are alone in their stratum.")
    grouped = measuring.get("only_in_groups") or ()
    if grouped:
        sentences.append(f"Permuted only together with their group: {listed(grouped, _NAMES)}.")
    reparsed = measuring.get("reparsed_features") or ()
    if reparsed:
        sentences.append(f"Replaced in the raw example: {listed(reparsed, _NAMES)}.")
    return [tag("p", " ".join(sentences), class_="note")]
