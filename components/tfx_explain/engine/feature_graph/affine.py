"""How far behind the cut the network is still affine: the path can be walked from there on.

On the line from the baseline b to x an affine map h commutes with interpolation,
h(b + a (x - b)) = h(b) + a (h(x) - h(b)). So the gradients are summed at h and pulled back to the cut once, instead of
once a step. This is exact as long as the map computes in float32 or wider: what rounds to bfloat16 or half is left to
the rest of the network, which sees each point of the line as the model would.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import tensorflow as tf

from tfx_explain.engine.feature_graph.dependencies import SHAPE_OPS
from tfx_explain.engine.feature_graph.flat_graph import topological

# Affine in their first input, if the others are free of the cut.
_UNARY = frozenset(
    [
        "Identity",
        "Reshape",
        "Squeeze",
        "ExpandDims",
        "Transpose",
        "Neg",
        "Sum",
        "Mean",
        "StridedSlice",
        "Slice",
        "Pad",
        "PadV2",
        "Tile",
        "BroadcastTo",
        "AvgPool",
        "ReverseV2",
        "GatherV2",
        "Cast",
        "SpaceToDepth",
        "DepthToSpace",
        "SplitV",
        "Unpack",
        "RealDiv",
        "Div",
        "DivNoNan",
    ]
)
# Affine in all inputs together.
_JOINT = frozenset({"ConcatV2", "Pack", "AddV2", "Add", "Sub", "BiasAdd", "AddN"})
# Affine in any one input, if the others are free of the cut.
_BILINEAR = frozenset(
    [
        "Mul",
        "MatMul",
        "BatchMatMul",
        "BatchMatMulV2",
        "BatchMatMulV3",
        "Einsum",
        "Conv2D",
        "Conv3D",
        "DepthwiseConv2dNative",
    ]
)


class _Kind(enum.Enum):
    CONSTANT = enum.auto()
    SHAPE = enum.auto()
    AFFINE = enum.auto()
    OTHER = enum.auto()


def affine_frontier(cuts: Iterable[tf.Tensor], frozen: Iterable[tf.Tensor], target: tf.Tensor) -> list[tf.Tensor]:
    """The last tensors that are affine in the cuts: all that the rest of the network needs of them."""
    cuts = list(cuts)
    stop = {tensor.op for tensor in cuts}
    order = topological([target], stop)
    kinds = {tensor.ref(): _Kind.AFFINE for tensor in cuts}
    kinds |= {tensor.ref(): _Kind.OTHER for tensor in frozen}
    for op in order:
        kind = _Kind.OTHER if op in stop else _kind(op, [kinds.get(t.ref(), _Kind.CONSTANT) for t in op.inputs])
        for tensor in op.outputs:
            kinds.setdefault(tensor.ref(), kind)
    frontier: dict[str, tf.Tensor] = {}
    for op in order:
        leaves = any(kinds[tensor.ref()] == _Kind.OTHER for tensor in op.outputs)
        if leaves and op not in stop and op.type not in SHAPE_OPS:
            frontier.update({t.name: t for t in op.inputs if kinds.get(t.ref()) == _Kind.AFFINE})
    if kinds.get(target.ref()) == _Kind.AFFINE:
        frontier[target.name] = target
    return list(frontier.values())


def rounds_to_half(op: tf.Operation) -> bool:
    """Whether an output is a float narrower than those that the line is walked in: bfloat16, half and below."""
    return any(tensor.dtype.is_floating and tensor.dtype.size < tf.float32.size for tensor in op.outputs)


def _kind(op: tf.Operation, inputs: list[_Kind]) -> _Kind:
    if op.type == "Placeholder":
        # Captured variables, tables and constants; the one string is the batch of examples.
        return _Kind.OTHER if op.outputs[0].dtype == tf.string else _Kind.CONSTANT
    if _Kind.OTHER in inputs:
        return _Kind.OTHER
    if op.type in SHAPE_OPS or _Kind.AFFINE not in inputs:
        return _Kind.SHAPE if any(kind != _Kind.CONSTANT for kind in inputs) else _Kind.CONSTANT
    if not all(tensor.dtype.is_floating for tensor in op.outputs) or rounds_to_half(op):
        return _Kind.OTHER  # a narrower float has steps along the line
    return _Kind.AFFINE if _is_affine(op, inputs) else _Kind.OTHER


def _is_affine(op: tf.Operation, inputs: list[_Kind]) -> bool:
    first_only = inputs[0] == _Kind.AFFINE and _Kind.AFFINE not in inputs[1:]
    if op.type in _JOINT:
        return True
    if op.type in _BILINEAR:
        return inputs.count(_Kind.AFFINE) == 1
    if op.type == "Split":
        return inputs[0] == _Kind.CONSTANT
    if op.type in ("Select", "SelectV2"):
        return inputs[0] != _Kind.AFFINE
    if op.type == "FusedBatchNormV3":
        return first_only and not op.get_attr("is_training")
    return first_only and op.type in _UNARY
