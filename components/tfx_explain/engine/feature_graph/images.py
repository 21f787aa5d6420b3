"""Images among the cut tensors: which they are, and baselines that begin at their pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.flat_graph import topological
from tfx_explain.engine.feature_graph.partition import Partition

_CHANNELS = (1, 3, 4)
_DECODERS = frozenset(
    [
        *("DecodeBmp", "DecodeGif", "DecodeImage", "DecodeJpeg", "DecodeAndCropJpeg", "DecodePng", "DecodeWebP"),
        *("DecodeRaw", "DecodePaddedRaw"),
    ]
)
_DEFAULT_SIGMA = 1 / 8
"""Of the shorter side."""


def image_shape(shapes: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """[height, width] or [height, width, channels] of a feature that is cut as one image; None of any other.

    Args:
        shapes: of a feature's cut tensors, without the rows.
    """
    if len(shapes) != 1 or len(shapes[0]) not in (2, 3):
        return None
    return tuple(int(size) for size in shapes[0])


def decoded_images(partition: Partition) -> tuple[str, ...]:
    """Attributed features whose one cut tensor has an image's shape and comes out of an image decoder, sorted.

    A decoder within a loop or a branch, such as map_fn's, counts too. [n, m] may be tokens as well as an image: the
    decoder tells.
    """
    flat, columns = partition.flat, partition.columns
    functions = {f.signature.name: f for f in flat.graph.as_graph_def().library.function}
    found = []
    for feature, name in zip(columns, partition.cuts, strict=True):
        tensor = flat.tensor(name)
        is_image = tensor.shape.rank == 3 or (tensor.shape.rank == 4 and tensor.shape[-1] in _CHANNELS)
        if is_image and columns.count(feature) == 1 and _DECODERS & _types(topological([tensor]), functions):
            found.append(feature)
    return tuple(sorted(found))


def default_sigma(shape: Sequence[int]) -> float:
    """Standard deviation of the blur of an image [height, width, ...], in pixels."""
    return min(shape[:2]) * _DEFAULT_SIGMA


def blurred(pixels: tf.Tensor, sigma: float | None = None) -> tf.Tensor:
    """Images under a Gaussian blur, shaped as they are.

    The kernel is cut off at the image's edges and summed to 1 there, so that a uniform image stays what it is. The two
    axes are blurred one after the other, each by a product with a matrix.

    Args:
        pixels: float [rows, height, width] or [rows, height, width, channels].
        sigma: standard deviation in pixels; None is an eighth of the shorter side.
    """
    height, width = int(pixels.shape[1]), int(pixels.shape[2])
    sigma = default_sigma((height, width)) if sigma is None else sigma
    if not sigma > 0:
        raise ValueError(f"sigma must be > 0. Received: sigma={sigma}")
    rows = tf.constant(gaussian_weights(height, sigma), pixels.dtype)
    columns = tf.constant(gaussian_weights(width, sigma), pixels.dtype)
    return tf.einsum("ij,bjw...->biw...", rows, tf.einsum("vw,bhw...->bhv...", columns, pixels))


def gaussian_weights(size: int, sigma: float) -> np.ndarray:
    """Weights of each place in the blur of each place along an axis of `size` pixels: float64 [size, size]."""
    places = np.arange(size)
    weights = np.exp(-((places[:, None] - places[None]) ** 2) / (2 * sigma**2))
    return weights / weights.sum(axis=1, keepdims=True)


def _types(order: Iterable[tf.Operation], functions: Mapping) -> set[str]:
    """Types of the ops, and of those in the loop bodies and branches that they call."""
    types: set[str] = set()
    seen: set[str] = set()
    stack = [op.node_def for op in order]
    while stack:
        node = stack.pop()
        types.add(node.op)
        called = [node.op, *(attribute.func.name for attribute in node.attr.values())]
        called += [function.name for attribute in node.attr.values() for function in attribute.list.func]
        for name in called:
            if name in functions and name not in seen:
                seen.add(name)
                stack.extend(functions[name].node_def)
    return types
