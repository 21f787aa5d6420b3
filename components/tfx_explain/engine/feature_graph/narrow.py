"""A model's predictions with the values of some raw features taken from other rows."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.encoded import as_batch, named_refusal
from tfx_explain.engine.feature_graph.errors import BatchDependentError, SelfCheckError
from tfx_explain.engine.feature_graph.first_layer import FirstLayer, LayerValues
from tfx_explain.engine.feature_graph.joins import Joined, Splicer, find_joins
from tfx_explain.engine.feature_graph.memory import parts, rows_at_once
from tfx_explain.engine.feature_graph.narrow_cut import NarrowCut, find_narrow_cut
from tfx_explain.engine.feature_graph.opened import OpenedModel
from tfx_explain.engine.feature_graph.output import apply_link, in_unit
from tfx_explain.engine.feature_graph.raw_segments import put_together, take_apart
from tfx_explain.engine.feature_graph.rounding import TOLERANCE, relative_difference

_CHECKED_ROWS = 16
_CHECKED_ALONE = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Narrow:
    """Rows that are parsed and transformed, up to the narrow cut.

    Attributes:
        payloads: by raw feature, what stands for its values, arrays [rows, ...]. Rows of them may be exchanged with
            those of other rows, of this batch or of another. A reparsed feature has one array of bytes [rows]: the
            feature as a tf.Example of its own, empty where a row does not have it.
    """

    payloads: dict[str, tuple[np.ndarray, ...]]
    _fed: dict[str, tuple[tf.Tensor, ...]] = dataclasses.field(repr=False)
    _frozen: tuple[tf.Tensor, ...] = dataclasses.field(repr=False)
    _rest: np.ndarray = dataclasses.field(repr=False)
    _joined: Joined | None = dataclasses.field(repr=False)
    _layer: LayerValues | None = dataclasses.field(repr=False)

    def __len__(self) -> int:
        return len(self._rest)


class PermutationModel:
    """A model's output as a function of its raw features, which may be taken from other rows.

    A feature's values are replaced where they are narrowest: at the tensors of the fewest bytes a row that carry all of
    it to the output (ids rather than embedding rows). What comes before is computed once for any number of
    permutations, and so is the concatenation that most models begin with (see `joins`). A feature without such tensors
    is *reparsed*: replaced in the raw example, which is parsed again. No gradient is needed, so that trees and argmax
    have permutations too.

    Made by `of`. Several threads may call one instance. A row's results depend on the shape of its batch only, never
    on the other rows, on what ran before, or on the process.

    Attributes:
        features: raw features that reach the output, sorted.
        reparsed: those of them that are replaced in the raw example, sorted.
        rows_at_once: more rows are predicted in several calls, so that their tensors fit into memory.
        row_bytes: by feature, the bytes of a payload's row; of strings and reparsed features their mean on the sample,
            rounded up.
        refused_alone: features that belong together with others (the ids and the weights of a sparse feature), sorted:
            when one alone is replaced, the model refuses the row, or takes its values for another row's.
        output: the signature's output that is predicted.
        link: `sigmoid`, `softmax`, `logsoftmax`, or `raw` when the output ends in none of them.
        unit: `logit`, `probability`, or `output` when there is no link.
        num_targets: columns of the output.
        notes: sentences on how the model was cut.
    """

    def __init__(self, opened: OpenedModel, cut: NarrowCut, notes: Sequence[str]) -> None:
        self.features = tuple(sorted([*cut.payloads, *cut.reparsed]))
        self.reparsed = cut.reparsed
        self.refused_alone: tuple[str, ...] = ()
        self.output = opened.output.name
        self.link = opened.output.link
        self.unit = opened.unit
        self.num_targets = opened.num_targets
        self._opened = opened  # owns the variables and tables
        self._cut = cut
        flat = opened.flat
        fed = [name for names in cut.payloads.values() for name in names]
        self._encode = flat.function(flat.input_names, [*fed, *cut.frozen])
        values = self._encode(tf.constant(opened.sample))
        specs = [_ranked(flat.spec(name), value) for name, value in zip([*fed, *cut.frozen], values, strict=True)]
        strings = [flat.spec(name) for name in flat.input_names]
        by_name = dict(zip([*fed, *cut.frozen], specs, strict=True))
        joins = find_joins(flat, opened.output.tensor, cut.payloads, cut.frozen)
        self._splicer = Splicer(flat, joins, cut.payloads, cut.frozen) if joins else None
        feeds = self._splicer.feeds if self._splicer else [*fed, *cut.frozen]
        feed_specs = [by_name.get(name, flat.spec(name)) for name in feeds]
        self._logits = self._function(feeds, feed_specs)
        self._reparsed_logits = self._function([*flat.input_names, *fed], [*strings, *specs[: len(fed)]])
        self._row_shapes = {name: tuple(value.shape[1:]) for name, value in zip(fed, values, strict=False)}
        lengths = [length for shape in self._row_shapes.values() for length in shape]
        _, self.rows_at_once = rows_at_once(flat, [*fed, *cut.frozen], opened.output.tensor, max(lengths, default=1))
        self._layer: FirstLayer | None = None
        sample = self.encode(opened.sample)
        if joins and sample._joined is not None:
            others = feed_specs[len(joins.joins) :]
            self._layer = FirstLayer.of(flat, joins, opened.output.tensor, sample._joined, others, self._targets)
        self._joins_repeat = self._are_repeated(sample)
        self.row_bytes = {name: -(-_size(arrays) // len(sample)) for name, arrays in sample.payloads.items()}
        self.notes = (*opened.notes, *notes, *self._own_notes())

    @classmethod
    def of(cls, opened: OpenedModel, *, reparse: Collection[str] = ()) -> PermutationModel:
        """Finds the narrow cut of an opened model (`open_model`, or `FeatureModel.opened`) and checks it on the sample.

        Each feature is replaced by the values of another row of the sample, and the prediction compared with that of
        the untouched signature on the same raw rows; a feature that fails is reparsed.

        Args:
            opened: the model.
            reparse: features that are to be replaced in the raw example, whatever the graph.

        Raises:
            SelfCheckError: if the parts do not give the output of the whole model.
            ValueError: if `reparse` names what does not reach the output.
        """
        notes: list[str] = []
        reparsed = set(reparse)
        while True:
            model = cls(opened, find_narrow_cut(opened.flat, opened.output.tensor, opened.sample, reparsed), notes)
            unknown = sorted(reparsed - set(model.features))
            if unknown:
                raise ValueError(f"reparse must name features of {list(model.features)}. Received: {unknown}")
            wrong, refused = _faults(model, opened)
            if not wrong:
                if refused:
                    model.refused_alone = tuple(refused)
                    model.notes += (f"features that cannot be replaced alone, without others of their row: {refused}",)
                return model
            notes.append(f"features whose cut did not give the whole model's output are parsed again: {wrong}")
            reparsed.update(wrong)

    def encode(self, examples: Sequence[bytes] | np.ndarray, copies: int = 1) -> Narrow:
        """Parses and transforms rows, up to the narrow cut.

        Args:
            examples: serialised tf.Examples, [rows].
            copies: how many times the rows follow one another, as a batch of [copies * rows]; they are parsed once,
                unless the part behind the cut reads what belongs to the batch as a whole.

        Raises:
            ExampleError: if the model's parser refuses a row; which one, TensorFlow does not always say.
            BatchDependentError: if a payload has no row for each example, which the sample did not show.
        """
        batch = as_batch(examples)
        if self._cut.frozen:
            batch, copies = np.tile(batch, copies), 1
        tensors = _run(self._encode, [tf.constant(batch)], len(batch))
        fed: dict[str, tuple[tf.Tensor, ...]] = {}
        for feature, names in self._cut.payloads.items():
            fed[feature], tensors = tuple(tensors[: len(names)]), tensors[len(names) :]
            for name, tensor in zip(names, fed[feature], strict=True):
                if tuple(tensor.shape) != (len(batch), *self._row_shapes[name]):
                    expected = ["rows", *self._row_shapes[name]]
                    raise BatchDependentError(
                        f"what stands for {feature!r} must have the shape {expected}, as on the sample. Received: "
                        f"{tuple(tensor.shape)} for {len(batch)} rows. Put more different rows into the sample, or "
                        f"reparse {feature!r}."
                    )
        joined = self._join(fed, tensors, copies)
        fed = _repeated(fed, copies)
        batch = np.tile(batch, copies)
        payloads = {feature: tuple(tensor.numpy() for tensor in values) for feature, values in fed.items()}
        rest = batch
        if self.reparsed:
            rest, segments = take_apart(batch, self.reparsed)
            payloads |= {feature: (segment,) for feature, segment in segments.items()}
        payloads = {feature: payloads[feature] for feature in self.features}
        return Narrow(payloads, fed, tuple(tensors), rest, joined, self._layer_of(joined))

    @property
    def needs_examples(self) -> bool:
        """Whether predictions read more of a row than its payloads, so that it must be encoded to be permuted."""
        return bool(self.reparsed or self._cut.frozen)

    def stack(self, payloads: Mapping[str, Sequence[np.ndarray]], copies: int = 1) -> Narrow:
        """Rows that were encoded before, of any batches, from their payloads: as `encode` of them gives.

        Args:
            payloads: by feature, arrays [rows, ...] as in `Narrow.payloads`; of all features.
            copies: how many times the rows follow one another.

        Raises:
            ValueError: if predictions read more of a row than its payloads (`needs_examples`), or a feature is missing.
        """
        if self.needs_examples or set(payloads) != set(self.features):
            raise ValueError(
                f"payloads must be those of all features {list(self.features)}, of a model that reads nothing else. "
                f"Received: {sorted(payloads)}, needs_examples={self.needs_examples}"
            )
        fed = {feature: tuple(map(tf.constant, payloads[feature])) for feature in self._cut.payloads}
        joined = self._join(fed, (), copies)
        stacked = {f: tuple(np.concatenate([array] * copies) for array in payloads[f]) for f in self.features}
        rows = len(stacked[self.features[0]][0])
        rest = np.full(rows, b"", object)
        return Narrow(stacked, _repeated(fed, copies), (), rest, joined, self._layer_of(joined))

    def predict(self, narrow: Narrow) -> np.ndarray:
        """The model's output, float32 [rows, targets], in `unit`; logits are as the model has them, not centred."""
        return self.predict_permuted(narrow, {})

    def predict_permuted(self, narrow: Narrow, replaced: Mapping[str, Sequence[np.ndarray]]) -> np.ndarray:
        """The model's output when some features have other values.

        Args:
            narrow: rows.
            replaced: by feature, arrays as in `narrow.payloads`, [rows, ...] each: any rows of the payloads of any
                batch. Several features are replaced together.

        Returns:
            float32 [rows, targets], in `unit`.

        Raises:
            ExampleError: if the model refuses a row that is parsed again.
            ValueError: if `replaced` names no feature of this model, or does not fit its payload.
        """
        if len(narrow) > self.rows_at_once and not narrow._frozen:
            found = []
            for part in parts(len(narrow), self.rows_at_once):
                own = slice(part.start, part.stop)
                values = {feature: [array[own] for array in arrays] for feature, arrays in replaced.items()}
                found.append(self.predict_permuted(self._rows(narrow, own), values))
            return np.concatenate(found)
        logits = self._permuted_logits(narrow, replaced)
        return in_unit(logits, self.link, self.unit).numpy()

    def payload_bytes(self, narrow: Narrow) -> int:
        """The bytes of all payloads of these rows together."""
        return sum(_size(arrays) for arrays in narrow.payloads.values())

    def _permuted_logits(self, narrow: Narrow, replaced: Mapping[str, Sequence[np.ndarray]]) -> tf.Tensor:
        for feature, arrays in replaced.items():
            self._check_fits(feature, arrays, narrow)
        fed = dict(narrow._fed)
        for feature in replaced:
            if feature in fed:
                pairs = zip(replaced[feature], fed[feature], strict=True)
                fed[feature] = tuple(tf.constant(value, tensor.dtype) for value, tensor in pairs)
        if any(feature in replaced for feature in self.reparsed):
            return self._parsed_again(narrow, replaced, fed)
        if self._splicer is None or narrow._joined is None:
            return _run(self._logits, [*itertools.chain(*fed.values()), *narrow._frozen], len(narrow))
        values = self._by_name(fed, narrow._frozen)
        with named_refusal(len(narrow)):
            if self._layer is None or narrow._layer is None:
                return self._spliced_logits(self._splicer, narrow._joined, values, replaced)
            changed = self._splicer.changed(narrow._joined, values, replaced)
            logits, apart = self._layer.shifted(narrow._layer, narrow._joined, changed, self._splicer.others(values))
            if not apart.any():
                return logits
            return tf.where(
                apart[:, None], self._spliced_logits(self._splicer, narrow._joined, values, replaced), logits
            )

    def _spliced_logits(
        self, splicer: Splicer, joined: Joined, values: Mapping[str, tf.Tensor], replaced: Collection[str]
    ) -> tf.Tensor:
        with splicer.spliced(joined, values, replaced) as feeds:
            # A copy: where the output is a join itself, the tensor is the memory in which features are replaced.
            return tf.constant(self._logits(*feeds).numpy())

    def _join(
        self, fed: Mapping[str, tuple[tf.Tensor, ...]], frozen: Sequence[tf.Tensor], copies: int
    ) -> Joined | None:
        """The joins of these rows, so many times one after the other."""
        if self._splicer is None:
            return None
        rows = len(next(iter(fed.values()))[0])
        with named_refusal(rows * copies):
            if copies == 1 or self._joins_repeat:
                return self._splicer.join(self._by_name(fed, frozen), copies)
            return self._splicer.join(self._by_name(_repeated(fed, copies), frozen))

    def _layer_of(self, joined: Joined | None) -> LayerValues | None:
        return None if self._layer is None or joined is None else self._layer.values(joined)

    def _rows(self, narrow: Narrow, own: slice) -> Narrow:
        """Some rows of what was encoded together; nothing of it may belong to the batch as a whole."""
        fed = {feature: tuple(tensor[own] for tensor in tensors) for feature, tensors in narrow._fed.items()}
        payloads = {feature: tuple(array[own] for array in arrays) for feature, arrays in narrow.payloads.items()}
        joined = self._join(fed, (), 1)
        return Narrow(payloads, fed, (), narrow._rest[own], joined, self._layer_of(joined))

    def _parsed_again(
        self,
        narrow: Narrow,
        replaced: Mapping[str, Sequence[np.ndarray]],
        fed: Mapping[str, tuple[tf.Tensor, ...]],
    ) -> tf.Tensor:
        segments = [replaced.get(feature, narrow.payloads[feature])[0] for feature in self.reparsed]
        rows = tf.constant(put_together(narrow._rest, segments), tf.string)
        return _run(self._reparsed_logits, [rows, *itertools.chain(*fed.values())], len(narrow))

    def _are_repeated(self, sample: Narrow) -> bool:
        """Whether the joins of some rows twice are theirs, twice: then what many copies give is computed once."""
        if self._cut.frozen or self._splicer is None:
            return False
        with named_refusal(2 * len(sample)):
            copied = self._splicer.join(self._by_name(sample._fed, ()), 2)
            computed = self._splicer.join(self._by_name(_repeated(sample._fed, 2), ()))
        return all(
            one.shape == two.shape and np.allclose(one, two, rtol=TOLERANCE, equal_nan=one.dtype.kind == "f")
            for one, two in zip(copied.arrays, computed.arrays, strict=True)
        )

    def _by_name(self, fed: Mapping[str, Sequence[tf.Tensor]], frozen: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """Payloads, by feature as in the cut, and frozen tensors by their names in the graph."""
        names = itertools.chain(*self._cut.payloads.values(), self._cut.frozen)
        return dict(zip(names, itertools.chain(*fed.values(), frozen), strict=True))

    def _check_fits(self, feature: str, arrays: Sequence[np.ndarray], narrow: Narrow) -> None:
        if feature not in narrow.payloads:
            raise ValueError(f"replaced must name features of {list(self.features)}. Received: {feature!r}")
        expected = [(array.shape, array.dtype) for array in narrow.payloads[feature]]
        received = [(np.shape(array), getattr(array, "dtype", None)) for array in arrays]
        if expected != received:
            raise ValueError(
                f"the payload of {feature!r} must have the shapes and types of the rows it replaces, {expected}. "
                f"Received: {received}"
            )

    def _function(self, feeds: Sequence[str], specs: Sequence[tf.TensorSpec]) -> Any:
        part = self._opened.flat.importer(feeds, [self._opened.output.tensor])

        def logits(*values: tf.Tensor) -> tf.Tensor:
            return self._targets(part(*values)[0])

        return tf.function(logits, autograph=False, input_signature=specs).get_concrete_function()

    def _targets(self, output: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.cast(output, tf.float32), [-1, self.num_targets])

    def _own_notes(self) -> list[str]:
        if not self.reparsed:
            return []
        return [f"features that are replaced in the raw example and parsed again: {list(self.reparsed)}"]


def _faults(model: PermutationModel, opened: OpenedModel) -> tuple[list[str], list[str]]:
    """Compares with the untouched signature: nothing replaced, then each feature by that of the sample's next row.

    Returns:
        Cut features whose predictions are wrong, and features that cannot be replaced alone.

    Raises:
        SelfCheckError: if predictions are wrong where nothing is cut.
    """
    sample = opened.sample[:_CHECKED_ROWS]
    narrow = model.encode(sample)
    scale = float(np.abs(opened.whole[np.isfinite(opened.whole)]).max(initial=0.0))

    def difference(expected: np.ndarray, replaced: Mapping[str, Sequence[np.ndarray]]) -> float:
        logits = model._permuted_logits(narrow, replaced)
        parts = (apply_link(logits, model.link) if opened.output.applied else logits).numpy()
        return relative_difference(expected.reshape(len(sample), -1), parts, scale)

    rest, segments = take_apart(sample, model.features)
    wrong: dict[str, float] = {}
    refused = []
    for feature in model.features:
        others = [np.roll(values, 1) if name == feature else values for name, values in segments.items()]
        rows = put_together(rest, others)
        expected = _expected(opened, rows, alone=_CHECKED_ALONE if feature in model.reparsed else 0)
        if expected is None:
            refused.append(feature)
            continue
        found = difference(expected, {feature: [np.roll(array, 1, axis=0) for array in narrow.payloads[feature]]})
        if found > opened.tolerance:
            wrong[feature] = found
    unmoved = difference(opened.whole[: len(sample)], {})
    cut = [feature for feature in model.features if feature not in model.reparsed]
    if unmoved > opened.tolerance and cut:
        return cut, refused
    wrong_in_full = {feature: wrong[feature] for feature in model.reparsed if feature in wrong}
    if unmoved > opened.tolerance or wrong_in_full:
        raise SelfCheckError(
            f"the model cut at its features must give the output of the whole model. Received: differences of "
            f"{max([unmoved, *wrong_in_full.values()]):.2g} of the largest value of {model.output!r} with the features "
            f"{sorted(wrong_in_full)} replaced. This is a fault of the engine: please report the model's graph."
        )
    return sorted(wrong), refused


def _expected(opened: OpenedModel, rows: np.ndarray, alone: int) -> np.ndarray | None:
    """The untouched signature's output; None if it refuses the rows, or mixes the first few with others of the batch.

    Two sparse features that must have the same number of values do either when one of them alone is replaced.
    """
    try:
        together = opened.loaded.outputs(rows)[opened.output.name]
        for row in range(alone):
            one = opened.loaded.outputs(rows[row : row + 1])[opened.output.name]
            if relative_difference(together[row : row + 1], one, float(np.abs(together).max())) > opened.tolerance:
                return None
    except tf.errors.InvalidArgumentError:
        return None
    return together


def _run(function: Callable[..., list[tf.Tensor]], values: Sequence[tf.Tensor], rows: int) -> Any:
    with named_refusal(rows):
        return function(*values)


def _ranked(spec: tf.TensorSpec, value: tf.Tensor) -> tf.TensorSpec:
    """A spec whose rank the graph does not tell takes the sample's."""
    return tf.TensorSpec([None] * value.shape.rank, spec.dtype) if spec.shape.rank is None else spec


def _repeated(fed: Mapping[str, tuple[tf.Tensor, ...]], copies: int) -> dict[str, tuple[tf.Tensor, ...]]:
    """The rows of payloads, so many times one after the other."""
    if copies == 1:
        return dict(fed)
    return {feature: tuple(tf.concat([v] * copies, 0) for v in values) for feature, values in fed.items()}


def _size(arrays: Sequence[np.ndarray]) -> int:
    return sum(sum(map(len, array.flat)) if array.dtype == object else array.nbytes for array in arrays)
