"""The first layer, linear in what joins hold: a replaced feature shifts it, instead of all being multiplied anew.

Most networks begin with a product of all inputs and a matrix, which for many inputs is most of their work. Where a
feature is replaced, the product h of the row's own inputs is kept, and h + (new - old) M takes its place, M being the
matrix's rows of that feature alone. The rest of the network is computed as ever.

Rounding is that of |h| rather than of the result: where a feature holds most of h, it stays when the feature is gone.
Rows that stand out so far are predicted without the shortcut; which ones they are depends on the row alone.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.affine import affine_frontier
from tfx_explain.engine.feature_graph.flat_graph import FlatGraph
from tfx_explain.engine.feature_graph.joins import Joined, JoinedCut, Replaced
from tfx_explain.engine.feature_graph.rounding import TOLERANCE, relative_difference

LEAST_WIDTH = 64
"""Numbers of a row that are joined; with fewer, the product costs no more than what takes its place."""
_MOST_WEIGHTS = 1 << 24  # of the matrix: 64 MB
_OUTLIER = 256.0  # times the sample's root mean square: beyond, float32 would leave less than 1e-5 of that


class FirstLayer:
    """What lies between the joins and the first operation that is not linear. Made by `of`; never changed after.

    Attributes:
        width: numbers of a row in all joins.
        units: numbers of a row that the layer gives.
    """

    def __init__(
        self,
        layer: Callable[..., list[tf.Tensor]],
        tail: Callable[..., tf.Tensor],
        matrices: Sequence[np.ndarray],
        scales: Sequence[float],
        widths: Sequence[int],
    ) -> None:
        """See `of`; widths are the joins', matrices [width, units] and scales those of each of the layer's tensors."""
        self._layer = layer
        self._tail = tail
        self._matrices = tuple(matrices)
        self._scales = tuple(scales)
        self._starts = np.concatenate([[0], np.cumsum(widths)])
        self._rows_of: dict[tuple[tuple[int, int], ...], list[tf.Tensor]] = {}
        self._lock = threading.Lock()
        self.width, self.units = int(self._starts[-1]), sum(m.shape[1] for m in self._matrices)

    @classmethod
    def of(
        cls,
        flat: FlatGraph,
        cut: JoinedCut,
        target: str,
        sample: Joined,
        others: Sequence[tf.TensorSpec],
        logits: Callable[[tf.Tensor], tf.Tensor],
    ) -> FirstLayer | None:
        """The layer behind some joins; None where there is none, or it would save nothing.

        Args:
            flat: the graph.
            cut: its joins.
            target: name of the tensor that is predicted.
            sample: the joins of some rows: what the layer is checked on.
            others: specs of the cut's `direct` and `frozen`.
            logits: what becomes of the target.
        """
        joins = [join.output for join in cut.joins]
        arrays = sample.arrays
        if any(array.ndim != 2 or array.dtype != np.float32 for array in arrays):
            return None
        if any(join.axis not in (1, -1) for join in cut.joins):
            return None
        widths = [array.shape[1] for array in arrays]
        beside = [*cut.direct, *cut.frozen]
        tensors = affine_frontier(map(flat.tensor, joins), map(flat.tensor, beside), flat.tensor(target))
        names = [tensor.name for tensor in tensors]
        if sum(widths) < LEAST_WIDTH or not names or {*names} & {*joins}:
            return None
        if flat.needs_inputs(joins, names) or flat.needs_inputs([*names, *beside], [target]):
            return None
        layer = flat.function(joins, names)
        own = layer(*map(tf.constant, arrays))
        if any(h.dtype != tf.float32 or h.shape.rank != 2 or h.shape[0] != len(arrays[0]) for h in own):
            return None
        units = [h.shape[1] for h in own]
        if sum(widths) * sum(units) > _MOST_WEIGHTS or not np.isfinite(np.concatenate(own, axis=1)).all():
            return None
        matrices = [_matrix(layer, arrays, number, unit) for number, unit in enumerate(units)]
        scales = [float(np.sqrt(np.mean(np.square(h, dtype=np.float64)))) for h in own]
        part = flat.importer([*names, *beside], [target])
        found = cls(layer, _tail(part, units, others, logits), matrices, scales, widths)
        return found if found._is_linear(arrays, own) else None

    def _is_linear(self, arrays: Sequence[np.ndarray], own: Sequence[tf.Tensor]) -> bool:
        """Whether the layer of each row is that of the row before, shifted."""
        shift = np.concatenate([np.roll(array, -1, axis=0) - array for array in arrays], axis=1)
        return all(
            relative_difference(np.roll(h, -1, axis=0), h.numpy() + shift @ matrix) <= TOLERANCE
            for h, matrix in zip(own, self._matrices, strict=True)
        )

    def values(self, joined: Joined) -> LayerValues:
        """What the layer gives for some rows."""
        tensors = self._layer(*map(tf.constant, joined.arrays))
        apart = np.zeros(len(joined.arrays[0]), bool)
        for tensor, scale in zip(tensors, self._scales, strict=True):
            apart |= ~(np.abs(tensor.numpy()).max(axis=1, initial=0.0) <= _OUTLIER * scale)
        return LayerValues(tuple(tensors), apart)

    def shifted(
        self, values: LayerValues, joined: Joined, replaced: Sequence[Replaced], others: Sequence[tf.Tensor]
    ) -> tuple[tf.Tensor, np.ndarray]:
        """(the target behind the layer, where some of the joins' numbers have other values; which rows, bool [rows],
        it is not good for).

        Args:
            values: of the layer, for the rows' own values.
            joined: the rows' own values.
            replaced: what differs.
            others: values of `cut.direct` and `cut.frozen`.
        """
        rows = len(values.apart)
        shift = np.zeros((rows, 0), np.float32)
        if replaced:
            with joined.lock:
                shift = np.concatenate([r.values - r.place for r in replaced], axis=1)
        places = tuple((int(self._starts[r.join] + r.start), int(self._starts[r.join] + r.end)) for r in replaced)
        logits = self._tail(*values.tensors, tf.constant(shift), *self._rows(places), *others)
        return logits, values.apart | ~np.isfinite(shift).all(axis=1)

    def _rows(self, places: tuple[tuple[int, int], ...]) -> list[tf.Tensor]:
        """The rows of the matrices that belong to some of the joins' numbers."""
        with self._lock:
            if places not in self._rows_of:
                index = np.concatenate([np.arange(start, end) for start, end in (*places, (0, 0))])
                self._rows_of[places] = [tf.constant(matrix[index]) for matrix in self._matrices]
            return self._rows_of[places]


