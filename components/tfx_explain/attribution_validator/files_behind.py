"""What the page of a verdict leads to: the attributions' page, and the files that both are made from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from tfx.dsl.io import fileio

from tfx_explain.artifacts.locations import absolute, link
from tfx_explain.report.origin import Linked

ANOMALIES_FILE: Final = "anomalies.json"
REPORT_FILE: Final = "report.html"
_DATA: Final = ("summary.json", "explain_config.json", "slice_statistics.parquet", "cost.json")
"""Of the attributions: what the numbers are, how they were asked for, those of every slice, what they cost."""


def files_behind(folder: str, attributions: str, evaluation: str = "") -> Mapping[str, Sequence[Linked]]:
    """Files by what they are of, each with a link from the page where a browser can follow one.

    Args:
      folder: of the page; `anomalies.json` is written beside it.
      attributions: folder of what was judged, whole or not; empty where it is not known.
      evaluation: folder of Evaluator's result, of protocol buffers; empty where it is not known.
    """
    there = [n for n in (REPORT_FILE, *_DATA) if attributions and fileio.exists(os.path.join(attributions, n))]
    paths = {name: os.path.join(attributions, name) for name in there}
    # With its path, which tells where to look once the page was moved, or where no link leads there.
    page = [Linked(absolute(path), link(folder, path)) for name, path in paths.items() if name == REPORT_FILE]
    paths = {ANOMALIES_FILE: os.path.join(folder, ANOMALIES_FILE)} | paths
    data = [Linked(name, link(folder, path)) for name, path in paths.items() if name != REPORT_FILE]
    evaluator = [Linked(absolute(evaluation))] if evaluation else []
    return {"Attributions": page, "As data": data, "Evaluator's result of this model": evaluator}
