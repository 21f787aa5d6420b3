"""Path integrals compiled by XLA: for which models, and whether they are what the plain graph gives."""

from __future__ import annotations

import threading
from collections.abc import Collection

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.encoded import Encoded, PathIntegral
from tfx_explain.engine.feature_graph.feature_model import FeatureModel
from tfx_explain.engine.feature_graph.rounding import TOLERANCE, relative_difference

LEAST_ROWS = 512
"""Rows of a batch; with fewer, XLA's products are slower than TensorFlow's."""
_MOST_OPERATIONS = 2000
# A flipped ReLU moves a row by this part of its summed |attribution| at most; so many rows may have one.
_KINK, _AT_KINKS = 0.05, 1 / 8
_SMALL, _TINY = 1e-3, 1e-30  # rows are measured by this part of the largest row at least

# What XLA's CPU compiler fuses well and computes as TensorFlow does. Left out: convolutions, of which it has slow ones;
# loops and branches; strings and tables; gathers, which it clamps where TensorFlow refuses an index.
_FUSED = frozenset(
    {
        "Abs",
        "Add",
        "AddN",
        "AddV2",
        "BatchMatMul",
        "BatchMatMulV2",
        "BiasAdd",
        "BroadcastTo",
        "Cast",
        "ConcatV2",
        "Const",
        "Div",
        "DivNoNan",
        "Einsum",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "ExpandDims",
        "Expm1",
        "Fill",
        "Greater",
        "GreaterEqual",
        "Identity",
        "IdentityN",
        "LeakyRelu",
        "Less",
        "LessEqual",
        "Log",
        "Log1p",
        "LogSoftmax",
        "LogicalAnd",
        "LogicalNot",
        "LogicalOr",
        "MatMul",
        "Max",
        "Maximum",
        "Mean",
        "Min",
        "Minimum",
        "Mul",
        "Neg",
        "NoOp",
        "NotEqual",
        "OnesLike",
        "Pack",
        "Placeholder",
        "Pow",
        "Prod",
        "Rank",
        "ReadVariableOp",
        "RealDiv",
        "Relu",
        "Relu6",
        "Reshape",
        "Rsqrt",
        "Select",
        "SelectV2",
        "Selu",
        "Shape",
        "Sigmoid",
        "Sign",
        "Slice",
        "Softmax",
        "Softplus",
        "Softsign",
        "Split",
        "SplitV",
        "Sqrt",
        "Square",
        "SquaredDifference",
        "Squeeze",
        "StopGradient",
        "StridedSlice",
        "Sub",
        "Sum",
        "Tanh",
        "Tile",
        "Transpose",
        "Unpack",
        "ZerosLike",
    }
)


class CompiledModel:
    """A `FeatureModel` whose large batches are integrated by a function that XLA has compiled, where that works.

    Compiling takes one to five seconds for each shape of a batch, in every process: many rows pay for it. Small
    batches, and models that XLA does not suit, are integrated as the model does. Which way a batch goes depends on the
    model, its sample and the shape of the batch alone.
    """

    def __init__(self, model: FeatureModel) -> None:
        """Looks at the graph; nothing is compiled yet."""
        self._model = model
        self.suits = _suits(model)
        self._works: dict[tuple[int, int, bytes], _Shapes | None] = {}
        self._lock = threading.Lock()

    @property
    def compiles(self) -> bool:
        """Whether some batch was of a kind that is compiled."""
        return any(shapes is not None for shapes in self._works.values())

    def path_gradients(
        self,
        encoded: Encoded,
        input_baseline: Encoded,
        target: int | np.ndarray,
        nodes: np.ndarray,
        weights: np.ndarray,
        *,
        elements: Collection[str] = (),
    ) -> PathIntegral:
        """As `FeatureModel.path_gradients`, to its rounding."""
        if elements or not self.suits or len(encoded) < LEAST_ROWS or not self._checked(encoded, input_baseline, nodes):
            return self._model.path_gradients(encoded, input_baseline, target, nodes, weights, elements=elements)
        return self._model.path_gradients(encoded, input_baseline, target, nodes, weights, compiled=True)

    def _checked(self, encoded: Encoded, input_baseline: Encoded, nodes: np.ndarray) -> bool:
        key = len(encoded), len(input_baseline), np.asarray(nodes).tobytes()
        with self._lock:
            if key not in self._works:
                self._works[key] = self._compiled_shapes(len(encoded), len(input_baseline) > 1, np.asarray(nodes))
            # Where a feature's width changes from batch to batch, each width would be compiled again.
            return self._works[key] == _shapes(encoded)

    def _compiled_shapes(self, rows: int, own_baselines: bool, nodes: np.ndarray) -> _Shapes | None:
        """Compiles for batches of this size; their shapes, or None if the sample is not explained as it is plainly."""
        model, sample = self._model, self._model.opened.sample
        few, tiled = model.encode(sample), model.encode(np.resize(sample, rows))
        baseline = few.take(np.zeros(1, np.int64))
        of_few = few.take(np.arange(len(few))[::-1]) if own_baselines else baseline
        of_tiled = of_few.take(np.arange(rows) % len(few)) if own_baselines else baseline
        rule = nodes, np.full(len(nodes), 1 / len(nodes))
        try:
            got = model.path_gradients(tiled, of_tiled, 0, *rule, compiled=True)
        except tf.errors.OpError:
            return None
        plain = model.path_gradients(few, of_few, 0, *rule)
        return _shapes(tiled) if alike(plain, got, len(few)) else None


_Shapes = tuple[tuple[int, ...], ...]


def _shapes(encoded: Encoded) -> _Shapes:
    return tuple(tuple(tensor.shape) for tensor in (*encoded.cuts, *encoded.frozen))


def alike(plain: PathIntegral, compiled: PathIntegral, rows: int) -> bool:
    """Whether the first rows are equal to rounding, but for the few where it moves a node across the kink of a ReLU."""
    if relative_difference(plain.prediction, compiled.prediction[:rows]) > TOLERANCE:
        return False
    expected, got = plain.attributions.astype(np.float64), compiled.attributions[:rows].astype(np.float64)
    if not np.array_equal(np.isfinite(expected), np.isfinite(got)):
        return False
    finite = np.isfinite(expected).all(axis=1)
    if not finite.any():
        return False  # nothing was compared
    scale = np.abs(expected[finite]).sum(axis=1)
    scale = np.maximum(scale, scale.max(initial=_TINY) * _SMALL)
    apart = np.abs(expected[finite] - got[finite]).max(axis=1, initial=0) / scale
    return bool((apart <= _KINK).all() and np.count_nonzero(apart > TOLERANCE) <= _AT_KINKS * rows)


def _suits(model: FeatureModel) -> bool:
    types, operations = model.behind_the_cut()
    return (
        len(operations) <= _MOST_OPERATIONS
        and set(operations) <= _FUSED
        and all(dtype.is_floating or dtype.is_integer or dtype.is_bool for dtype in types)
    )
