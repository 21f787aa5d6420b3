"""AttributionValidator component definition."""

import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from tfx_explain.artifacts.properties import engine_version
from tfx_explain.artifacts.types import AttributionAnomalies, AttributionReference, ModelAttributions
from tfx_explain.attribution_validator import executor, wiring
from tfx_explain.config import ValidationConfig


class AttributionValidatorSpec(ComponentSpec):
    """AttributionValidator component spec."""

    PARAMETERS = {
        "validation_config": ExecutionParameter(type=str),
        "engine_version": ExecutionParameter(type=str),
        "ended": ExecutionParameter(type=str),
    }
    INPUTS = {
        "attributions": ChannelParameter(type=ModelAttributions),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "reference": ChannelParameter(type=AttributionReference, optional=True),
    }
    OUTPUTS = {
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "anomalies": ChannelParameter(type=AttributionAnomalies),
        "new_reference": ChannelParameter(type=AttributionReference),
    }


class AttributionValidator(base_component.BaseComponent):
    """A TFX component that blesses a model only if Evaluator did and its attributions pass every required check.

    Its blessing takes the place of Evaluator's, for Pusher as for every other consumer: `add_attribution_gate` puts
    it there, `check_gate` finds what a pipeline wired by hand has left over.

    !!! Example
        ``` python
        attribution_validator = AttributionValidator(
            attributions=explainer_gen.outputs["attributions"],
            model=trainer.outputs["model"],
            model_blessing=evaluator.outputs["blessing"],
            reference=reference.outputs["reference"],
            validation_config="configs/validation.yaml",
        )
        pusher = Pusher(
            model=trainer.outputs["model"],
            model_blessing=attribution_validator.outputs["blessing"],
            push_destination=...,
        )
        ```

    Component `outputs` contains:

     - `blessing`: Channel of type `standard_artifacts.ModelBlessing`: Evaluator's verdict AND the gate's.
     - `anomalies`: Channel of type `tfx_explain.AttributionAnomalies`.
     - `new_reference`: Channel of type `tfx_explain.AttributionReference`; it holds no artifact in a run that does not
                        change the reference.
    """

    SPEC_CLASS = AttributionValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        attributions: types.BaseChannel,
        model: types.BaseChannel,
        model_blessing: types.BaseChannel,
        reference: types.BaseChannel | None = None,
        validation_config: ValidationConfig | dict[str, Any] | str | os.PathLike[str] | None = None,
    ):
        """Construct an AttributionValidator component.

        Args:
          attributions: A channel of type `ModelAttributions`, ExplainerGen's. _required_
          model: A channel of type `Model`: the one that was explained. _required_
          model_blessing: A channel of type `ModelBlessing`, Evaluator's; refused there is refused here. _required_
          reference: A channel of type `AttributionReference`, usually a resolver's with `LatestReference`. Without it
            the policy's `without_reference` decides.
          validation_config: A `ValidationConfig`, a mapping, or the path of a YAML or JSON file. A file is read now,
            so that TFX's cache sees its content. None takes every default.

        Raises:
          ConfigError: The config cannot be read or used.
          TypeError: A channel has another type.
        """
        config = ValidationConfig() if validation_config is None else ValidationConfig.load(validation_config)
        super().__init__(
            spec=AttributionValidatorSpec(
                attributions=attributions,
                model=model,
                model_blessing=model_blessing,
                reference=reference,
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
                anomalies=types.Channel(type=AttributionAnomalies),
                new_reference=types.Channel(type=AttributionReference),
                validation_config=config.to_json(),
                engine_version=engine_version(),
                # TFX's cache knows no dates: what the policy allowed until yesterday is asked again today.
                ended=", ".join(date.isoformat() for date in config.ended(executor.today())),
            )
        )

    @property
    def inputs(self) -> dict[str, types.BaseChannel]:
        """Input channels.

        Raises:
          ValueError: The reference is asked of another node than this one: it would be found empty for ever. Pipeline
            reads the inputs when it is built, which is when the node's id is final.
        """
        if "reference" in self.spec.inputs:
            wiring.check_reference_producer(self.id, self.spec.inputs["reference"])
        return self.spec.inputs
