"""Tensors of one shape in one block: the path of many scalar features is walked by one operation."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import tensorflow as tf


class Packing:
    """Which of a list of tensors [rows, ...] lie in one block [members, rows, ...].

    Tensors share a block if the graph knows that their rows have one shape and type; one whose shape is open is alone.
    Members are the outer axis, so that putting together and taking apart copy whole tensors at most.
    """

    def __init__(self, tensors: Sequence[tf.Tensor | tf.TensorSpec]) -> None:
        groups: dict[object, list[int]] = collections.defaultdict(list)
        for index, tensor in enumerate(tensors):
            row = tensor.shape[1:]
            alike = (tuple(row), tensor.dtype) if row.is_fully_defined() else index
            groups[alike].append(index)
        self._groups = tuple(tuple(group) for group in groups.values())

    def specs(self, tensors: Sequence[tf.TensorSpec]) -> list[tf.TensorSpec]:
        """Those of the blocks."""
        first = [(len(group), tensors[group[0]]) for group in self._groups]
        return [tf.TensorSpec([members, *spec.shape], spec.dtype) for members, spec in first]

    def pack(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The blocks, [members, rows, ...] each."""
        members = [[tensors[index] for index in group] for group in self._groups]
        return [tf.stack(group) if len(group) > 1 else tf.expand_dims(group[0], 0) for group in members]

    def unpack(self, blocks: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The tensors in their order, [rows, ...] each."""
        found: dict[int, tf.Tensor] = {}
        for group, block in zip(self._groups, blocks, strict=True):
            found |= dict(zip(group, tf.unstack(block, num=len(group)), strict=True))
        return [found[index] for index in range(len(found))]
