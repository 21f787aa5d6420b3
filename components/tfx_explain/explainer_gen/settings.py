"""What a job measures by: slices, label and weight, from Evaluator's configuration where it is given."""

from __future__ import annotations

import dataclasses

from tfx_explain.config import ExplainConfig
from tfx_explain.explainer_gen.beside import Evaluation
from tfx_explain.explainer_gen.eval_config import EvaluationSettings, read_eval_config
from tfx_explain.explainer_gen.evaluator_metrics import read_evaluator_metrics
from tfx_explain.explainer_gen.labels import Source
from tfx_explain.explainer_gen.slicing import Slicing

_TFMAS_FUNCTIONS = ("transformed_features", "transformed_labels")


class SettingsError(ValueError):
    """Evaluator's configuration asks for what cannot be measured; the message names it."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a job measures by.

    Attributes:
      slicing: Evaluator's slices, else the configuration's; the required ones in any case.
      label, example_weight: where they are found, or None. What ExplainConfig says goes first.
      min_slice_size: rows below which a slice is merged: the larger of the configuration's and Evaluator's.
      evaluation: Evaluator's result, or None.
    """

    slicing: Slicing
    label: Source | None
    example_weight: Source | None
    min_slice_size: int
    evaluation: Evaluation | None

    @property
    def measured_by(self) -> str:
        """Slices, label and weight as text, for fingerprints."""
        return repr((self.slicing, self.label, self.example_weight))


def resolve(config: ExplainConfig, evaluation_uri: str | None) -> Settings:
    """The settings of a job.

    Args:
      config: ExplainConfig.
      evaluation_uri: of Evaluator's ModelEvaluation, or None.

    Raises:
      SettingsError: Evaluator's configuration has fields that are not supported.
      EvaluatorResultError: its metrics cannot be read.
    """
    functions: tuple[str, ...] = ()
    evaluation = theirs = None
    if evaluation_uri is not None:
        eval_config = read_eval_config(evaluation_uri)
        if eval_config is not None:
            theirs = EvaluationSettings.of(eval_config, output_name=config.output)
            if theirs.unsupported:
                raise SettingsError("Evaluator's configuration is not supported: " + " ".join(theirs.unsupported))
            functions = theirs.preprocessing_functions
            evaluation = Evaluation(eval_config, read_evaluator_metrics(evaluation_uri, theirs.output_name or ""))
    if config.label is not None and config.label.preprocessing_function is not None:
        functions = functions or (config.label.preprocessing_function,)
    required = Slicing.of_specs([r.model_dump() for r in config.required_slices])
    slicing = theirs.slicing if theirs else Slicing.of_specs([s.model_dump() for s in config.slices.specs], functions)
    return Settings(
        slicing=dataclasses.replace(slicing, specs=tuple(dict.fromkeys((*slicing.specs, *required.specs)))),
        label=_label(config, theirs, functions),
        example_weight=_weight(config, theirs, functions),
        min_slice_size=max(config.slices.min_slice_size, theirs.min_slice_size if theirs else 1),
        evaluation=evaluation,
    )


def _label(config: ExplainConfig, theirs: EvaluationSettings | None, functions: tuple[str, ...]) -> Source | None:
    if config.label is not None:
        function = config.label.preprocessing_function
        return Source(config.label.key, (function,) if function else (), transformed=bool(function))
    return _theirs(theirs.label_key, functions) if theirs and theirs.label_key else None


def _weight(config: ExplainConfig, theirs: EvaluationSettings | None, functions: tuple[str, ...]) -> Source | None:
    if config.example_weight_key is not None:
        return Source(config.example_weight_key, functions)
    return _theirs(theirs.example_weight_key, functions) if theirs and theirs.example_weight_key else None


def _theirs(key: str, functions: tuple[str, ...]) -> Source:
    """A key of Evaluator's: in the named functions, else in those that TFMA looks for, else a raw feature."""
    return Source(key, functions) if functions else Source(key, _TFMAS_FUNCTIONS, optional=True)