@dataclasses.dataclass(frozen=True, eq=False)
class LayerValues:
    """What the layer gives for some rows.

    Attributes:
        tensors: [rows, units] each.
        apart: bool [rows], those that stand out too far to be shifted.
    """

    tensors: tuple[tf.Tensor, ...]
    apart: np.ndarray


def _matrix(layer: Callable[..., list[tf.Tensor]], arrays: Sequence[np.ndarray], number: int, units: int) -> np.ndarray:
    """What each joined number adds to one of the layer's tensors: float32 [width, units].

    The first row, once for each unit: the gradient of the i-th unit in the i-th copy is a row of its own.
    """
    copies = [tf.tile(tf.constant(array[:1]), [units, 1]) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(copies)
        value = tf.linalg.trace(layer(*copies)[number])
    found = tape.gradient(value, copies, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return np.concatenate([gradient.numpy().T for gradient in found], axis=0)


def _tail(
    part: Callable[..., list[tf.Tensor]],
    units: Sequence[int],
    others: Sequence[tf.TensorSpec],
    logits: Callable[[tf.Tensor], tf.Tensor],
) -> Callable[..., tf.Tensor]:
    """(layer's tensors, shift [rows, k], rows of the matrices [k, units], others) -> what becomes of the target."""
    count = len(units)

    def shifted(*values: tf.Tensor) -> tf.Tensor:
        own, shift, matrices = values[:count], values[count], values[count + 1 : 2 * count + 1]
        moved = [h + tf.matmul(shift, matrix) for h, matrix in zip(own, matrices, strict=True)]
        return logits(part(*moved, *values[2 * count + 1 :])[0])

    specs = [tf.TensorSpec([None, unit]) for unit in units]
    signature = [*specs, tf.TensorSpec([None, None]), *specs, *others]
    return tf.function(shifted, autograph=False, input_signature=signature).get_concrete_function()
