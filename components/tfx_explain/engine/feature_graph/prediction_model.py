"""A SavedModel without a gradient path: its predictions, and what keeps gradients from each feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph.blocked import find_blockers, no_gradient_sentence
from tfx_explain.engine.feature_graph.dependencies import find_dependencies
from tfx_explain.engine.feature_graph.encoded import Encoded, as_batch, named_refusal
from tfx_explain.engine.feature_graph.errors import SelfCheckError
from tfx_explain.engine.feature_graph.flat_graph import topological
from tfx_explain.engine.feature_graph.memory import parts, rows_at_once
from tfx_explain.engine.feature_graph.named_operation import NamedOperation
from tfx_explain.engine.feature_graph.opened import OpenedModel, open_model
from tfx_explain.engine.feature_graph.output import apply_link, explained_value, in_unit
from tfx_explain.engine.feature_graph.rounding import relative_difference
from tfx_explain.engine.feature_graph.sources import find_sources


class PredictionModel:
    """A model's output as a function of its rows, where `FeatureModel` raises `NoGradientError`.

    It stands where a `FeatureModel` does for everything but gradients: slices, metrics and permutation importance
    (`PermutationModel.of(model.opened)`) need none. Made by `load`. Several threads may call one instance.

    Attributes:
        features: what is attributed: nothing.
        parts, cut_policies: empty.
        unused_features: raw features that the model parses but that do not reach the output, sorted.
        uncovered_features: raw features that reach the output: all without a gradient, sorted.
        blocked: by uncovered feature, sorted, the nearest operation that keeps gradients from it.
        output, link, unit, num_targets, class_names: as those of `FeatureModel`. The output may be one of integers.
        reason: why there are no attributions.
        notes: what a reader of the results should know.
        opened: the model; permutations start from it.
    """

    def __init__(self, opened: OpenedModel, reason: str) -> None:
        self.opened = opened
        flat, found = opened.flat, opened.output
        sources = find_sources(flat)
        target = flat.tensor(found.tensor)
        order = topological([target])
        used = find_dependencies(flat, sources, order).features(target)
        self.features: tuple[str, ...] = ()
        self.parts: dict[str, tuple[str, ...]] = {}
        self.cut_policies: dict[str, str] = {}
        self.unused_features = tuple(sorted(set(sources.features) - used))
        self.uncovered_features = tuple(sorted(used))
        self.blocked: dict[str, NamedOperation] = find_blockers(order, target, sources, (), used)
        self.reason = no_gradient_sentence(used, self.blocked) if used and used == set(self.blocked) else reason
        self.output = found.name
        self.link = found.link
        self.unit = opened.unit
        self.num_targets = opened.num_targets
        self.class_names = opened.class_names
        self.notes = opened.notes
        whole = flat.importer(flat.input_names, [found.tensor])

        def logits(examples: tf.Tensor) -> tf.Tensor:
            return tf.reshape(tf.cast(whole(examples)[0], tf.float32), [-1, self.num_targets])

        specs = [flat.spec(name) for name in flat.input_names]
        self._logits = tf.function(logits, autograph=False, input_signature=specs).get_concrete_function()
        _, self._rows = rows_at_once(flat, flat.input_names, found.tensor, 1)
        self._check_itself()

    @classmethod
    def load(
        cls,
        path: str,
        *,
        sample: Sequence[bytes],
        reason: str,
        signature: str = "serving_default",
        output: str | None = None,
        unit: Literal["logit", "probability"] = "logit",
        from_logits: bool = False,
        preprocessing_function: str | None = None,
        input_features: Mapping[str, str] | None = None,
        integer_output: Literal["class", "amount"] = "class",
        class_names: Sequence[str] = (),
    ) -> PredictionModel:
        """Loads a SavedModel; arguments as those of `FeatureModel.load`.

        Args:
            path: folder that holds `saved_model.pb`.
            sample: a few serialised tf.Examples, typical of the data.
            reason: what `NoGradientError` said; taken where the operations that keep gradients away cannot be named.
            signature: one that takes a batch of serialised tf.Examples.
            output: name of a floating or integer output; found by the usual names if None.
            unit: what is predicted behind a sigmoid or softmax.
            from_logits: a floating output that ends in no sigmoid or softmax is logits.
            preprocessing_function: another signature, which maps serialised tf.Examples to what `signature` takes.
            input_features: name of the feature that feeds an input of tensors, where it is not the input's own.
            integer_output: what an output of integers, or an argmax, holds: numbers of classes, or amounts.
            class_names: what an output of strings says, in the order of the classes' numbers.

        Raises:
            FeatureModelError: by its subclass, why the model cannot even be predicted row by row.
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
            integers=True,
            integer_output=integer_output,
            class_names=class_names,
        )
        return cls(opened, reason)

    @property
    def saved_model(self) -> Any:
        """The loaded SavedModel, with all its signatures."""
        return self.opened.loaded.model

    def encode(self, examples: Sequence[bytes] | np.ndarray) -> Encoded:
        """Runs the model on rows; what is kept of them are their logits.

        Args:
            examples: serialised tf.Examples, [rows].

        Raises:
            ExampleError: if the model's parser refuses a row; which one, TensorFlow does not always say.
        """
        batch = as_batch(examples)
        with named_refusal(len(batch)):
            found = [self._logits(tf.constant(batch[part.start : part.stop])) for part in parts(len(batch), self._rows)]
        return Encoded(batch, (), (tf.concat(found, 0) if len(found) > 1 else found[0],), (), self.encode)

    def predict(self, encoded: Encoded) -> np.ndarray:
        """The model's output, float32 [rows, targets], in `unit`; logits are as the model has them, not centred."""
        return in_unit(encoded.frozen[0], self.link, self.unit).numpy()

    def explained_value(self, encoded: Encoded, target: np.ndarray) -> np.ndarray:
        """The value that would be attributed, float32 [rows]; see `FeatureModel.path_gradients`.

        Args:
            encoded: rows.
            target: output column, int [rows].
        """
        return explained_value(encoded.frozen[0], tf.constant(target.astype(np.int32)), self.link, self.unit).numpy()

    def _check_itself(self) -> None:
        logits = self.encode(self.opened.sample).frozen[0]
        flattened = (apply_link(logits, self.link) if self.opened.output.applied else logits).numpy()
        whole = self.opened.whole.reshape(len(self.opened.sample), -1).astype(np.float32)
        difference = relative_difference(whole, flattened)
        if difference > self.opened.tolerance:
            raise SelfCheckError(
                f"the flattened model must give the output of the whole model. Received: a difference of "
                f"{difference:.2g} of the largest value of {self.output!r}. This is a fault of the engine: please "
                "report the model's graph."
            )
