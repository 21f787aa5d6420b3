"""A SavedModel cut at its raw features: encode, predict, gradients, path integrals."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.encoded import Encoded, PathIntegral, as_batch, named_refusal
from tfx_explain.engine.feature_graph.errors import (
    ConvergenceError,
    CutPolicyError,
    ExampleError,
    SelfCheckError,
)
from tfx_explain.engine.feature_graph.flat_graph import topological
from tfx_explain.engine.feature_graph.images import decoded_images
from tfx_explain.engine.feature_graph.memory import parts, rows_at_once
from tfx_explain.engine.feature_graph.opened import OpenedModel, open_model
from tfx_explain.engine.feature_graph.output import apply_link, explained_value, in_unit
from tfx_explain.engine.feature_graph.partition import Partition, find_partition
from tfx_explain.engine.feature_graph.path import PathFunctions
from tfx_explain.engine.feature_graph.policies import (
    TRIAL_STEPS,
    check_pins,
    trial_rows,
    unconverged_columns,
)
from tfx_explain.engine.feature_graph.rounding import TOLERANCE, relative_difference
from tfx_explain.engine.feature_graph.tokens import text_tokens
from tfx_explain.engine.methods.quadrature import gauss_legendre

# Steps x rows in one call. Narrow networks gain from more, wide ones do not, and would need the memory.
_FUSED_ROWS = 2048
_FUSED_NARROW = 10_240
_NARROW_WIDTH = 128
_STACKED_COPIES = 3


class FeatureModel:
    """A model's output as a function of its raw features, with gradients.

    Made by `load`. Several threads may call one instance. A row's results depend on the shape of its batch only, never
    on the other rows, on what ran before, or on the process.

    Attributes:
        features: what is attributed, sorted: raw features, and `a x b` for a cut that mixes several.
        unused_features: raw features that the model parses but that do not reach the output, sorted.
        uncovered_features: raw features that reach the output, but only through operations without gradient, sorted.
            What they change is missing from the attributions and shows in the convergence delta.
        blocked: by raw feature that reaches the output on some way round the cut, sorted, the nearest operation that
            keeps gradients from it: all uncovered features, and those that are covered in part only (a number is, its
            comparison with a threshold is not).
        parts: by attributed feature, the raw features that it stands for.
        cut_policies: by attributed feature, `feature`, `latest` or `element` (see `CutFinder`); record it and pin it
            when a later model is to be compared.
        cut_shapes: by attributed feature, the shape of a row of each of its cut tensors.
        open_shapes: attributed features with a cut tensor whose row shape the graph does not tell; it may differ from
            batch to batch.
        encoded_images: attributed features that the graph decodes into the pixels of an image, sorted.
        output: the signature's output that is explained.
        link: `sigmoid`, `softmax`, `logsoftmax`, or `raw` when the output ends in none of them.
        unit: `logit`, `probability`, or `output` when there is no link, whatever was asked for.
        num_targets: columns of the output.
        class_names: of those columns, where the signature tells them, else None.
        notes: sentences on how the model was cut.
        opened: what the cut was made from; other cuts of the same model start from it, without loading it again.
    """

    def __init__(
        self,
        opened: OpenedModel,
        partition: Partition,
        policies: Mapping[str, str],
        notes: Sequence[str],
    ) -> None:
        self.opened = opened
        self.features = tuple(sorted(set(partition.columns)))
        self.unused_features = tuple(sorted(set(partition.parsed) - set(partition.used)))
        self.uncovered_features = partition.uncovered
        self.blocked = dict(partition.blocked)
        self.parts = dict(sorted(zip(partition.columns, partition.cut_features, strict=True)))
        self.cut_policies = {name: policies.get(name, "feature") for name in self.features}
        self.output = opened.output.name
        self.link = opened.output.link
        self.unit = opened.unit
        self.num_targets = opened.num_targets
        self.class_names = opened.class_names
        self._output = opened.output
        self._partition = partition
        self._functions = PathFunctions(
            partition, opened.output, opened.unit, opened.num_targets, self.features, tf.constant(opened.sample)
        )
        self.cut_shapes = {
            feature: tuple(
                tuple(cut.shape[1:])
                for column, cut in zip(partition.columns, self._functions.sample_cuts, strict=True)
                if column == feature
            )
            for feature in self.features
        }
        self.open_shapes = frozenset(
            column
            for name, column in zip(partition.cuts, partition.columns, strict=True)
            if not partition.flat.spec(name).shape[1:].is_fully_defined()
        )
        self.encoded_images = decoded_images(partition)
        lengths = [length for cut in self._functions.sample_cuts for length in cut.shape[1:]]
        self._gradient_rows, self._forward_rows = rows_at_once(
            partition.flat, (*partition.cuts, *partition.frozen), partition.target, max(lengths, default=1)
        )
        self._stackable = self._can_stack(opened.sample)
        self.notes = (*opened.notes, *notes, *partition.notes, *self._own_notes())

    @classmethod
    def load(
        cls,
        path: str,
        *,
        sample: Sequence[bytes],
        signature: str = "serving_default",
        output: str | None = None,
        unit: Literal["logit", "probability"] = "logit",
        input_baseline: bytes | None = None,
        cut_policies: Mapping[str, str] | None = None,
        from_logits: bool = False,
        preprocessing_function: str | None = None,
        input_features: Mapping[str, str] | None = None,
    ) -> FeatureModel:
        """Loads a SavedModel, finds where its raw features become differentiable, and checks itself on the sample.

        Args:
            path: folder that holds `saved_model.pb`.
            sample: a few serialised tf.Examples, typical of the data; 16 are enough, 2 different ones the least that
                show rows which depend on each other. A single one is repeated. Every process that is to give the same
                results needs the same sample.
            signature: one that takes a batch of serialised tf.Examples, or dense tensors that are features by name.
            output: name of a floating output; found by the usual names if None.
            unit: what to explain behind a sigmoid or softmax. Another output is explained as it is.
            input_baseline: one serialised tf.Example. With it, each feature is tried alone on the sample: where the
                policy `feature` does not converge in 200 nodes, `latest` is taken instead.
            cut_policies: pinned policies by attributed feature. They are used as they are; those of features that this
                model does not use are left out, with a note.
            preprocessing_function: another signature, which maps serialised tf.Examples to what `signature` takes.
            input_features: by input of a signature of tensors the raw feature that it takes, where their names differ.
            from_logits: an output that ends in no sigmoid or softmax is logits, as Keras' losses call it.

        Raises:
            FeatureModelError: by its subclass, why the model cannot be explained.
            ValueError: if an argument is out of its range.
        """
        opened = open_model(
            path,
            sample=sample,
            signature=signature,
            output=output,
            unit=unit,
            from_logits=from_logits,
            preprocessing_function=preprocessing_function,
            input_features=input_features,
        )
        strings = tf.constant(opened.sample)
        pinned = dict(cut_policies or {})

        def build(policies: Mapping[str, str]) -> FeatureModel:
            partition = find_partition(opened.flat, opened.output, policies, strings)
            left_out = check_pins(pinned, partition)
            notes = [f"pinned policies of features that are not attributed: {left_out}"] if left_out else []
            model = cls(opened, partition, policies, notes)
            model._check_against(opened.whole, opened.sample)
            return model

        model = build(pinned)
        if input_baseline is None:
            return model
        return _with_converging_cuts(model, build, pinned, opened.sample, input_baseline)

    @property
    def saved_model(self) -> Any:
        """The loaded SavedModel, with all its signatures."""
        return self.opened.loaded.model

    def encode(self, examples: Sequence[bytes] | np.ndarray) -> Encoded:
        """Parses and transforms rows, up to the cut.

        Args:
            examples: serialised tf.Examples, [rows].

        Raises:
            ExampleError: if the model's parser refuses a row; which one, TensorFlow does not always say.
        """
        batch = as_batch(examples)
        with named_refusal(len(batch)):
            tensors = self._functions.encode(tf.constant(batch))
        cuts = len(self._partition.cuts)
        return Encoded(batch, tuple(tensors[:cuts]), tuple(tensors[cuts:]), self._partition.columns, self.encode)

    def predict(self, encoded: Encoded) -> np.ndarray:
        """The model's output, float32 [rows, targets], in `unit`; logits are as the model has them, not centred."""
        return in_unit(self._logits(encoded), self.link, self.unit).numpy()

    def explained(self, encoded: Encoded, target: int | np.ndarray) -> np.ndarray:
        """The explained value, as `path_gradients` means it: float32 [rows].

        Args:
            encoded: rows.
            target: output column, one for all rows or int [rows].
        """
        targets = self._targets(target, len(encoded))
        return explained_value(self._logits(encoded), targets, self.link, self.unit).numpy()

    def gradients(self, encoded: Encoded, target: int | np.ndarray) -> dict[str, np.ndarray]:
        """Saliency: the gradient of the explained value at the cut.

        Args:
            encoded: rows.
            target: output column, one for all rows or int [rows].

        Returns:
            By attributed feature, float32 [rows, n]: its cut tensors flattened, side by side.
        """
        rows = len(encoded)
        targets = self._targets(target, rows)
        if rows > self._gradient_rows:
            found = [
                self.gradients(encoded.take(np.array(part)), targets.numpy()[part.start : part.stop])
                for part in parts(rows, self._gradient_rows)
            ]
            return {feature: np.concatenate([part[feature] for part in found]) for feature in self.features}
        gradients = self._functions.gradient()(list(encoded.cuts), list(encoded.frozen), targets)
        by_feature: dict[str, list[np.ndarray]] = {feature: [] for feature in self.features}
        for column, gradient in zip(self._partition.columns, gradients, strict=True):
            by_feature[column].append(gradient.numpy().astype(np.float32).reshape(rows, -1))
        return {feature: np.concatenate(parts, axis=1) for feature, parts in by_feature.items()}

    def path_gradients(
        self,
        encoded: Encoded,
        input_baseline: Encoded,
        target: int | np.ndarray,
        nodes: np.ndarray,
        weights: np.ndarray,
        *,
        elements: Collection[str] = (),
        compiled: bool = False,
    ) -> PathIntegral:
        """Integrated gradients from the input baseline to each row, by the given quadrature rule.

        The explained value is the target's output in `unit`. Behind a softmax and in logits it is the target's logit
        minus the mean logit of the row; with two classes, minus the other class's logit.

        Args:
            encoded: rows to explain.
            input_baseline: one encoded row for all, or a row for each of `encoded`.
            target: output column, one for all rows or int [rows].
            nodes: in [0, 1], float [steps].
            weights: float [steps], summing to 1.
            elements: attributed features whose attributions are wanted by element as well: by pixel, token or entry.
            compiled: compile for this batch's shape with XLA; `CompiledModel` knows for which models that works.

        Returns:
            Attributions in the order of `features`, and the explained value at both ends. The one at the baseline is
            the whole model's: what the cut leaves frozen counts against convergence.

        Raises:
            ValueError: if an argument is out of its range, or `elements` names a feature without such elements.
        """
        rows = len(encoded)
        if len(input_baseline) not in (1, rows):
            raise ValueError(
                f"input_baseline must have one row, or as many as encoded ({rows}). Received: {len(input_baseline)}"
            )
        wanted = tuple(sorted(set(elements)))
        if wanted and compiled:
            raise ValueError(f"elements must be empty where compiled is True. Received: {list(wanted)}")
        self._check_elements(wanted)
        targets = self._targets(target, rows)
        if rows > self._gradient_rows:
            found = []
            for part in parts(rows, self._gradient_rows):
                own = np.array(part)
                start = input_baseline.take(own) if len(input_baseline) == rows else input_baseline
                of_part = targets.numpy()[part.start : part.stop]
                found.append(self.path_gradients(encoded.take(own), start, of_part, nodes, weights, elements=wanted))
            return PathIntegral.concatenate(found)
        fused = _FUSED_NARROW if self._functions.width <= _NARROW_WIDTH else _FUSED_ROWS
        per_chunk = max(1, min(fused, self._gradient_rows) // rows) if self._stackable else 1
        integrate = self._functions.integrate_compiled() if compiled else self._functions.integrate(wanted)
        attributions, prediction, baseline_prediction, *by_element = integrate(
            self._functions.packed(encoded.cuts),
            list(encoded.frozen),
            self._functions.packed(input_baseline.cuts),
            list(input_baseline.frozen),
            targets,
            *_in_chunks(np.asarray(nodes), np.asarray(weights), per_chunk),
        )
        by_feature = {feature: values.numpy() for feature, values in zip(wanted, by_element, strict=True)}
        return PathIntegral(attributions.numpy(), prediction.numpy(), baseline_prediction.numpy(), by_feature)

    def behind_the_cut(self) -> tuple[list[tf.DType], list[str]]:
        """(types of the tensors that the part behind the cut is fed with, types of its operations)."""
        partition = self._partition
        feeds = [*partition.cuts, *partition.frozen]
        stop = [partition.flat.tensor(name).op for name in feeds]
        target = partition.flat.tensor(partition.target)
        inside = [op.type for op in topological([target], stop) if op not in set(stop)]
        return [partition.flat.tensor(name).dtype for name in feeds], inside

    def tokens(self, encoded: Encoded, feature: str) -> list[list[str]] | None:
        """What the elements of a feature are, row by row, where the graph splits a text; None where it is not known."""
        cuts = [cut for column, cut in zip(encoded.columns, encoded.cuts, strict=True) if column == feature]
        return text_tokens(self._partition, feature, encoded.examples, cuts[0].numpy()) if len(cuts) == 1 else None

    def _logits(self, encoded: Encoded) -> tf.Tensor:
        rows = len(encoded)
        if rows > self._forward_rows:
            return tf.concat([self._logits(encoded.take(np.array(p))) for p in parts(rows, self._forward_rows)], 0)
        return self._functions.logits(list(encoded.cuts), list(encoded.frozen))

    def _targets(self, target: int | np.ndarray, rows: int) -> tf.Tensor:
        targets = np.broadcast_to(np.asarray(target, dtype=np.int32), (rows,))
        outside = targets[(targets < 0) | (targets >= self.num_targets)]
        if outside.size:
            raise ValueError(f"target must be in [0, {self.num_targets}). Received: {int(outside[0])}")
        return tf.constant(targets)

    def _check_elements(self, wanted: Sequence[str]) -> None:
        for feature in wanted:
            if feature not in self.features:
                raise ValueError(f"elements must name attributed features {list(self.features)}. Received: {feature!r}")
            if len(set(self.cut_shapes[feature])) > 1:
                raise ValueError(
                    f"elements must name features whose cut tensors have one shape. Received: {feature!r} with "
                    f"{list(self.cut_shapes[feature])}. Where it applies, the cut policy 'element' gives it one cut "
                    "with a row of numbers for each token or pixel."
                )

    def _value_at_baseline_cut(self, encoded: Encoded, input_baseline: Encoded, target: int) -> np.ndarray:
        """The explained value [rows] with the cut at the baseline, and what is frozen at x."""
        cuts = [tf.constant(np.repeat(cut.numpy(), len(encoded), axis=0)) for cut in input_baseline.cuts]
        logits = self._functions.logits(cuts, list(encoded.frozen))
        return explained_value(logits, self._targets(target, len(encoded)), self.link, self.unit).numpy()

    def _check_against(self, whole: np.ndarray, sample: np.ndarray) -> None:
        """The parts must give what the untouched signature gives, for the sample and for its first row alone."""
        for rows in (len(sample), 1):
            logits = self._logits(self.encode(sample[:rows]))
            parts = (apply_link(logits, self.link) if self._output.applied else logits).numpy()
            expected = whole[:rows].reshape(rows, -1)
            scale = np.abs(whole[np.isfinite(whole)]).max(initial=0.0)
            difference = relative_difference(expected, parts, float(scale))
            if difference > self.opened.tolerance:
                raise SelfCheckError(
                    f"the model cut at its features must give the output of the whole model. Received: a difference of "
                    f"{difference:.2g} of the largest value of {self.output!r} on {rows} rows. This is a fault of the "
                    "engine: please report the model's graph."
                )

    def _can_stack(self, sample: np.ndarray) -> bool:
        """Whether several steps of the path can go through the model as one larger batch."""
        encoded = self.encode(sample)
        logits = self._logits(encoded)
        cuts = [tf.constant(np.concatenate([cut.numpy()] * _STACKED_COPIES)) for cut in encoded.cuts]
        frozen = self._functions.repeat_frozen(encoded.frozen, _STACKED_COPIES)
        try:
            stacked = self._functions.logits(cuts, frozen).numpy()
        except tf.errors.InvalidArgumentError:
            return False
        expected = np.tile(logits.numpy(), (_STACKED_COPIES, 1))
        return relative_difference(expected, stacked) <= TOLERANCE

    def _own_notes(self) -> list[str]:
        notes = []
        if self.uncovered_features:
            uncovered = list(self.uncovered_features)
            notes.append(f"features that reach the output only through operations without gradient: {uncovered}")
        if not self._stackable:
            notes.append("steps cannot be stacked into one batch: one call a step, which is slower")
        if self.link == "raw":
            notes.append(f"output {self.output!r} ends in no sigmoid or softmax: it is explained as it is")
        return notes


def _in_chunks(nodes: np.ndarray, weights: np.ndarray, per_chunk: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Nodes and weights as float32 [chunks, steps]; the last chunk is filled up with its last node at weight 0."""
    if nodes.ndim != 1 or nodes.shape != weights.shape or not len(nodes):
        raise ValueError(f"nodes and weights must be [steps], alike. Received: {nodes.shape} and {weights.shape}")
    chunks = -(-len(nodes) // per_chunk)
    per_chunk = -(-len(nodes) // chunks)
    padding = (0, chunks * per_chunk - len(nodes))
    nodes, weights = np.pad(nodes, padding, mode="edge"), np.pad(weights, padding)
    shape = (chunks, per_chunk)
    return tf.constant(nodes.reshape(shape), tf.float32), tf.constant(weights.reshape(shape), tf.float32)


def _with_converging_cuts(
    model: FeatureModel,
    build: Callable[[Mapping[str, str]], FeatureModel],
    pinned: Mapping[str, str],
    sample: np.ndarray,
    input_baseline: bytes,
) -> FeatureModel:
    """The model itself, or one in which the features that do not converge under `feature` have the policy `latest`."""
    failing = _failing_features(model, sample, input_baseline)
    fixed = [name for name in failing if name in pinned]
    if fixed:
        raise CutPolicyError(
            f"the pinned cut policies { ({name: pinned[name] for name in fixed}) } do not converge on the sample in "
            f"{TRIAL_STEPS[-1]} nodes. Without the pin another cut is tried; its attributions are not comparable."
        )
    if not failing:
        return model
    later = build({**pinned, **dict.fromkeys(failing, "latest")})
    still = _failing_features(later, sample, input_baseline)
    if still:
        told = "".join(f"; {note}" for note in later._partition.notes)
        raise ConvergenceError(
            f"the features {still} must converge on the sample in {TRIAL_STEPS[-1]} nodes; they do under neither of "
            f"the cut policies 'feature' and 'latest'{told}. Is the model discontinuous in them, or its gradient "
            "not finite (a root or a quotient at 0 behind tf.where)?"
        )
    return later


def _failing_features(model: FeatureModel, sample: np.ndarray, input_baseline: bytes) -> list[str]:
    """Features that do not converge alone; only those that need many nodes get them.

    Rows for which the model itself gives no number fail by themselves, later, and say nothing of a feature's path.
    """
    whole = model.opened.whole.reshape(len(sample), -1)
    finite = np.isfinite(whole).all(axis=1)
    sample = sample[finite] if finite.any() else sample
    baseline = _encoded_baseline(model, input_baseline)
    target = int(np.argmax(model.predict(baseline)[0]))
    failing = list(model.features)
    for steps in TRIAL_STEPS:
        if failing:
            rule = gauss_legendre(steps)
            failing = unconverged_columns(
                failing,
                model.features,
                model.cut_policies,
                model.encode(trial_rows(sample, input_baseline, {name: model.parts[name] for name in failing})),
                functools.partial(_integrated, model, baseline, target, rule),
                functools.partial(model._value_at_baseline_cut, input_baseline=baseline, target=target),
            )
    return failing


def _encoded_baseline(model: FeatureModel, input_baseline: bytes) -> Encoded:
    try:
        return model.encode([input_baseline])
    except ExampleError as error:
        raise ExampleError(
            "the model must take the input baseline, which has each feature's usual value whatever the others' are: "
            f"let input_baseline give fitting values to features that belong together. Received: {error}"
        ) from error


def _integrated(
    model: FeatureModel, baseline: Encoded, target: int, rule: tuple[np.ndarray, np.ndarray], rows: Encoded
) -> PathIntegral:
    return model.path_gradients(rows, baseline, target, *rule)
