"""SavedModel -> FeatureModel: the differentiable entry of an exported model, found in its graph."""

from tfx_explain.engine.feature_graph.encoded import Encoded, PathIntegral
from tfx_explain.engine.feature_graph.errors import (
    BatchDependentError,
    ConvergenceError,
    CutPolicyError,
    ExampleError,
    FeatureModelError,
    NoGradientError,
    NotRepeatableError,
    OutputError,
    SavedModelError,
    SelfCheckError,
    SignatureError,
)
from tfx_explain.engine.feature_graph.feature_model import FeatureModel

__all__ = [
    "BatchDependentError",
    "ConvergenceError",
    "CutPolicyError",
    "Encoded",
    "ExampleError",
    "FeatureModel",
    "FeatureModelError",
    "NoGradientError",
    "NotRepeatableError",
    "OutputError",
    "PathIntegral",
    "SavedModelError",
    "SelfCheckError",
    "SignatureError",
]
