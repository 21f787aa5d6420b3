"""TFMA extractor of attributions of every row that TFMA evaluates."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from apache_beam.utils import shared
from tensorflow_model_analysis.extractors import extractor

from tfx_explain.config import ExplainConfig
from tfx_explain.engine.feature_graph import FeatureModelError
from tfx_explain.explainer_gen.columns import decode
from tfx_explain.explainer_gen.examples import canonical, write_example
from tfx_explain.explainer_gen.explain import ModelExplainer
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.profiles import FeatureProfile, profiles_from, values_of
from tfx_explain.explainer_gen.row_ids import KEY_DTYPE, order_keys, row_ids
from tfx_explain.explainer_gen.sampling import BACKGROUND_ROWS, MODEL_SAMPLE_ROWS

STAGE_NAME = "ExtractAttributions"

# TFMA's batches begin at one row: the fixed shape that they are padded to is kept small.
_MAX_BATCH = 128


@dataclasses.dataclass(frozen=True)
class SmallestRows:
    """Distinct rows with the smallest order keys.

    Attributes:
      keys: S24 [n], rising.
      count: int64 [n], how many equal rows there were.
      raw: serialised examples, object [n].
    """

    keys: np.ndarray
    count: np.ndarray
    raw: np.ndarray


class TakeSmallestRows(beam.CombineFn):
    """Rows [n] of serialised examples -> SmallestRows; the keys and counts depend on the set of all rows alone."""

    def __init__(self, rows: int, seed: int):
        self._rows, self._seed = rows, seed

    def create_accumulator(self) -> SmallestRows:
        """No row."""
        return SmallestRows(np.zeros(0, KEY_DTYPE), np.zeros(0, np.int64), np.zeros(0, object))

    def add_input(self, accumulator: SmallestRows, element: np.ndarray) -> SmallestRows:
        """Adds a batch."""
        raw = list(element)
        keys = order_keys(row_ids(decode(raw), raw), self._seed)
        return self._join([accumulator, SmallestRows(keys, np.ones(len(keys), np.int64), np.array(raw, object))])

    def merge_accumulators(self, accumulators: Iterable[SmallestRows]) -> SmallestRows:
        """Joins partial results."""
        return self._join([self.create_accumulator(), *accumulators])

    def extract_output(self, accumulator: SmallestRows) -> SmallestRows:
        """The rows."""
        return accumulator

    def _join(self, parts: Sequence[SmallestRows]) -> SmallestRows:
        # A key once dropped is never among the smallest again, so the counts of those that stay are complete.
        keys, first, inverse = np.unique(
            np.concatenate([p.keys for p in parts]), return_index=True, return_inverse=True
        )
        count = np.bincount(inverse, weights=np.concatenate([p.count for p in parts]), minlength=len(keys))
        raw = np.concatenate([p.raw for p in parts])[first[: self._rows]]
        return SmallestRows(keys[: self._rows], count[: self._rows].astype(np.int64), raw)


@dataclasses.dataclass(frozen=True)
class Foundation:
    """What every process must have alike to attribute alike.

    Attributes:
      profiles: of the raw features; their central values are the input baseline where the configuration gives none.
      sample: serialised examples on which a model is split, and verifies itself.
      background: serialised examples that expected gradients start from.
    """

    profiles: tuple[FeatureProfile, ...]
    sample: tuple[bytes, ...]
    background: tuple[bytes, ...]


def found(rows: SmallestRows) -> Foundation:
    """Profiles of a sample's features, its first rows and its last."""
    profiles = tuple(profiles_from(values_of(decode(list(rows.raw)), rows.count), frozenset()))
    sample, background = rows.raw[:MODEL_SAMPLE_ROWS], rows.raw[-BACKGROUND_ROWS:]
    return Foundation(profiles, *(tuple(canonical(raw) for raw in part) for part in (sample, background)))


def AttributionsExtractor(model_paths: Mapping[str, str], config: ExplainConfig) -> extractor.Extractor:
    """An extractor that adds `attributions`: {feature: float32 [batch]}, below each model's name if there are several.

    It takes the rows' serialised examples from `tfma.INPUT_KEY`, and belongs behind TFMA's predictions and before the
    extracts are unbatched. Extracts of other keys pass through.

    Args:
      model_paths: SavedModel's folder by model name, as TFMA names models.
      config: what to explain. `signature`, `output`, `unit`, `from_logits`, `target`, `seed`, `max_examples`,
        `method` with its settings, `input_baseline`, `image_baselines`, `crosses` and `cut_policies` are heeded.
    """
    return extractor.Extractor(STAGE_NAME, _ExtractAttributions(dict(model_paths), config))


