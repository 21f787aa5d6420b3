"""ExplainerGen component definition."""

import os
from typing import Any, TypeAlias

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from tfx_explain.artifacts.properties import engine_version
from tfx_explain.artifacts.types import AttributionReference, ModelAttributions
from tfx_explain.config import ExplainConfig
from tfx_explain.explainer_gen import executor

_IntParameter: TypeAlias = int | data_types.RuntimeParameter | None


class ExplainerGenSpec(ComponentSpec):
    """ExplainerGen component spec."""

    PARAMETERS = {
        "explain_config": ExecutionParameter(type=str),
        "max_examples": ExecutionParameter(type=int, optional=True),
        "seed": ExecutionParameter(type=int, optional=True),
        "engine_version": ExecutionParameter(type=str),
    }
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "schema": ChannelParameter(type=standard_artifacts.Schema, optional=True),
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics, optional=True),
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation, optional=True),
        "model_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing, optional=True),
        "reference": ChannelParameter(type=AttributionReference, optional=True),
    }
    OUTPUTS = {"attributions": ChannelParameter(type=ModelAttributions)}


class ExplainerGen(base_beam_component.BaseBeamComponent):
    """A TFX component that explains a model's predictions, as a Beam job over its evaluation examples.

    The exported model is explained as it is: neither the trainer's code nor Transform's is needed.

    !!! Example
        ``` python
        explainer_gen = ExplainerGen(
            model=trainer.outputs["model"],
            examples=example_gen.outputs["examples"],
            model_blessing=evaluator.outputs["blessing"],
            reference=reference.outputs["reference"],
            explain_config="configs/explain.yaml",
        )
        ```

    Component `outputs` contains:

     - `attributions`: Channel of type `tfx_explain.ModelAttributions`.
    """

    SPEC_CLASS = ExplainerGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        schema: types.BaseChannel | None = None,
        statistics: types.BaseChannel | None = None,
        evaluation: types.BaseChannel | None = None,
        model_blessing: types.BaseChannel | None = None,
        reference: types.BaseChannel | None = None,
        explain_config: ExplainConfig | dict[str, Any] | str | os.PathLike[str] | None = None,
        max_examples: _IntParameter = None,
        seed: _IntParameter = None,
    ):
        """Construct an ExplainerGen component.

        Args:
          model: A channel of type `Model`, usually Trainer's. _required_
          examples: A channel of type `Examples`: the same raw tf.Examples that Evaluator takes. _required_
          schema: A channel of type `Schema`; with it, ints may be categorical.
          statistics: A channel of type `ExampleStatistics`: medians and modes for the input baseline.
          evaluation: A channel of type `ModelEvaluation`: the same slices and metrics as Evaluator's.
          model_blessing: A channel of type `ModelBlessing`; a model that it refuses is not explained.
          reference: A channel of type `AttributionReference`, whose input baseline and value bins are kept.
          explain_config: An `ExplainConfig`, a mapping, or the path of a YAML or JSON file. A file is read now, so
            that TFX's cache sees its content. None takes every default.
          max_examples: Overrides the config's; an int >= 1 or a RuntimeParameter of ints.
          seed: Overrides the config's; an int >= 0 or a RuntimeParameter of ints.

        Raises:
          ConfigError: The config cannot be read or used.
          TypeError: A channel has another type, or max_examples or seed is no int.
          ValueError: max_examples or seed is out of range.
        """
        config = ExplainConfig() if explain_config is None else ExplainConfig.load(explain_config)
        overrides = {"max_examples": (max_examples, 1), "seed": (seed, 0)}
        for name, (value, minimum) in overrides.items():
            _check_int_parameter(name, value, minimum)
        super().__init__(
            spec=ExplainerGenSpec(
                model=model,
                examples=examples,
                schema=schema,
                statistics=statistics,
                evaluation=evaluation,
                model_blessing=model_blessing,
                reference=reference,
                attributions=types.Channel(type=ModelAttributions),
                explain_config=config.to_json(),
                engine_version=engine_version(),
                **{name: value for name, (value, _) in overrides.items() if value is not None},
            )
        )


def _check_int_parameter(name: str, value: _IntParameter, minimum: int) -> None:
    if value is None:
        return
    if isinstance(value, data_types.RuntimeParameter):
        if value.ptype is not int:
            raise TypeError(f"{name} must be a RuntimeParameter with ptype=int. Received: ptype={value.ptype.__name__}")
        value = value.default
        if value is None:
            return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int or a RuntimeParameter. Received: {name}={value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be >= {minimum}. Received: {name}={value}")
