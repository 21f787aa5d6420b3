"""The bound: gradients of the bare network along the path, in one compiled function at its best batch size."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

Tensors = list[tf.Tensor]
Head = Callable[[Tensors], tf.Tensor]
"""Encoded inputs, each [rows, ...] -> the explained logits [rows]."""

# Rows of a call, nodes of a step of its loop, and whether XLA compiles it.
CANDIDATES = (
    (2048, 1, False),
    (4096, 1, False),
    (512, 1, False),
    (512, 5, False),
    (256, 10, False),
    (128, 50, False),
    (2048, 1, True),
    (256, 10, True),
)
_TRIALS, _TRIAL_SECONDS = 3, 0.5


class Bound:
    """Integrated gradients of a bare network from encoded inputs on, with nothing around them.

    Attributes:
        settings: the candidate that was taken, the CPU time of all, and which ones XLA refused.
    """

    def __init__(self, head: Head, inputs: Tensors, baseline: Tensors, nodes: np.ndarray, weights: np.ndarray) -> None:
        """Looks for the candidate with the least CPU time a row on `inputs`, each [rows, ...]; `baseline` has one."""
        self._head, self._baseline, self._nodes, self._weights = head, baseline, nodes, weights
        spent, functions, refused = {}, {}, []
        for candidate in CANDIDATES:
            rows, per_step, compiled = candidate
            function = self._function(per_step, compiled)
            part = [_resized(tensor, rows) for tensor in inputs]
            try:
                function(*part)
            except tf.errors.OpError as error:
                if not compiled:
                    raise
                refused.append(f"{rows}-{per_step}-{compiled}: {error.message.splitlines()[0][:120]}")
                continue
            times = []
            for _ in range(_TRIALS):
                if sum(times) * rows > _TRIAL_SECONDS:
                    break
                start = time.process_time()
                function(*part)[0].numpy()
                times.append((time.process_time() - start) / rows)
            spent[candidate], functions[candidate] = min(times), function
        best = min(spent, key=lambda candidate: spent[candidate])
        self._rows, self._best = best[0], functions[best]
        self.settings: dict[str, Any] = {
            "rows": best[0],
            "nodes_a_step": best[1],
            "xla": best[2],
            "tried_us": {"-".join(map(str, key)): 1e6 * value for key, value in spent.items()},
            "refused_by_xla": refused,
        }

    def attribute(self, inputs: Sequence[tf.Tensor]) -> list[np.ndarray]:
        """Attributions by input, each shaped as that input [rows, ...]."""
        rows = int(inputs[0].shape[0])
        parts = []
        for first in range(0, rows, self._rows):
            chunk = [tensor[first : first + self._rows] for tensor in inputs]
            left = int(chunk[0].shape[0])
            if left < self._rows:
                chunk = [_resized(tensor, self._rows) for tensor in chunk]
            parts.append([tensor.numpy()[:left] for tensor in self._best(*chunk)])
        return [np.concatenate(columns) for columns in zip(*parts, strict=True)]

    def seconds(self, inputs: Sequence[tf.Tensor]) -> float:
        """CPU seconds of all rows; only whole calls are counted, so that padding costs nothing."""
        rows = int(inputs[0].shape[0])
        calls = max(1, rows // self._rows)
        chunks = [
            [_resized(tensor[i * self._rows : (i + 1) * self._rows], self._rows) for tensor in inputs]
            for i in range(calls)
        ]
        start = time.process_time()
        for chunk in chunks:
            for tensor in self._best(*chunk):
                tensor.numpy()
        return (time.process_time() - start) * rows / (calls * self._rows)

    def _function(self, per_step: int, compiled: bool) -> Callable[..., Tensors]:
        steps = len(self._nodes) // per_step
        nodes = tf.constant(self._nodes.reshape(steps, per_step), tf.float32)
        weights = tf.constant(self._weights.reshape(steps, per_step), tf.float32)

        @tf.function(autograph=False, jit_compile=compiled)
        def integrate(*inputs: tf.Tensor) -> Tensors:
            differences = [x - b for x, b in zip(inputs, self._baseline, strict=True)]

            def add(step: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
                points = []
                for b, d in zip(self._baseline, differences, strict=True):
                    node = tf.reshape(nodes[step], [per_step] + [1] * d.shape.rank)
                    points.append(tf.reshape(b[None] + node * d[None], [-1, *d.shape[1:]]))  # [nodes * rows, ...]
                gradients = tf.gradients(self._head(points), points, unconnected_gradients="zero")
                more = []
                for total, gradient, d in zip(sums, gradients, differences, strict=True):
                    by_node = tf.reshape(gradient, [per_step, *d.shape])
                    more.append(total + tf.tensordot(weights[step], by_node, 1))
                return (step + 1, *more)

            first = (tf.constant(0), *(tf.zeros_like(d) for d in differences))
            sums = tf.while_loop(lambda step, *_: step < steps, add, first, parallel_iterations=1)[1:]
            return [d * total for d, total in zip(differences, sums, strict=True)]

        return integrate


def _resized(tensor: tf.Tensor, rows: int) -> tf.Tensor:
    """So many rows: the first ones, repeated if there are fewer."""
    have = int(tensor.shape[0])
    return tensor[:rows] if have >= rows else tf.gather(tensor, tf.range(rows) % have)
