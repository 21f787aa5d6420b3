"""SavedModel -> FeatureModel, PermutationModel: an exported model's graph, cut at its raw features."""

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
from tfx_explain.engine.feature_graph.narrow import Narrow, PermutationModel
from tfx_explain.engine.feature_graph.opened import OpenedModel, open_model

__all__ = [
    "BatchDependentError",
    "ConvergenceError",
    "CutPolicyError",
    "Encoded",
    "ExampleError",
    "FeatureModel",
    "FeatureModelError",
    "Narrow",
    "NoGradientError",
    "NotRepeatableError",
    "OpenedModel",
    "OutputError",
    "PathIntegral",
    "PermutationModel",
    "SavedModelError",
    "SelfCheckError",
    "SignatureError",
    "open_model",
]
