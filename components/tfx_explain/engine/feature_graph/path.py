"""The TensorFlow functions of a partition: encode, logits, gradients and path integrals, each traced once."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence

import tensorflow as tf

from tfx_explain.engine.feature_graph.affine import affine_frontier
from tfx_explain.engine.feature_graph.output import Output, explained_value
from tfx_explain.engine.feature_graph.partition import Partition

Tensors = Sequence[tf.Tensor]


class PathFunctions:
    """tf.functions with open batch dimensions: one trace for every batch shape, so that shapes met earlier in a
    process never change a result.

    Attributes:
        encode: bytes [rows] -> cut tensors, then frozen tensors.
        logits: (cuts, frozen) -> float32 [rows, targets].
        gradient: (cuts, frozen, target) -> the gradient of the explained value, shaped as the cuts.
    """

    def __init__(
        self,
        partition: Partition,
        output: Output,
        unit: str,
        num_targets: int,
        columns: Sequence[str],
        sample_cuts: Tensors,
    ) -> None:
        flat = partition.flat
        self._partition = partition
        self._output = output
        self._unit = unit
        self._num_targets = num_targets
        self._columns = tuple(columns)
        frontier = _frontier(partition, sample_cuts)
        self._prefix = flat.importer(partition.cuts, frontier)
        self._tail = flat.importer([*frontier, *partition.frozen], [partition.target])
        cuts = [_ranked(flat.spec(name), value) for name, value in zip(partition.cuts, sample_cuts, strict=True)]
        frozen = [flat.spec(name) for name in partition.frozen]
        rows = tf.TensorSpec([None], tf.int32)
        chunks = tf.TensorSpec([None, None], tf.float32)

        self.encode = flat.function(flat.input_names, [*partition.cuts, *partition.frozen])
        self.logits = _function(self._logits_at_cuts, cuts, frozen)
        self.gradient = _function(self._gradient, cuts, frozen, rows)
        self._integrate_signature = (cuts, frozen, cuts, frozen, rows, chunks, chunks)
        self._integrals: dict[tuple[str, ...], Callable] = {}
        self._tracing = threading.Lock()

    def integrate(self, elements: tuple[str, ...] = ()) -> Callable:
        """The path integral, traced at the first call for these features.

        Returns:
            (cuts, frozen, baseline cuts, baseline frozen, target, nodes, weights) -> (attributions [rows, columns],
            prediction [rows], baseline prediction [rows], then by element [rows, ...] for each of `elements`); nodes
            and weights are [chunks, steps].
        """
        with self._tracing:
            if elements not in self._integrals:
                self._integrals[elements] = _function(
                    functools.partial(self._integrate, elements), *self._integrate_signature
                )
            return self._integrals[elements]

    def _logits(self, points: Tensors, frozen: Tensors) -> tf.Tensor:
        logits = self._tail(*points, *frozen)[0]
        return tf.reshape(tf.cast(logits, tf.float32), [-1, self._num_targets])

    def _logits_at_cuts(self, cuts: Tensors, frozen: Tensors) -> tf.Tensor:
        return self._logits(self._prefix(*cuts), frozen)

    def _explained(self, logits: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        return explained_value(logits, target, self._output.link, self._unit)

    def _gradient(self, cuts: Tensors, frozen: Tensors, target: tf.Tensor) -> list[tf.Tensor]:
        value = self._explained(self._logits_at_cuts(cuts, frozen), target)
        return _dense_gradients(value, cuts)

    def _integrate(
        self,
        elements: Sequence[str],
        cuts: Tensors,
        frozen: Tensors,
        baseline_cuts: Tensors,
        baseline_frozen: Tensors,
        target: tf.Tensor,
        nodes: tf.Tensor,
        weights: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        start, end = self._prefix(*baseline_cuts), self._prefix(*cuts)
        differences = [e - s for s, e in zip(start, end, strict=True)]  # a baseline's one row broadcasts

        def add_chunk(index, *sums):
            gradients = self._gradient_sum(start, differences, frozen, target, nodes[index], weights[index])
            return (index + 1, *(total + gradient for total, gradient in zip(sums, gradients, strict=True)))

        chunks = tf.shape(nodes)[0]
        sums = tf.while_loop(
            lambda index, *_: index < chunks,
            add_chunk,
            (tf.constant(0), *(tf.zeros_like(d) for d in differences)),
            shape_invariants=(tf.TensorShape([]), *(_open_rows(d) for d in differences)),
            parallel_iterations=1,
        )[1:]
        at_cuts = _dense_gradients(end, cuts, outer=list(sums))
        by_column: dict[str, list[tf.Tensor]] = {column: [] for column in self._columns}
        by_element: dict[str, list[tf.Tensor]] = {column: [] for column in elements}
        rows = tf.shape(target)[0]
        for column, x, b, gradient in zip(self._partition.columns, cuts, baseline_cuts, at_cuts, strict=True):
            products = tf.cast((x - b) * gradient, tf.float32)
            by_column[column].append(tf.reduce_sum(tf.reshape(products, [rows, -1]), axis=1))
            if column in elements:
                by_element[column].append(_by_element(products))
        attributions = tf.stack([tf.add_n(parts) for parts in by_column.values()], axis=1)  # [rows, columns]
        prediction = self._explained(self._logits(end, frozen), target)
        baseline_logits = self._logits(start, baseline_frozen)  # one row, or all
        baseline_prediction = self._explained(tf.broadcast_to(baseline_logits, [rows, self._num_targets]), target)
        return (attributions, prediction, baseline_prediction, *(tf.add_n(parts) for parts in by_element.values()))

    def _gradient_sum(
        self,
        start: Tensors,
        differences: Tensors,
        frozen: Tensors,
        target: tf.Tensor,
        nodes: tf.Tensor,
        weights: tf.Tensor,
    ) -> list[tf.Tensor]:
        """Weighted sum over nodes of the gradient at start + node * difference, all nodes in one call."""
        steps, rows = tf.shape(nodes)[0], tf.shape(target)[0]
        points = []
        for s, d in zip(start, differences, strict=True):
            node = tf.cast(tf.reshape(nodes, [-1] + [1] * d.shape.rank), d.dtype)
            point = tf.reshape(s[None] + node * d[None], tf.concat([[steps * rows], tf.shape(d)[1:]], 0))
            points.append(tf.ensure_shape(point, _open_rows(d)))  # [steps * rows, ...]
        logits = self._logits(points, self.repeat_frozen(frozen, steps))
        gradients = _dense_gradients(self._explained(logits, tf.tile(target, [steps])), points)
        summed = []
        for gradient, d in zip(gradients, differences, strict=True):
            by_step = tf.reshape(gradient, tf.concat([[steps], tf.shape(d)], 0))  # [steps, rows, ...]
            summed.append(tf.ensure_shape(tf.tensordot(tf.cast(weights, d.dtype), by_step, 1), _open_rows(d)))
        return summed

    def repeat_frozen(self, frozen: Tensors, steps: tf.Tensor | int) -> list[tf.Tensor]:
        """Frozen tensors for [steps * rows]: repeated; a dense_shape [rows, n] becomes [steps * rows, n]."""
        repeated = []
        for name, tensor in zip(self._partition.frozen, frozen, strict=True):
            if name in self._partition.structure:
                repeated.append(tf.concat([tensor[:1] * tf.cast(steps, tensor.dtype), tensor[1:]], 0))
            elif tensor.shape.rank == 0:
                repeated.append(tensor)
            else:
                multiples = tf.concat([tf.reshape(steps, [1]), tf.ones([tf.rank(tensor) - 1], tf.int32)], 0)
                repeated.append(tf.tile(tensor, multiples))
        return repeated


def _frontier(partition: Partition, sample_cuts: Tensors) -> list[str]:
    """Where the path is walked: behind the affine prefix if that is batch-major and stands alone, else at the cuts."""
    flat, cuts = partition.flat, list(partition.cuts)
    frozen = [flat.tensor(name) for name in partition.frozen]
    tensors = affine_frontier([flat.tensor(name) for name in cuts], frozen, flat.tensor(partition.target))
    names = [tensor.name for tensor in tensors]
    if not names or any(tensor.shape.rank is None for tensor in tensors):
        return cuts
    if flat.needs_inputs(cuts, names) or flat.needs_inputs([*names, *partition.frozen], [partition.target]):
        return cuts
    rows = sample_cuts[0].shape[0]
    values = flat.function(cuts, names)(*sample_cuts)
    return names if all(value.shape.rank and value.shape[0] == rows for value in values) else cuts


def _function(python_function: Callable, *signature) -> Callable:
    return tf.function(python_function, autograph=False, input_signature=signature).get_concrete_function()


def _by_element(products: tf.Tensor) -> tf.Tensor:
    """[rows, ...] without the innermost axis of three and more; [rows] becomes [rows, 1]."""
    if products.shape.rank == 1:
        return products[:, None]
    return tf.reduce_sum(products, axis=-1) if products.shape.rank > 2 else products


def _ranked(spec: tf.TensorSpec, value: tf.Tensor) -> tf.TensorSpec:
    """A spec whose rank the graph does not tell (SparseToDense of a computed shape) takes the sample's rank."""
    return tf.TensorSpec([None] * value.shape.rank, spec.dtype) if spec.shape.rank is None else spec


def _open_rows(tensor: tf.Tensor) -> tf.TensorShape:
    return tf.TensorShape([None, *tensor.shape[1:]])


def _dense_gradients(of: tf.Tensor | Tensors, at: Tensors, outer: Tensors | None = None) -> list[tf.Tensor]:
    """tf.gradients; zeros where there is no path, IndexedSlices made dense."""
    gradients = tf.gradients(of, list(at), grad_ys=outer)
    return [tf.zeros_like(x) if g is None else tf.convert_to_tensor(g) for g, x in zip(gradients, at, strict=True)]
