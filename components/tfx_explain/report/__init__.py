"""HTML report pages: plain data in, one self-contained page out."""

from tfx_explain.report.anomalies import render_anomalies
from tfx_explain.report.attributions import render_attributions

__all__ = ["render_anomalies", "render_attributions"]
