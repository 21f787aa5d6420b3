"""SavedModel -> FeatureModel, PredictionModel, PermutationModel: an exported model's graph, cut at its raw features."""

from tfx_explain.engine.feature_graph.compiled import CompiledModel
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
    UnsupportedOpError,
)
from tfx_explain.engine.feature_graph.feature_model import FeatureModel
from tfx_explain.engine.feature_graph.named_operation import NamedOperation
from tfx_explain.engine.feature_graph.narrow import Narrow, PermutationModel
from tfx_explain.engine.feature_graph.opened import OpenedModel, open_model
from tfx_explain.engine.feature_graph.prediction_model import PredictionModel

__all__ = [
    "BatchDependentError",
    "CompiledModel",
    "NamedOperation",
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
    "PredictionModel",
    "SavedModelError",
    "SelfCheckError",
    "SignatureError",
    "UnsupportedOpError",
    "open_model",
]
