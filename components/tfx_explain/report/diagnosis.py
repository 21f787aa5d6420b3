"""The page of a diagnosis: what changed, by feature, by slice, and upstream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tfx_explain.report.attributions import check_format
from tfx_explain.report.formats import ABSENT, interval, number, text
from tfx_explain.report.html import Html, page, table, tag
from tfx_explain.report.paired import pair_table, part_of, size_of, value_of

_CHANGES: Final = ("model", "data", "both", "neither", "unknown")
_SLICES: Final = 30
_CORRELATION: Final = (
    "Row correlation: of what each model attributes to the feature, over the same rows. 1: the same but for scale and "
    "offset. 0: unrelated. Below 0: the more the one, the less the other. –: one does not use it, or never varies it."
)


def render_diagnosis(diagnosis: Mapping[str, Any]) -> str:
    """The page, the same bytes for the same input.

    Args:
      diagnosis: what `diagnosis.json` holds.

    Returns:
      A whole HTML document without scripts or links.

    Raises:
      ValueError: the input is of a newer format, or `changed` is unknown to this release.
    """
    check_format(diagnosis)
    if diagnosis["changed"] not in _CHANGES:
        raise ValueError(f"changed must be one of {_CHANGES}. Received: changed={diagnosis['changed']!r}")
    return page(
        f"{diagnosis['headline']} · diagnosis",
        _banner(diagnosis),
        tag("h2", "By feature"),
        *pair_table(diagnosis["overall"], "diagnosis.json"),
        *([tag("p", _CORRELATION, class_="note")] if diagnosis["pairs_absent"] is None else []),
        tag("h2", "By slice"),
        *_slices(diagnosis["slices"], diagnosis.get("min_slice_rows", 0.0)),  # older files have none
        tag("h2", "Upstream"),
        *_lineage(diagnosis),
        tag("h2", "Facts"),
        _facts(diagnosis),
    )


def _banner(diagnosis: Mapping[str, Any]) -> Html:
    sentences = tag("ol", *(tag("li", str(s)) for s in diagnosis["sentences"]))
    notes = [tag("p", str(note), class_="warning") for note in diagnosis["notes"]]
    kind = "banner good" if diagnosis["changed"] == "neither" else "banner bad"
    no_refusal = diagnosis.get("no_refusal")  # older files have none
    first = [tag("p", tag("strong", str(no_refusal)), class_="warning")] if no_refusal else []
    return tag("section", *first, tag("h1", diagnosis["headline"]), sentences, *notes, class_=kind)


def _slices(slices: Sequence[Mapping[str, Any]], least: float) -> list[Html]:
    """Slices with at least `least` effective rows, the most moved first; how many have fewer."""
    if not slices:
        return [tag("p", "No slice was compared.", class_="note")]
    large = [s for s in slices if (s.get("effective_rows") or 0.0) >= least]
    small = f"Slices with fewer than {number(least)} effective rows, in diagnosis.json: {len(slices) - len(large)}."
    left_out = [tag("p", small, class_="note")] if len(large) < len(slices) else []
    if not large:
        return left_out
    ordered = sorted(large, key=lambda s: (-max((size_of(f) for f in s["features"]), default=0.0), s["name"]))
    rows = []
    for entry in ordered[:_SLICES]:
        by_model, by_data = (_largest(entry["features"], part) for part in ("model_part", "data_part"))
        rows.append(
            [
                str(entry["name"]),
                number(entry["paired_rows"]),
                *by_model,
                *by_data,
                value_of(entry.get("absolute_prediction_difference")),
            ]
        )
    header = ["slice", "paired rows", "model: feature", "part", "data: feature", "part", "mean |prediction change|"]
    return [tag("div", table(header, rows, numeric=(1, 3, 5, 6)), class_="wide"), *left_out]


def _largest(features: Sequence[Mapping[str, Any]], part: str) -> tuple[str, str]:
    known = [f for f in features if f[part] is not None and f[part]["value"] is not None]
    if not known:
        return ABSENT, ABSENT
    feature = min(known, key=lambda f: (-abs(f[part]["value"]), f["name"]))
    return str(feature["name"]), part_of(feature[part])


def _lineage(diagnosis: Mapping[str, Any]) -> list[Html]:
    lineage = diagnosis["lineage"]
    if lineage is None:
        return [tag("p", f"Not compared: {diagnosis['lineage_absent']}.", class_="note")]
    parts: list[Html] = []
    if lineage["differences"]:
        rows = [[text(d["node"]), str(d["kind"]).replace("_", " "), str(d["words"])] for d in lineage["differences"]]
        parts.append(tag("div", table(["node", "what", "difference"], rows), class_="wide"))
    else:
        parts.append(tag("p", "Nothing that ML Metadata records differs.", class_="note"))
    parts += [tag("p", str(u), class_="warning") for u in lineage["unknown"]]
    return [*parts, tag("p", f"Nodes compared: {', '.join(map(str, lineage['nodes']))}.", class_="note")]


def _facts(diagnosis: Mapping[str, Any]) -> Html:
    overall, examples = diagnosis["overall"], diagnosis["examples"]
    rows = [
        ["this model", _model(diagnosis["candidate"])],
        ["last model that passed", _model(diagnosis["reference"])],
        ["unit of attributions", text(diagnosis["unit"])],
        ["examples", ", ".join(map(str, examples["patterns"]))],
        ["rows read", number(examples["rows"])],
        ["rows compared", number(overall["paired_rows"])],
        ["rows with another target", number(overall.get("other_target_rows"))],
        ["mean |prediction change|", _interval(overall.get("absolute_prediction_difference"))],
        ["rows of the attributions", _yes(examples["as_explained"], "the same", "others")],
        ["rows of the last model's time", _yes(examples["as_then"], "the same", "others")],
    ]
    return tag("div", table(["", ""], rows), class_="wide facts")


def _model(model: Mapping[str, Any]) -> str:
    return f"{text(model['uri'])} ({str(model['fingerprint'])[:12]})"


def _yes(value: bool | None, yes: str, no: str) -> str:
    return ABSENT if value is None else yes if value else no


def _interval(measured: Mapping[str, Any] | None) -> str:
    if measured is None:
        return ABSENT
    return f"{number(measured['value'])} ({interval(measured['low'], measured['high'])})"
