"""The table of how each feature's attributions spread over rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tfx_explain.report.formats import interval, number, percent, text
from tfx_explain.report.html import Html, folded, table, tag

_QUANTILE: Final = "quantile_"
_STATISTICS: Final = ("standard_deviation", "fraction_positive", "direction")


def spread_table(summary: Mapping[str, Any]) -> list[Html]:
    """Standard deviation, sign, direction and quantiles, shut; nothing for a summary without them."""
    features = summary["features"]
    keys = {str(key) for feature in features for key in feature}
    quantiles = [key for key in keys if key.startswith(_QUANTILE) and not key.endswith(("_low", "_high"))]
    quantiles.sort(key=lambda key: (len(key.partition(".")[0]), key))
    statistics = [key for key in _STATISTICS if key in keys]
    if not statistics and not quantiles:
        return []
    header = ["feature", *(_title(key) for key in (*statistics, *quantiles))]
    rows = [[str(feature["name"]), *(_cell(feature, key) for key in (*statistics, *quantiles))] for feature in features]
    note = (
        f"Attributions in {text(summary['model'].get('unit'))}. Direction: rank correlation of a feature's value and"
        " its attribution, from -1 (larger values lower the output) to 1; absent where values have no order."
    )
    return [
        folded(
            "How attributions spread over rows",
            tag("div", table(header, rows, numeric=range(1, len(header))), class_="wide features"),
            tag("p", note, " In brackets the 5th to the 95th percentile.", class_="note"),
        )
    ]


def _title(key: str) -> str:
    if key.startswith(_QUANTILE):
        return f"quantile {key.removeprefix(_QUANTILE)}"
    return key.replace("_", " ")


def _cell(feature: Mapping[str, Any], key: str) -> str:
    form = percent if key == "fraction_positive" else number
    value, low, high = (feature.get(f"{key}{end}") for end in ("", "_low", "_high"))
    if low is None and high is None:
        return form(value)
    return f"{form(value)}\n[{interval(low, high, form)}]"
