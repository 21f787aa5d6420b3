"""tfx_explain: explain models inside TFX pipelines, and gate their push by what they lean on."""

import importlib
from typing import TYPE_CHECKING, Any

from tfx_explain.names import GATE_NODE_ID

if TYPE_CHECKING:
    from tfx_explain.artifacts.types import AttributionAnomalies, AttributionReference, ModelAttributions
    from tfx_explain.attribution_validator.component import AttributionValidator
    from tfx_explain.attribution_validator.gate import add_attribution_gate, check_gate
    from tfx_explain.attribution_validator.strategies import LatestGatedModel, LatestReference
    from tfx_explain.config import ConfigError, ExplainConfig, ValidationConfig
    from tfx_explain.explainer_gen.component import ExplainerGen

__all__ = [
    "GATE_NODE_ID",
    "AttributionAnomalies",
    "AttributionReference",
    "AttributionValidator",
    "ConfigError",
    "ExplainConfig",
    "ExplainerGen",
    "LatestGatedModel",
    "LatestReference",
    "ModelAttributions",
    "ValidationConfig",
    "add_attribution_gate",
    "check_gate",
]

# Loaded on first use: Beam workers and the command line import this package, and must not import tfx.
_MODULES = {
    "AttributionAnomalies": "tfx_explain.artifacts.types",
    "AttributionReference": "tfx_explain.artifacts.types",
    "ModelAttributions": "tfx_explain.artifacts.types",
    "AttributionValidator": "tfx_explain.attribution_validator.component",
    "add_attribution_gate": "tfx_explain.attribution_validator.gate",
    "check_gate": "tfx_explain.attribution_validator.gate",
    "LatestGatedModel": "tfx_explain.attribution_validator.strategies",
    "LatestReference": "tfx_explain.attribution_validator.strategies",
    "ConfigError": "tfx_explain.config",
    "ExplainConfig": "tfx_explain.config",
    "ValidationConfig": "tfx_explain.config",
    "ExplainerGen": "tfx_explain.explainer_gen.component",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
