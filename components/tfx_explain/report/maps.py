"""Maps of single rows: an image's pixels, or a sequence's tokens, coloured by their attribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tfx_explain.report.formats import is_number, number, shortened, text
from tfx_explain.report.html import Html, folded, tag

MAX_ROWS: Final = 8
_FOR: Final = (47, 111, 179)
_AGAINST: Final = (214, 112, 30)
_SIDE: Final = 168
_PALEST: Final = 0.02
"""A pixel below this part of the map's largest |attribution| stays white, which keeps the page small."""


def map_sections(summary: Mapping[str, Any]) -> list[Html]:
    """The maps of the first rows of each split, and the mean over all rows; nothing where none were asked for."""
    splits = [split for split in summary.get("elements") or () if split.get("features")]
    if not splits:
        return []
    unit = text(summary["model"].get("unit"))
    out = [
        tag("h2", "Pixels and tokens"),
        tag(
            "p",
            f"Blue speaks for the target, orange against it, in {unit}; each map has its own scale, to its largest"
            " |attribution|. A map's sum is the feature's attribution in that row.",
            class_="note",
        ),
    ]
    for split in splits:
        title = f"Split {split['split']}: the first {min(len(split['rows']), MAX_ROWS)} rows by id"
        rows = [_row(row) for row in split["rows"][:MAX_ROWS]]
        out.append(folded(title, *rows, *_means(split), shut=False))
    return out


def _row(row: Mapping[str, Any]) -> Html:
    heading = f"{str(row['id'])[:12]}: target {row['target']}, prediction {number(row['prediction'])}"
    return tag("div", tag("p", heading), *(_map(feature) for feature in row["features"]), class_="map")


def _means(split: Mapping[str, Any]) -> list[Html]:
    """Mean |attribution| of each pixel over the rows; tokens of different rows have nothing in common but a place."""
    maps = []
    for feature in split["features"]:
        if _is_image(feature["mean_absolute"]):
            heading = f"Mean |attribution| of {shortened(feature['name'], 60)} over {number(feature['rows'])} rows"
            maps.append(tag("div", tag("p", heading), _image(feature["mean_absolute"]), class_="map"))
    return maps


def _map(feature: Mapping[str, Any]) -> Html:
    values = feature["attribution"]
    if _is_image(values):
        return _image(values)
    if values and all(not isinstance(value, list) for value in values):
        return _tokens(str(feature["name"]), values, feature.get("elements"))
    return tag("p", f"{feature['name']} has elements in three dimensions or more, which are not drawn.", class_="note")


def _is_image(values: Sequence[Any]) -> bool:
    return bool(values) and all(
        isinstance(line, list) and line and not any(isinstance(value, list) for value in line) for line in values
    )


def _image(lines: Sequence[Sequence[Any]]) -> Html:
    """An SVG of squares, in the image's own proportions."""
    largest = max((abs(value) for line in lines for value in line if is_number(value)), default=0.0)
    squares = [
        f'<rect x="{x}" y="{y}" width="1" height="1" fill="{_color(value, largest)}"/>'
        for y, line in enumerate(lines)
        for x, value in enumerate(line)
        if is_number(value) and largest and abs(value) >= _PALEST * largest
    ]
    width, height = max(map(len, lines)), len(lines)
    scale = _SIDE / max(width, height)
    return Html(
        f'<svg viewBox="0 0 {width} {height}" width="{width * scale:.0f}" height="{height * scale:.0f}" '
        f'shape-rendering="crispEdges"><rect width="{width}" height="{height}" fill="#fff" stroke="#dde2e8" '
        f'stroke-width="0.1"/>{"".join(squares)}</svg>'
    )


def _tokens(name: str, values: Sequence[Any], elements: Sequence[str] | None) -> Html:
    """The row's tokens where they are known, else their places; elements behind the last token are padding."""
    largest = max((abs(value) for value in values if is_number(value)), default=0.0)
    known = elements is not None
    words = list(elements) if elements is not None else [str(place) for place in range(len(values))]
    spans = []
    for word, value in zip(words, values, strict=False):
        if not known and not value:
            continue
        style = f"background:{_color(value, largest)};color:{_ink(value, largest)}"
        spans += [tag("span", shortened(word, 40), style=style, title=number(value)), " "]
    rest = sum(abs(value) for value in values[len(words) :] if is_number(value))
    notes = [] if known else [tag("span", "Places of the elements; what stands there is not known.", class_="note")]
    if rest:
        notes.append(tag("span", f"Behind the last one: |attribution| {number(rest)}.", class_="note"))
    return tag("p", f"{name}: ", *spans, *notes, class_="tokens")


def _color(value: object, largest: float) -> str:
    """White at 0, the full colour at the largest |attribution|."""
    part = abs(value) / largest if is_number(value) and largest else 0.0
    full = _FOR if is_number(value) and value > 0 else _AGAINST
    return "#" + "".join(f"{round(255 + part * (channel - 255)):02x}" for channel in full)


def _ink(value: object, largest: float) -> str:
    return "#fff" if is_number(value) and largest and abs(value) > 0.65 * largest else "#1c2430"
