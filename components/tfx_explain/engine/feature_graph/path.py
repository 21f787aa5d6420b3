"""The TensorFlow functions of a partition: encode, logits, gradients and path integrals, each traced once."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Sequence

import tensorflow as tf

from tfx_explain.engine.feature_graph.affine import affine_frontier, rounds_to_half
from tfx_explain.engine.feature_graph.flat_graph import topological
from tfx_explain.engine.feature_graph.output import Output, explained_value
from tfx_explain.engine.feature_graph.packing import Packing
from tfx_explain.engine.feature_graph.partition import Partition

Tensors = Sequence[tf.Tensor]


class PathFunctions:
    """tf.functions with open batch dimensions: one trace for every batch shape, so that shapes met earlier in a
    process never change a result.

    Attributes:
        encode: bytes [rows] -> cut tensors, then frozen tensors.
        logits: (cuts, frozen) -> float32 [rows, targets].
        sample_cuts: the cut tensors of the sample.
        width: numbers of one row where the path is walked.
    """

    def __init__(
        self,
        partition: Partition,
        output: Output,
        unit: str,
        num_targets: int,
        columns: Sequence[str],
        sample: tf.Tensor,
    ) -> None:
        flat = partition.flat
        self._partition = partition
        self._output = output
        self._unit = unit
        self._num_targets = num_targets
        self._columns = tuple(columns)
        self.encode = flat.function(flat.input_names, [*partition.cuts, *partition.frozen])
        self.sample_cuts = self.encode(sample)[: len(partition.cuts)]
        frontier, self.width = _frontier(partition, self.sample_cuts)
        self._behind_cuts = frontier != list(partition.cuts)
        self._prefix = flat.importer(partition.cuts, frontier)
        self._in_half = _computes_in_half(partition, frontier)
        self._tail = flat.importer([*frontier, *partition.frozen], [partition.target])
        cuts = [_ranked(flat.spec(name), value) for name, value in zip(partition.cuts, self.sample_cuts, strict=True)]
        frozen = [flat.spec(name) for name in partition.frozen]
        rows = tf.TensorSpec([None], tf.int32)
        chunks = tf.TensorSpec([None, None], tf.float32)

        self.logits = _function(self._logits_at_cuts, cuts, frozen)
        self._gradient_signature = (cuts, frozen, rows)
        self._cuts = Packing(cuts)
        blocks = self._cuts.specs(cuts)
        self._integrate_signature = (blocks, frozen, blocks, frozen, rows, chunks, chunks)
        self._traced: dict[object, Callable] = {}
        self._tracing = threading.Lock()

    def integrate(self, elements: tuple[str, ...] = ()) -> Callable:
        """The path integral, traced at the first call for these features.

        Returns:
            (cuts, frozen, baseline cuts, baseline frozen, target, nodes, weights) -> (attributions [rows, columns],
            prediction [rows], baseline prediction [rows], then by element [rows, ...] for each of `elements`); cuts
            are in the blocks of `packed`, nodes and weights are [chunks, steps].
        """
        return self._trace(elements, functools.partial(self._integrate, elements), self._integrate_signature)

    def integrate_compiled(self) -> Callable:
        """The same without elements, compiled by XLA for each shape that it is called with."""
        with self._tracing:
            if "compiled" not in self._traced:
                python_function = functools.partial(self._integrate, ())
                self._traced["compiled"] = tf.function(python_function, autograph=False, jit_compile=True)
            return self._traced["compiled"]

    def packed(self, cuts: Tensors) -> list[tf.Tensor]:
        """Cut tensors as `integrate` takes them: TensorFlow looks at every argument of a call for some 50 us."""
        return self._cuts.pack(cuts)

    def gradient(self) -> Callable:
        """(cuts, frozen, target) -> the gradient of the explained value, shaped as the cuts; traced at first use."""
        return self._trace("gradient", self._gradient, self._gradient_signature)

    def _trace(self, key: object, python_function: Callable, signature: tuple) -> Callable:
        with self._tracing:
            if key not in self._traced:
                self._traced[key] = _function(python_function, *signature)
            return self._traced[key]

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
        blocks: Tensors,
        frozen: Tensors,
        baseline_blocks: Tensors,
        baseline_frozen: Tensors,
        target: tf.Tensor,
        nodes: tf.Tensor,
        weights: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        cuts, baseline_cuts = self._cuts.unpack(blocks), self._cuts.unpack(baseline_blocks)
        start, end = self._prefix(*baseline_cuts), self._prefix(*cuts)
        packing = Packing(end)
        starts = packing.pack(start)
        differences = [e - s for s, e in zip(starts, packing.pack(end), strict=True)]  # a baseline's one row broadcasts

        def add_chunk(index, *sums):
            gradients = self._gradient_sum(packing, starts, differences, frozen, target, nodes[index], weights[index])
            return (index + 1, *(total + gradient for total, gradient in zip(sums, gradients, strict=True)))

        chunks = tf.shape(nodes)[0]
        sums = tf.while_loop(
            lambda index, *_: index < chunks,
            add_chunk,
            (tf.constant(0), *(tf.zeros_like(_wide(d)) for d in differences)),
            shape_invariants=(tf.TensorShape([]), *(_open_rows(d.shape) for d in differences)),
            parallel_iterations=1,
        )[1:]
        at_cuts = packing.unpack(sums)
        if self._behind_cuts:
            outer = [tf.cast(total, e.dtype) for total, e in zip(at_cuts, end, strict=True)]
            at_cuts = _dense_gradients(end, cuts, outer=outer)
        by_column: dict[str, list[tf.Tensor]] = {column: [] for column in self._columns}
        by_element: dict[str, list[tf.Tensor]] = {column: [] for column in elements}
        rows = tf.shape(target)[0]
        for column, x, b, gradient in zip(self._partition.columns, cuts, baseline_cuts, at_cuts, strict=True):
            # A gradient that is not finite (of a root at 0) counts for nothing where the feature is at the baseline.
            products = tf.cast(tf.math.multiply_no_nan(_wide(gradient), _wide(x - b)), tf.float32)
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
        packing: Packing,
        starts: Tensors,
        differences: Tensors,
        frozen: Tensors,
        target: tf.Tensor,
        nodes: tf.Tensor,
        weights: tf.Tensor,
    ) -> list[tf.Tensor]:
        """Weighted sum over nodes of the gradient at start + node * difference, by block; all nodes in one call."""
        steps, rows = tf.shape(nodes)[0], tf.shape(target)[0]
        blocks = []
        for s, d in zip(starts, differences, strict=True):
            node = tf.cast(tf.reshape(nodes, [-1] + [1] * (d.shape.rank - 1)), d.dtype)
            point = s[:, None] + node * d[:, None]  # [members, steps, rows, ...]
            point = tf.reshape(point, tf.concat([[d.shape[0], steps * rows], tf.shape(d)[2:]], 0))
            blocks.append(tf.ensure_shape(point, _open_rows(d.shape)))  # [members, steps * rows, ...]
        logits = self._logits(packing.unpack(blocks), self.repeat_frozen(frozen, steps))
        values = self._explained(logits, tf.tile(target, [steps]))
        if not self._in_half:
            # Weighted at the output, where a step has one number a row. In half precision the small weights would
            # cost the gradients their bits on the way back.
            values *= tf.repeat(weights, rows)
        summed = []
        for gradient, d in zip(_dense_gradients(values, blocks), differences, strict=True):
            by_step = tf.reshape(gradient, tf.concat([[d.shape[0], steps], tf.shape(d)[1:]], 0))
            if self._in_half:
                by_step = _wide(by_step)
                by_step *= tf.cast(tf.reshape(weights, [-1] + [1] * (d.shape.rank - 1)), by_step.dtype)
            summed.append(tf.ensure_shape(tf.reduce_sum(by_step, axis=1), _open_rows(d.shape)))
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


def _frontier(partition: Partition, sample_cuts: Tensors) -> tuple[list[str], int]:
    """Where the path is walked, and the numbers of one row there.

    Behind the affine prefix if that is batch-major and stands alone, else at the cuts.
    """
    flat, cuts = partition.flat, list(partition.cuts)
    at_cuts = (cuts, _width(sample_cuts))
    frozen = [flat.tensor(name) for name in partition.frozen]
    tensors = affine_frontier([flat.tensor(name) for name in cuts], frozen, flat.tensor(partition.target))
    names = [tensor.name for tensor in tensors]
    if set(names) <= set(cuts) or any(tensor.shape.rank is None for tensor in tensors):
        return at_cuts
    if flat.needs_inputs(cuts, names) or flat.needs_inputs([*names, *partition.frozen], [partition.target]):
        return at_cuts
    rows = sample_cuts[0].shape[0]
    values = flat.function(cuts, names)(*sample_cuts)
    batch_major = all(value.shape.rank and value.shape[0] == rows for value in values)
    return (names, _width(values)) if batch_major else at_cuts


def _computes_in_half(partition: Partition, frontier: Sequence[str]) -> bool:
    """Whether what lies between the path and the target rounds to less than float32, as mixed precision does."""
    flat = partition.flat
    walked = topological([flat.tensor(partition.target)], {flat.tensor(name).op for name in frontier})
    return any(rounds_to_half(op) for op in walked)


def _width(tensors: Tensors) -> int:
    return sum(math.prod(tensor.shape[1:]) for tensor in tensors)


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


def _open_rows(block: tf.TensorShape) -> tf.TensorShape:
    return tf.TensorShape([block[0], None, *block[2:]])


def _wide(tensor: tf.Tensor) -> tf.Tensor:
    """bfloat16 and half as float32: steps are summed in no less."""
    return tf.cast(tensor, tf.float32) if tensor.dtype.size < tf.float32.size else tensor


def _dense_gradients(of: tf.Tensor | Tensors, at: Tensors, outer: Tensors | None = None) -> list[tf.Tensor]:
    """tf.gradients; zeros where there is no path, IndexedSlices made dense."""
    gradients = tf.gradients(of, list(at), grad_ys=outer)
    return [tf.zeros_like(x) if g is None else tf.convert_to_tensor(g) for g, x in zip(gradients, at, strict=True)]