class _ExtractAttributions(beam.PTransform):
    def __init__(self, model_paths: dict[str, str], config: ExplainConfig):
        super().__init__()
        self._model_paths, self._config = model_paths, config

    def expand(self, extracts: beam.PCollection) -> beam.PCollection:
        """Extracts -> extracts with attributions."""
        config = self._config
        foundation = (
            extracts
            | "Inputs" >> beam.Map(_serialised)
            | "SmallestRows" >> beam.CombineGlobally(TakeSmallestRows(config.max_examples, config.seed))
            | "Found" >> beam.Map(found)
        )
        return extracts | "Attribute" >> beam.ParDo(
            _Attribute(self._model_paths, config), beam.pvalue.AsSingleton(foundation)
        )


def _serialised(extracts: tfma.Extracts) -> np.ndarray:
    raw = extracts.get(tfma.INPUT_KEY)
    if raw is None:
        raise ValueError(
            f"extracts must hold serialised examples under {tfma.INPUT_KEY!r} to be attributed. Received: "
            f"{sorted(extracts)}; read them with raw_record_column_name={tfma.constants.ARROW_INPUT_COLUMN!r}"
        )
    return raw


class _Attribute(beam.DoFn):
    """Loads each model once a process, whatever the number of threads and bundles."""

    def __init__(self, model_paths: dict[str, str], config: ExplainConfig):
        self._model_paths, self._config = model_paths, config
        self._handles = {name: shared.Shared() for name in model_paths}
        self._models: dict[str, _Model] = {}

    def process(self, extracts: tfma.Extracts, foundation: Foundation) -> Iterable[tfma.Extracts]:
        """Attributes one batch."""
        raw = list(_serialised(extracts))
        by_model = {}
        for name in self._model_paths:
            if name not in self._models:
                load = functools.partial(_Model, self._model_paths[name], self._config, foundation)
                self._models[name] = self._handles[name].acquire(load)
            by_model[name] = self._models[name].attributions(raw)
        out = copy.copy(extracts)
        out[tfma.ATTRIBUTIONS_KEY] = by_model if len(by_model) > 1 else next(iter(by_model.values()))
        yield out


class _Model:
    """A loaded model with its input baseline."""

    def __init__(self, path: str, config: ExplainConfig, foundation: Foundation):
        spec = JobSpec(model_path=path, config=config)
        explainer = ModelExplainer(spec, foundation.profiles, foundation.sample, foundation.background)
        if explainer.facts.error is not None:
            raise FeatureModelError(f"the model at {path} cannot be explained: {explainer.facts.error}")
        if explainer.method is None:
            raise FeatureModelError(f"the model at {path} cannot be explained: {explainer.facts.no_gradient}")
        self._model, self._config, self._split = explainer.model, config, explainer.split
        self._padding = write_example(explainer.facts.input_baseline)
        if explainer.target.by_label:
            raise FeatureModelError("target 'label' cannot be explained inside Evaluator: give a class, or 'predicted'")
        self._method, self._target = explainer.method, explainer.target
        self._size = min(config.batch_size, _MAX_BATCH)

    def attributions(self, raw: Sequence[bytes]) -> dict[str, np.ndarray]:
        """By feature, float32 [rows]; of several classes those to the configured target, else the predicted class."""
        parts = [self._attribute(raw[i : i + self._size]) for i in range(0, len(raw), self._size)]
        table = np.concatenate(parts) if parts else np.zeros((0, len(self._split.features)), np.float32)
        return {feature: table[:, j] for j, feature in enumerate(self._split.features)}

    def _attribute(self, raw: Sequence[bytes]) -> np.ndarray:
        """Attributions [rows, features]. One shape for every call: a row's bits depend on the shape of its batch."""
        model = self._model
        encoded = model.encode([*raw, *[self._padding] * (self._size - len(raw))])
        target, _ = self._target.of(model.predict(encoded))
        ids, valid = row_ids(decode(raw), raw), np.arange(self._size) < len(raw)
        result = self._method.attributions(encoded, target, ids, valid)
        return self._split.apply(result.attributions[: len(raw)])
