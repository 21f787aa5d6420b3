"""What every worker of the job is told, and what the model turned out to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tfx_explain.artifacts.pins import Pins, Values
from tfx_explain.config import ExplainConfig
from tfx_explain.explainer_gen.beside import Evaluation
from tfx_explain.explainer_gen.labels import Source
from tfx_explain.explainer_gen.slicing import Slicing


@dataclasses.dataclass(frozen=True)
class JobSpec:
    """Everything that the job's workers need to know, ready to be pickled.

    Attributes:
      model_path: the serving model's folder.
      config: what to explain.
      slicing: which slices there are.
      label, example_weight: where they are found, or None.
      fingerprint: of the model's files; intervals draw by it.
      evaluation: Evaluator's result, or None.
      pins: of the reference, or None on a first run.
      pinned_rows: (role, id, example) that the reference pins; empty on a first run.
      statistics_baseline: raw values that StatisticsGen knows, by feature.
      categorical_ints: int features that the schema calls categorical.
    """

    model_path: str
    config: ExplainConfig
    slicing: Slicing = dataclasses.field(default_factory=Slicing)
    label: Source | None = None
    example_weight: Source | None = None
    fingerprint: str = ""
    evaluation: Evaluation | None = None
    pins: Pins | None = None
    pinned_rows: tuple[tuple[str, str, bytes], ...] = ()
    statistics_baseline: Mapping[str, Values] = dataclasses.field(default_factory=dict)
    categorical_ints: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """What the model turned out to be; the same from every worker.

    Attributes:
      error: why the model cannot be explained, or None.
      target: `predicted`, `label`, or the explained column: its class where the columns have names, else its number.
      class_names: of the output's columns, or None.
      label_error: why there are no labels, or None.
      no_gradient: why nothing can be attributed in a model that can be permuted all the same, or None.
      crosses: of each attributed cross, its raw features.
      blocked: by raw feature that reaches the output round the attributions, (type, name) of the operation that keeps
        gradients from it.
      permutable: raw features that can be permuted; none where nothing is to be.
      only_grouped: those of them that the model refuses when they alone are replaced.
      reparsed: those of them that are replaced in the raw example.
      background_rows, background_digest: see `BatchMethod`.
      image_baselines: of images whose path does not begin at their raw value.
    """

    error: str | None = None
    features: tuple[str, ...] = ()
    unused_features: tuple[str, ...] = ()
    uncovered_features: tuple[str, ...] = ()
    no_gradient: str | None = None
    crosses: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    blocked: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    cut_policies: Mapping[str, str] = dataclasses.field(default_factory=dict)
    output: str = ""
    link: str = ""
    unit: str = ""
    num_targets: int = 0
    target: str = ""
    class_names: tuple[str, ...] | None = None
    task: str | None = None
    label_error: str | None = None
    permutable: tuple[str, ...] = ()
    only_grouped: tuple[str, ...] = ()
    reparsed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    input_baseline: Mapping[str, Values] = dataclasses.field(default_factory=dict)
    input_baseline_source: str = ""
    image_baselines: Mapping[str, str] = dataclasses.field(default_factory=dict)
    environment: str = ""
    background_rows: int = 0
    background_digest: str = ""
