"""How many rows go through a graph at once, by the bytes that its tensors have for each of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import tensorflow as tf

from tfx_explain.engine.feature_graph.flat_graph import FlatGraph, topological

BYTES_AT_ONCE = 1 << 30
"""What the tensors of one call may take, estimated; a worker also holds the model, its blocks and TensorFlow itself."""

_LIVE = 3  # of a forward pass: what an operation reads, what it writes, and a bypass


def rows_at_once(flat: FlatGraph, feeds: Collection[str], target: str, open_length: int) -> tuple[int, int]:
    """(rows with gradients, rows of a forward pass) of one call, powers of two.

    Gradients keep every tensor on the way, a forward pass the largest few. Of tensors inside loops nothing is known.

    Args:
        flat: the graph.
        feeds: names of the tensors behind which rows run.
        target: name of the tensor that is computed.
        open_length: stands for the length of an axis that the graph does not tell.
    """
    stop = {flat.tensor(name).op for name in feeds}
    inside = [op for op in topological([flat.tensor(target)], stop) if op not in stop]
    tensors = [tensor for op in inside for tensor in op.outputs] + [flat.tensor(name) for name in feeds]
    sizes = [_bytes_of_a_row(tensor, open_length) for tensor in tensors]
    return _rows(sum(sizes)), _rows(_LIVE * max(sizes, default=0))


def parts(rows: int, at_once: int) -> Iterable[range]:
    """So many rows at a time, in order; the last part may be shorter."""
    return (range(start, min(start + at_once, rows)) for start in range(0, rows, at_once))


def _rows(bytes_of_a_row: int) -> int:
    return 1 << max(BYTES_AT_ONCE // max(bytes_of_a_row, 1), 1).bit_length() - 1


def _bytes_of_a_row(tensor: tf.Tensor, open_length: int) -> int:
    """0 where the first axis has a fixed length: such a tensor is no row's, but a weight or a shape."""
    if not tensor.dtype.is_floating or not tensor.shape.rank or tensor.shape[0] is not None:
        return 0
    size = tensor.dtype.size
    for length in tensor.shape[1:]:
        size *= open_length if length is None else length
    return size
