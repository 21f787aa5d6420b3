"""Bars of the features' shares: the candidate beside the models that passed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

import altair as alt

from tfx_explain.report.formats import is_number, percent, shortened, visible
from tfx_explain.report.html import Html, joined, tag

MAX_FEATURES: Final = 30
"""Features in a chart; more of them cannot be told apart."""

_CANDIDATE: Final = "this model"
_NAMED: Final = "this model, named by a check"
_NEWEST: Final = "last model that passed"
_OLDER: Final = "earlier models that passed"
_COLORS: Final = {_CANDIDATE: "#2f6fb3", _NAMED: "#b3261e", _NEWEST: "#aab4c0", _OLDER: "#5b6675"}
_FONT: Final = "Liberation Sans, Arial, Helvetica, sans-serif"
_ROW_HEIGHT: Final = {False: 20, True: 32}
NAME_LENGTH: Final = 36


def drawn_features(
    candidate: Mapping[str, Mapping[str, Any]],
    passed: Sequence[Mapping[str, Mapping[str, Any]]],
    named: Set[str] = frozenset(),
) -> list[str]:
    """Features to draw, largest share first.

    Those that a check names come before all others when there are more than `MAX_FEATURES`; a feature that only the
    last model that passed leans on has its place by that model's share.

    Args:
      candidate: a feature's statistics by name.
      passed: the same for each model that passed, newest last.
      named: features that a failed check names.
    """
    models = [candidate, *passed[-1:]]
    shares = {
        name: tuple(_share(model.get(name, {})) or 0.0 for model in models)
        for name in {name for model in models for name in model}
        if any(_share(model.get(name, {})) is not None for model in models)
    }
    chosen = sorted(shares, key=lambda name: (name not in named, -max(shares[name]), name))[:MAX_FEATURES]
    return sorted(chosen, key=lambda name: (tuple(-share for share in shares[name]), name))


def share_bars(
    candidate: Mapping[str, Mapping[str, Any]],
    passed: Sequence[Mapping[str, Mapping[str, Any]]],
    named: Set[str] = frozenset(),
) -> Html:
    """A legend and an SVG of each feature's share with its interval; empty when no share lies between 0 and 1.

    The arguments are those of `drawn_features`.
    """
    names = drawn_features(candidate, passed, named)
    if not names:
        return Html()
    rows = [
        row
        for rank, name in enumerate(names)
        for row in (
            _bar(rank, 0, _NAMED if name in named else _CANDIDATE, candidate.get(name, {})),
            *(_bar(rank, 1, _OLDER, model.get(name, {})) for model in passed[:-1]),
            *(_bar(rank, 1, _NEWEST, model.get(name, {})) for model in passed[-1:]),
        )
        if row["share"] is not None
    ]
    labels = [{"rank": rank, "name": shortened(visible(name), NAME_LENGTH)} for rank, name in enumerate(names)]
    models = [model for model in _COLORS if any(row["model"] == model for row in rows)]
    return joined(
        (
            legend({model: _COLORS[model] for model in models}),
            drawn(_chart(rows, labels, models, compared=bool(passed))),
        )
    )


def _share(feature: Mapping[str, Any]) -> float | None:
    """A share that can be drawn, or None."""
    return fraction(feature.get("share"))


def fraction(value: object) -> float | None:
    """A number from 0 to 1, or None."""
    return float(value) if is_number(value) and 0 <= value <= 1 else None


def _bar(rank: int, place: int, model: str, feature: Mapping[str, Any]) -> dict[str, Any]:
    """One mark: `place` is the upper (0) or lower (1) half of the feature's row."""
    share = _share(feature)
    return {
        "rank": rank,
        "place": place,
        "model": model,
        "share": share,
        "low": fraction(feature.get("share_low")),
        "high": fraction(feature.get("share_high")),
        "text": percent(share),
    }


def legend(colors: Mapping[str, str]) -> Html:
    """Squares of the colours, which stand under their meanings, in the page's own font.

    Text in the drawing is measured with another font where that one is missing.
    """
    keys = (
        tag("span", Html(f'<svg width="12" height="12"><rect width="12" height="12" fill="{color}"/></svg>'), meaning)
        for meaning, color in colors.items()
    )
    return tag("div", *keys, class_="legend")


def _chart(
    rows: list[dict[str, Any]], labels: list[dict[str, Any]], models: list[str], compared: bool
) -> alt.LayerChart:
    """Rows by rank, not by name: two long names may be shortened to the same text."""
    data = alt.Chart(alt.Data(values=rows))
    place = alt.YOffset("place:O", sort="ascending") if compared else alt.Undefined
    rank = alt.Y("rank:O", axis=None, sort="ascending", scale=alt.Scale(paddingInner=0.3, paddingOuter=0.15))
    share = alt.X("share:Q", title="share of the summed mean |attribution|", axis=alt.Axis(format="%", tickCount=8))
    color = alt.Color(
        "model:N",
        scale=alt.Scale(domain=models, range=[_COLORS[model] for model in models]),
        legend=None,
    )
    newest = data.transform_filter(alt.datum.model != _OLDER)
    bars = newest.mark_bar().encode(x=share, y=rank, yOffset=place, color=color)
    whiskers = (
        newest.transform_filter("datum.low !== null && datum.high !== null")
        .mark_rule(color="#1c2430", strokeWidth=1.5)
        .encode(x="low:Q", x2="high:Q", y=rank, yOffset=place)
    )
    older = (
        data.transform_filter(alt.datum.model == _OLDER)
        .mark_tick(thickness=2, bandSize=8)
        .encode(x=share, y=rank, yOffset=place, color=color)
    )
    values = (
        data.transform_filter("datum.place == 0")
        .transform_calculate(end="datum.high === null ? datum.share : max(datum.share, datum.high)")
        .mark_text(align="left", dx=5, fontSize=11, color="#1c2430")
        .encode(x="end:Q", y=rank, yOffset=place, text="text:N")
    )
    names = (
        alt.Chart(alt.Data(values=labels))
        .mark_text(align="right", dx=-8, fontSize=12, color="#1c2430")
        .encode(x=alt.datum(0), y=rank, text="name:N")
    )
    return alt.layer(bars, whiskers, older, values, names).properties(
        width=720,
        height={"step": _ROW_HEIGHT[compared], "for": "position"},
        padding={"left": 8 + 2 * max(len(label["name"]) for label in labels), "right": 60, "top": 5, "bottom": 5},
    )


def drawn(chart: alt.LayerChart | alt.HConcatChart) -> Html:
    """The chart in the report's colours, drawn by vl-convert, which needs neither a browser nor a network."""
    styled = (
        chart.configure(font=_FONT, aria=False, background="white")
        .configure_view(stroke=None)
        .configure_axis(gridColor="#eef1f4", domainColor="#aab4c0", labelColor="#5b6675", titleColor="#5b6675")
    )
    text = io.StringIO()
    styled.save(text, format="svg")
    return Html(text.getvalue().strip())
