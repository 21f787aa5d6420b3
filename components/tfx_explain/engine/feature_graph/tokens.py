"""Which tokens of a text the elements of its cut tensor stand for, where the graph itself splits the text."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.flat_graph import topological
from tfx_explain.engine.feature_graph.partition import Partition

_SPLIT = "StringSplitV2"


def text_tokens(partition: Partition, feature: str, examples: np.ndarray, cut: np.ndarray) -> list[list[str]] | None:
    """The tokens of each row, in order; the first of them stands for the first element, and so on.

    The graph must split one text a row, once, and keep the tokens in place: every row's elements must change to its
    padding exactly behind its last token. A start token, or a filter of words, shows there.

    Args:
        partition: the graph and its cut.
        feature: attributed feature.
        examples: serialised tf.Examples, bytes [rows].
        cut: the feature's cut tensor, [rows, elements, ...].

    Returns:
        Tokens by row, at most as many as there are elements; None where it is not known what the elements are.
    """
    names = [name for column, name in zip(partition.columns, partition.cuts, strict=True) if column == feature]
    if len(names) != 1 or cut.ndim < 3:
        return None
    flat = partition.flat
    splits = [op for op in topological([flat.tensor(names[0])]) if op.type == _SPLIT]
    if len(splits) != 1:
        return None
    function = flat.function(flat.input_names, [tensor.name for tensor in splits[0].outputs])
    indices, values, shape = (tensor.numpy() for tensor in function(tf.constant(examples)))
    if shape[0] != len(examples):
        return None
    starts = np.searchsorted(indices[:, 0], np.arange(len(examples) + 1))
    if not follows_its_tokens(cut, np.diff(starts)):
        return None
    words = [value.decode("utf-8", "replace") for value in values]
    return [words[a:b][: cut.shape[1]] for a, b in zip(starts[:-1], starts[1:], strict=True)]


def follows_its_tokens(cut: np.ndarray, lengths: np.ndarray) -> bool:
    """Whether each row of [rows, elements, ...] is constant behind its tokens, and only there.

    Args:
        cut: the elements.
        lengths: int [rows], tokens of each row; rows that fill all elements tell nothing.
    """
    rows, size = cut.shape[:2]
    flat = cut.reshape(rows, size, -1)
    short = np.nonzero(lengths < size)[0]
    if not len(short):
        return False
    padding = flat[short[0], -1]
    is_padding = (flat == padding).all(axis=2)  # [rows, elements]
    return bool((is_padding == (np.arange(size) >= lengths[:, None])).all())
