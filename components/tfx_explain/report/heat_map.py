"""Heat map of shares: slices down, features across, coloured by the distance from the overall share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt

from tfx_explain.report.chart import drawn, fraction, legend
from tfx_explain.report.formats import excludes, known, points, shortened, visible
from tfx_explain.report.html import Html, joined
from tfx_explain.report.slice_data import Slice

MAX_SLICES: Final = 30
MAX_FEATURES: Final = 15

_LESS: Final = "#e8a04c"
_SAME: Final = "#f4f6f8"
_MORE: Final = "#74abdf"
_INK: Final = "#1c2430"
_SOFT: Final = "#5b6675"
_ROW_LENGTH: Final = 56
_COLUMN_LENGTH: Final = 26
_FULL: Final = 0.15
"""A difference of shares that has the full colour: one large move must not make all others pale."""


def share_heat_map(slices: Sequence[Slice], overall: Mapping[str, float], first: Sequence[str] = ()) -> Html:
    """A legend and an SVG; empty when no slice has a share between 0 and 1.

    A cell has a colour where the overall share lies outside the slice's interval. The first row is the overall slice.

    Args:
      slices: at most MAX_SLICES of them are drawn, the first ones.
      overall: share of each feature overall.
      first: features that have a column in any case.
    """
    slices = slices[:MAX_SLICES]
    features = _features(slices, overall, first)
    cells = [_overall_cell(column, overall.get(name)) for column, name in enumerate(features)]
    for row, entry in enumerate(slices, 1):
        cells += [_cell(row, column, entry, name, overall.get(name)) for column, name in enumerate(features)]
    cells = [cell for cell in cells if cell["text"]]
    if not any(cell["row"] for cell in cells):
        return Html()
    colors = {
        f"{points(_FULL)} from overall, or more": _MORE,
        f"{points(-_FULL)}, or less": _LESS,
        "the slice's interval holds the overall share, or is unknown": _SAME,
    }
    return joined((legend(colors), drawn(_chart(cells, [entry["name"] for entry in slices], features))))


def _features(slices: Sequence[Slice], overall: Mapping[str, float], first: Sequence[str]) -> list[str]:
    """Those that lead anywhere, in the order of their overall shares."""
    largest = dict(overall)
    for entry in slices:
        for name, feature in entry["features"].items():
            share = fraction(known(feature.get("share")))
            if share is not None:
                largest[name] = max(share, largest.get(name, 0.0))
    chosen = sorted(largest, key=lambda name: (name not in first, -largest[name], name))[:MAX_FEATURES]
    return sorted(chosen, key=lambda name: (-overall.get(name, 0.0), name))


def _overall_cell(column: int, share: float | None) -> dict[str, Any]:
    text = "" if share is None else f"{100 * share:.1f}"
    return {"row": 0, "column": column, "difference": 0.0, "text": text, "ink": _INK}


def _cell(row: int, column: int, entry: Slice, name: str, overall: float | None) -> dict[str, Any]:
    measure = entry["features"].get(name, {}).get("share")
    share = fraction(known(measure))
    cell = _overall_cell(column, share)
    clear = share is not None and overall is not None and excludes(measure, overall)
    difference = share - overall if clear and share is not None and overall is not None else 0.0
    return cell | {"row": row, "difference": difference, "ink": _INK if clear else _SOFT}


def _chart(cells: list[dict[str, Any]], names: Sequence[str], features: Sequence[str]) -> alt.LayerChart:
    """Rows and columns by number, not by name: two long names may be shortened to the same text."""
    data = alt.Chart(alt.Data(values=cells))
    x = alt.X("column:O", axis=None, sort="ascending", scale=alt.Scale(padding=0.04))
    y = alt.Y("row:O", axis=None, sort="ascending", scale=alt.Scale(padding=0.06))
    color = alt.Color(
        "difference:Q",
        legend=None,
        scale=alt.Scale(domain=[-_FULL, 0, _FULL], range=[_LESS, _SAME, _MORE], interpolate="rgb", clamp=True),
    )
    squares = data.mark_rect().encode(x=x, y=y, color=color)
    shares = [
        data.transform_filter(alt.datum.ink == ink).mark_text(fontSize=11, color=ink).encode(x=x, y=y, text="text:N")
        for ink in (_INK, _SOFT)
    ]
    rows = [
        {"row": row, "name": shortened(visible(name), _ROW_LENGTH), "weight": "normal" if row else "bold"}
        for row, name in enumerate(["overall", *names])
    ]
    columns = [{"column": i, "name": shortened(visible(name), _COLUMN_LENGTH)} for i, name in enumerate(features)]
    labels = alt.Chart(alt.Data(values=rows)).mark_text(align="right", dx=-8, fontSize=12, color=_INK)
    heads = alt.Chart(alt.Data(values=columns)).mark_text(align="left", angle=320, fontSize=12, color=_INK)
    return alt.layer(
        squares,
        *shares,
        labels.encode(x=alt.value(0), y=y, text="name:N"),
        heads.encode(x=x, y=alt.value(-10), text="name:N"),
    ).properties(
        width={"step": 52},
        height={"step": 21},
        padding={"left": 8 + 2 * max(len(str(row["name"])) for row in rows), "right": 90, "top": 10, "bottom": 5},
    )
