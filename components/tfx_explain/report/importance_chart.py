"""Bars of what a metric loses without each feature, beside bars of the features' shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import altair as alt

from tfx_explain.report.chart import NAME_LENGTH, drawn, fraction
from tfx_explain.report.formats import is_number, known, number, percent, shortened, visible
from tfx_explain.report.html import Html
from tfx_explain.report.slice_data import Measure

MAX_FEATURES: Final = 20

_INK: Final = "#1c2430"
_DROP: Final = "#7a4fa3"
_SHARE: Final = "#2f6fb3"


def importance_bars(drops: Mapping[str, Measure], shares: Mapping[str, Measure], metric: str) -> Html:
    """An SVG of drops with their intervals, and shares beside; empty when no drop is known.

    Args:
      drops: of the metric, by feature or group; drawn are the MAX_FEATURES that are largest by drop or by share.
      shares: of the same, where they have one.
      metric: its name.
    """
    values = {name: value for name, drop in drops.items() if (value := known(drop)) is not None}
    if not values:
        return Html()
    top = max(max(values.values()), 0.0) or 1.0
    parts = {name: max(value / top, fraction(known(shares.get(name))) or 0.0) for name, value in values.items()}
    chosen = sorted(values, key=lambda name: (-parts[name], name))[:MAX_FEATURES]
    names = sorted(chosen, key=lambda name: (-values[name], name))
    lost = [_bar(rank, drops[name], number(values[name])) for rank, name in enumerate(names)]
    led = [_bar(rank, shares.get(name) or {}, percent(known(shares.get(name)))) for rank, name in enumerate(names)]
    labels = [{"rank": rank, "name": shortened(visible(name), NAME_LENGTH)} for rank, name in enumerate(names)]
    left = _panel(lost, f"drop in {shortened(visible(metric), NAME_LENGTH)}", _DROP, ".3~g")
    right = _panel(led, "share of the summed mean |attribution|", _SHARE, "%")
    text = (
        alt.Chart(alt.Data(values=labels))
        .mark_text(align="right", dx=-8, fontSize=12, color=_INK)
        .encode(x=alt.value(0), y=_rank(), text="name:N")
    )
    widest = max(len(str(label["name"])) for label in labels)
    return drawn(
        alt.hconcat(_sized(alt.layer(*left, text)), _sized(alt.layer(*right)), spacing=70).properties(
            padding={"left": 8 + 2 * widest, "right": 60, "top": 5, "bottom": 5}
        )
    )


def _sized(chart: alt.LayerChart) -> alt.LayerChart:
    return chart.properties(width=340, height={"step": 20})


def _bar(rank: int, measure: Measure, text: str) -> dict[str, Any]:
    low, high = measure.get("low"), measure.get("high")
    drawable = is_number(low) and is_number(high)
    return {
        "rank": rank,
        "value": known(measure),
        "low": low if drawable else None,
        "high": high if drawable else None,
        "text": text,
    }


def _rank() -> alt.Y:
    return alt.Y("rank:O", axis=None, sort="ascending", scale=alt.Scale(paddingInner=0.3, paddingOuter=0.15))


def _panel(rows: list[dict[str, Any]], title: str, color: str, form: str) -> list[alt.Chart]:
    """Bars, intervals and values; a row without a value keeps its place."""
    data = alt.Chart(alt.Data(values=rows))
    x = alt.X("value:Q", title=title, axis=alt.Axis(format=form, tickCount=5))
    bars = data.mark_bar(color=color).encode(x=x, y=_rank())
    whiskers = (
        data.transform_filter("datum.low !== null")
        .mark_rule(color=_INK, strokeWidth=1.5)
        .encode(x=alt.X("low:Q"), x2="high:Q", y=_rank())
    )
    values = (
        data.transform_calculate(end="max(0, datum.value, datum.high === null ? datum.value : datum.high)")
        .mark_text(align="left", dx=5, fontSize=11, color=_INK)
        .encode(x=alt.X("end:Q"), y=_rank(), text="text:N")
    )
    return [bars, whiskers, values]
