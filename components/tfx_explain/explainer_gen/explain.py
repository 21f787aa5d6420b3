"""What a worker does with one block: encode, attribute, label, bin."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tfx_explain.config import ExplainConfig, ImageBaseline
from tfx_explain.engine.aggregates.bins import FeatureBins
from tfx_explain.engine.aggregates.buckets import Rows
from tfx_explain.engine.feature_graph import (
    Encoded,
    FeatureModel,
    FeatureModelError,
    Narrow,
    PermutationModel,
    PredictionModel,
)
from tfx_explain.engine.feature_graph.errors import ExampleError
from tfx_explain.explainer_gen.at_baseline import at_input_baseline, weight_at_baseline
from tfx_explain.explainer_gen.columns import Column, Columns, decode
from tfx_explain.explainer_gen.crosses import split_of
from tfx_explain.explainer_gen.elements import ElementsError, elements_of
from tfx_explain.explainer_gen.environment import environment_facts
from tfx_explain.explainer_gen.examples import write_example
from tfx_explain.explainer_gen.image_baselines import BaselineRows, described, image_baselines
from tfx_explain.explainer_gen.input_baseline import resolve_input_baseline
from tfx_explain.explainer_gen.job_spec import JobSpec, ModelFacts
from tfx_explain.explainer_gen.labels import LabelError, NumberReader, label_fields
from tfx_explain.explainer_gen.method import FROM_INPUT_BASELINE, BatchMethod, MethodError
from tfx_explain.explainer_gen.no_gradient import no_attributions, nothing_measured
from tfx_explain.explainer_gen.profiles import FeatureProfile, feature_bins
from tfx_explain.explainer_gen.row_ids import buckets, cluster_ids
from tfx_explain.explainer_gen.sampling import Block
from tfx_explain.explainer_gen.slicing import SliceAssigner
from tfx_explain.explainer_gen.strata import SlicePlan
from tfx_explain.explainer_gen.target import TargetError, check_fits, known_classes, resolve_target
from tfx_explain.explainer_gen.transit import travels
from tfx_explain.explainer_gen.usable_model import load_model, not_finite, raw_names
from tfx_explain.names import NUM_BUCKETS

NO_REPEATS = "the configuration asks for 0 repeats"


@travels
@dataclasses.dataclass(frozen=True)
class ExplainedBlock:
    """A block's attributions.

    Attributes:
      ids, split, count, target, convergence_delta, num_steps: [n] of the rows that were explained.
      rows: what the statistics need of them.
      member_row, member_place: [m] pairs: row `member_row` belongs to the slice of that number in the plan.
      failed_member_row, failed_member_place: the same for `rows.failed_bucket`.
      kept: the pass-through features of the explained rows; those that no row has are absent.
      failures: why rows failed -> how many distinct rows.
      forward_equivalents: forward passes of one row that were spent, a gradient counted as three.
      at_baseline: weight of the explained rows at the input baseline, by feature, then in all features at once:
        float64 [features + 1]; None where the method does not start there.
      stands_for: rows that all rows of the block stand for, failed ones too, by hash bucket: float64 [buckets]; None of
        a block without rows.
    """

    index: int
    facts: ModelFacts
    ids: np.ndarray
    split: np.ndarray
    count: np.ndarray
    target: np.ndarray
    convergence_delta: np.ndarray
    num_steps: np.ndarray
    rows: Rows
    member_row: np.ndarray
    member_place: np.ndarray
    failed_member_row: np.ndarray
    failed_member_place: np.ndarray
    kept: Mapping[str, Column]
    failures: Mapping[str, int]
    forward_equivalents: float
    at_baseline: np.ndarray | None = None
    stands_for: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class _Fitted:
    """A batch of the fixed shape: which of its rows are real and can be run, its examples, and why others cannot."""

    ok: np.ndarray
    rows: list[bytes]
    encoded: Encoded
    failures: Counter[str]


class ModelExplainer:
    """A loaded model with its method, input baseline, bins and label: explains any block of the job."""

    def __init__(
        self,
        spec: JobSpec,
        profiles: Iterable[FeatureProfile],
        sample: Sequence[bytes],
        background: Sequence[bytes] = (),
    ):
        """Loads the model; what it refuses is kept in `facts.error`, so that the job ends with a sentence.

        Args:
          spec: what is explained.
          profiles: of the raw features.
          sample: serialised examples that the model is split and verified on.
          background: serialised examples that expected gradients start from; see `background_examples`.
        """
        self._config = spec.config
        self._profiles = {p.name: p for p in profiles}
        baseline, source = resolve_input_baseline(spec, self._profiles)
        self.baseline_example = write_example(baseline)
        self._pins = spec.pins
        policies = dict(spec.config.cut_policies) | (dict(spec.pins.cut_policies) if spec.pins else {})
        environment = json.dumps(environment_facts(), sort_keys=True)
        try:
            # Policies of features that this model does not have stay out: they are another model's.
            self.model = load_model(spec, sample, self.baseline_example, policies)
        except FeatureModelError as error:
            self.facts = ModelFacts(error=str(error), input_baseline=baseline, input_baseline_source=source)
            return
        model = self.model
        try:
            classes = known_classes(spec.config, model.class_names, model.num_targets, model.link)
            self.target = resolve_target(spec.config, classes, model.num_targets)
            check_fits(self.target, model.link, model.num_targets)
        except TargetError as error:
            self.facts = ModelFacts(error=str(error), input_baseline=baseline, input_baseline_source=source)
            return
        known = {*model.features, *model.unused_features, *model.uncovered_features, *self._profiles}
        unknown = sorted({m for members in spec.config.feature_groups.values() for m in members} - known)
        if unknown:  # a typo would take a check of the gate away
            self.facts = ModelFacts(
                error=f"feature_groups must name features of the examples or the model, such as {sorted(known)[:20]}. "
                f"Received: {unknown}"
            )
            return
        taken = sorted(known & {*spec.config.feature_groups})
        if taken:  # results and limits go by name, and would be those of both
            self.facts = ModelFacts(error=f"feature_groups must have names that no feature has. Received: {taken}")
            return
        self.method: BatchMethod | None = None
        self.images: dict[str, ImageBaseline] = {}
        self.elements: tuple[str, ...] = ()
        notes: list[str] = []
        if isinstance(model, FeatureModel):
            try:
                self.images, image_notes = image_baselines(spec, model)
                most = {p.name: p.max_values for p in self._profiles.values()}
                self.elements, element_notes = elements_of(model, spec.config.elements.features, most)
                input_baseline = BaselineRows(model.encode([self.baseline_example]), self.images)
                self.method = BatchMethod(model, spec.config, input_baseline, background)
            except (FeatureModelError, ElementsError, MethodError) as error:
                self.facts = ModelFacts(error=str(error), input_baseline=baseline, input_baseline_source=source)
                return
            notes = [*image_notes, *element_notes]
        label_error, self._labels = None, None
        if spec.label is None:
            label_error = "the configuration names no label"
        else:
            try:
                self._labels = NumberReader(spec.label, model.saved_model, classes=classes)
            except LabelError as error:
                label_error = str(error)
        self._weights = None
        if spec.example_weight is not None:
            try:
                self._weights = NumberReader(spec.example_weight, model.saved_model, "example_weight")
            except LabelError as error:
                self.facts = ModelFacts(error=str(error), input_baseline=baseline, input_baseline_source=source)
                return
        self._slices = SliceAssigner(spec.slicing, spec.model_path)
        task = task_of(model.link, model.num_targets)
        if self.target.by_label and label_error is not None:
            self.facts = ModelFacts(
                error=f"target 'label' needs labels, and there are none: {label_error}",
                input_baseline=baseline,
                input_baseline_source=source,
            )
            return
        if task is None and label_error is None:
            label_error = (
                "the output has several columns of classes a row: serve one, or their scores"
                if model.link == "class"
                else "the output has several columns and no softmax: declare it with from_logits if it is logits of "
                "classes"
            )
        self.permutation: PermutationModel | None = None
        if spec.config.permutation_importance.repeats and label_error is None:
            try:
                self.permutation = PermutationModel.of(model.opened)
            except FeatureModelError as error:  # the attributions stand without it
                label_error = f"the model takes no values of other rows: {error}"
        no_gradient = model.reason if isinstance(model, PredictionModel) else None
        if no_gradient is not None and self.permutation is None:
            self.facts = ModelFacts(
                error=nothing_measured(no_gradient, label_error or NO_REPEATS),
                input_baseline=baseline,
                input_baseline_source=source,
            )
            return
        self.split = split_of(model.features, model.parts, spec.config.crosses)
        self.facts = ModelFacts(
            features=self.split.features,
            no_gradient=no_gradient,
            crosses=self.split.crosses,
            blocked={name: (blocker.operation, blocker.name) for name, blocker in model.blocked.items()},
            unused_features=model.unused_features,
            uncovered_features=model.uncovered_features,
            cut_policies=dict(model.cut_policies),
            output=model.output,
            link=model.link,
            unit=model.unit,
            num_targets=model.num_targets,
            target=self.target.name,
            class_names=classes if classes is not None and len(classes) == model.num_targets else None,
            task=task if label_error is None else None,
            label_error=label_error,
            permutable=self.permutation.features if self.permutation else (),
            only_grouped=tuple(self.permutation.refused_alone) if self.permutation else (),
            reparsed=self.permutation.reparsed if self.permutation else (),
            notes=(*model.notes, *_overridden(spec), *notes),
            input_baseline=baseline,
            input_baseline_source=source,
            image_baselines={name: described(image) for name, image in self.images.items()},
            environment=environment,
            background_rows=self.method.background_rows if self.method else 0,
            background_digest=self.method.background_digest if self.method else "",
        )

    @property
    def bins(self) -> dict[str, FeatureBins]:
        """Value bins of each attributed feature; a cross has none but `all`."""
        return feature_bins(self.facts.features, self._profiles.values(), self._pins)

    @property
    def config(self) -> ExplainConfig:
        """What is explained."""
        return self._config

    def narrow(self, raw: Sequence[bytes], copies: int = 1) -> Narrow:
        """Rows as permutations take them, padded to the fixed shape, so many times one after the other."""
        if self.permutation is None:
            raise ValueError("the model must be loaded for permutations. Received: none")
        padded = [*raw, *[self.baseline_example] * (self._config.batch_size - len(raw))]
        return self.permutation.encode(padded, copies)

    def predict(self, raw: Sequence[bytes]) -> np.ndarray:
        """Predictions for a few rows, in fixed padded batches: float64 [rows, targets]; NaN where a row fails."""
        out = np.full((len(raw), self.facts.num_targets), np.nan)
        size = self._config.batch_size
        for start in range(0, len(raw), size):
            part = list(raw[start : start + size])
            fitted = self._fit(part, decode(part))
            out[start : start + len(part)][fitted.ok] = self.model.predict(fitted.encoded)[: len(part)][fitted.ok]
        return out

    def explain(self, block: Block, plan: SlicePlan, rows_of_job: int) -> ExplainedBlock:
        """Attributions of a block's rows, of so many in all; rows that fail are counted by reason."""
        columns = block.columns
        fitted = self._fit(block.raw, columns)
        ok, padded, encoded, failures = fitted.ok, fitted.rows, fitted.encoded, fitted.failures
        model, config = self.model, self._config
        weight, weighed = self._weight(block, padded, columns)
        if (ok & ~weighed).any():
            failures["the example weight is no number >= 0"] += int((ok & ~weighed).sum())
            ok = ok & weighed
        scores = model.predict(encoded)  # [batch, targets]
        facts, label = self.facts, None
        if self._labels is not None and (facts.task is not None or self.target.by_label):
            try:
                label = self._labels.read(padded, columns)[: len(ok)]
            except LabelError as error:
                # For this block alone: another worker's blocks must not depend on what this one met before.
                facts = dataclasses.replace(facts, label_error=str(error))
        target = np.zeros(len(padded), np.int32)
        target[: len(ok)], aimed = self.target.of(scores[: len(ok)], label)
        if (ok & ~aimed).any():
            failures["the row's label names no column of the output"] += int((ok & ~aimed).sum())
            ok = ok & aimed
        valid = np.zeros(len(padded), bool)
        valid[: len(ok)] = ok
        if isinstance(model, PredictionModel):
            result = no_attributions(model, encoded, target)
        elif self.method is not None:
            result = self.method.attributions(encoded, target, block.ids, valid, rows_of_job)
        n = len(ok)
        attributions = self.split.apply(result.attributions)
        finite = np.isfinite(attributions[:n]).all(axis=1) & np.isfinite(result.prediction[:n])
        if (ok & ~finite).any():
            failures["the model gave a result that is not finite"] += int((ok & ~finite).sum())
        ok = ok & finite
        labels = {}
        if label is not None and facts.task is not None:
            labels = label_fields(facts.task, facts.unit, label[ok], scores[:n][ok].astype(np.float64))
        bucket = buckets(cluster_ids(columns, block.raw, block.ids, config.cluster_key))
        rows = Rows(
            bucket=bucket[ok],
            weight=weight[ok],
            attributions=attributions[:n][ok],
            converged=result.converged[:n][ok],
            prediction=result.prediction[:n][ok].astype(np.float64),
            bin_index=self._bin_index(columns)[ok],
            failed_bucket=bucket[~ok],
            failed_weight=weight[~ok],
            **labels,
        )
        member_row, member_place = self._members(block, columns, plan)
        of_explained = ok[member_row]
        chosen = np.nonzero(ok)[0]
        return ExplainedBlock(
            index=block.index,
            facts=facts,
            ids=block.ids[ok],
            split=block.split[ok],
            count=block.count[ok],
            target=target[:n][ok],
            convergence_delta=result.convergence_delta[:n][ok],
            num_steps=result.num_steps[:n][ok],
            rows=rows,
            member_row=(np.cumsum(ok) - 1)[member_row[of_explained]],
            member_place=member_place[of_explained],
            failed_member_row=(np.cumsum(~ok) - 1)[member_row[~of_explained]],
            failed_member_place=member_place[~of_explained],
            kept={name: column.take(chosen) for name, column in self._kept(columns)},
            failures=dict(failures),
            forward_equivalents=float(result.forward_equivalents),
            at_baseline=self._at_baseline(columns, ok, weight),
            stands_for=np.bincount(bucket, weights=block.count / block.probability, minlength=NUM_BUCKETS),
        )

    def _weight(self, block: Block, padded: list[bytes], columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """(count x example weight / inclusion probability of each row, bool: the row has a weight).

        One without counts as a row of the block does on average: at 1 it would be nothing beside weights of thousands.
        """
        weight = block.count / block.probability
        if self._weights is None:
            return weight, np.ones(len(weight), bool)
        try:
            own = self._weights.read(padded, columns)[: len(weight)]
        except LabelError:
            own = np.full(len(weight), np.nan)
        known = np.isfinite(own) & (own >= 0)
        total = float(weight[known].sum())
        mean = float((weight[known] * own[known]).sum()) / total if total else 0.0
        return weight * np.where(known, own, mean or 1.0), known

    def _at_baseline(self, columns: Columns, ok: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
        """See `ExplainedBlock`."""
        if self.method is None or self._config.method not in FROM_INPUT_BASELINE:
            return None
        raw = {n: v for n, v in self.facts.input_baseline.items() if n not in self.facts.image_baselines}
        return weight_at_baseline(at_input_baseline(columns, raw, self.facts.features)[ok], weight[ok])

    def _members(self, block: Block, columns: Columns, plan: SlicePlan) -> tuple[np.ndarray, np.ndarray]:
        """(row, number of its slice in the plan) pairs, each once, by row."""
        members = self._slices.assign(block.raw, columns)
        pairs = np.unique(members.row * len(plan.names) + plan.places(members.keys)[members.slice])
        return pairs // len(plan.names), pairs % len(plan.names)

    def _kept(self, columns: Columns) -> Iterable[tuple[str, Column]]:
        for name in self._config.keep_features:
            kind = self._profiles[name].kind if name in self._profiles else ""
            if (name, kind) in columns.columns:
                yield name, columns.columns[name, kind]

    def _fit(self, raw: Sequence[bytes], columns: Columns) -> _Fitted:
        """Replaces rows that cannot be run by the input baseline, pads to the fixed shape, and encodes.

        One shape for every call: gradients of a row are the same bits only among batches of one shape.
        """
        ok, failures = columns.readable.copy(), Counter[str]()
        if (~ok).any():
            failures["the record is no tf.Example"] += int((~ok).sum())
        used = raw_names(self.facts)
        for name, bad in not_finite(columns, used):
            new = bad[ok[bad]]
            failures[f"feature {name!r} is not finite"] += len(new)
            ok[new] = False
        rows = [r if good else self.baseline_example for r, good in zip(raw, ok, strict=True)]
        rows += [self.baseline_example] * (self._config.batch_size - len(rows))
        try:
            return _Fitted(ok, rows, self.model.encode(rows), failures)
        except ExampleError:
            for i in self._refused(rows, 0):
                failures["the model's parser refused the example"] += 1
                ok[i] = False
                rows[i] = self.baseline_example
        return _Fitted(ok, rows, self.model.encode(rows), failures)

    def _refused(self, rows: list[bytes], start: int) -> Iterable[int]:
        """Indices of rows that the parser refuses, by halving."""
        try:
            self.model.encode(rows)
        except ExampleError:
            if len(rows) == 1:
                yield start
                return
            middle = len(rows) // 2
            yield from self._refused(rows[:middle], start)
            yield from self._refused(rows[middle:], start + middle)

    def _bin_index(self, columns: Columns) -> np.ndarray:
        """[rows, features], of the smallest type that holds all bins: it goes with each row to each of its slices."""
        most = max((bins.size for bins in self.bins.values()), default=1)
        out = np.zeros((columns.rows, len(self.facts.features)), np.min_scalar_type(most - 1))
        for j, (feature, bins) in enumerate(self.bins.items()):
            kind = self._profiles[feature].kind if feature in self._profiles else "f"
            column = columns.columns.get((feature, kind))
            if column is None:
                out[:, j] = bins.size - 1
            else:
                out[:, j] = bins.assign(*column.first())
        return out


def _overridden(spec: JobSpec) -> Iterable[str]:
    """Says which settings the reference's pins take the place of."""
    if spec.pins is None:
        return
    for name in ("input_baseline", "cut_policies"):
        if getattr(spec.config, name):
            yield f"{name} of the configuration gives way to the reference's, so that models stay comparable"


def task_of(link: str, num_targets: int) -> str | None:
    """`binary`, `multiclass`, `agreement` or `regression`; None for several columns that are no classes' scores."""
    if link == "class":  # numbers of classes have no order: their squared distances would mean nothing
        return "agreement" if num_targets == 1 else None
    if link == "raw":
        return "regression" if num_targets == 1 else None
    if link == "sigmoid":
        return "binary" if num_targets == 1 else None
    return "multiclass"
