"""Whether Evaluator measured what is explained: the same signature, and the same of its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfx_explain.config import ExplainConfig
from tfx_explain.explainer_gen.eval_config import EvaluationSettings

if TYPE_CHECKING:
    from tensorflow_model_analysis.proto import config_pb2

_DEFAULTS = ("predict", "serving_default")
"""What TFMA predicts with where no signature is named: the first of them that the model has."""


def evaluator_differs(eval_config: config_pb2.EvalConfig, config: ExplainConfig, output: str) -> Iterator[str]:
    """A sentence for each way in which Evaluator's metrics are of something else than the attributions.

    Two signatures of one model may well give the same, as one of raw and one of transformed features do: so metrics are
    joined all the same, and what they are of is said.

    Args:
      eval_config: Evaluator's.
      config: what is explained.
      output: name of the output that is explained.
    """
    theirs = EvaluationSettings.of(eval_config, output_name=config.output)
    measured = theirs.signature_name
    if measured != config.signature and not (measured is None and config.signature in _DEFAULTS):
        named = f"{measured!r}" if measured else "none, so TFMA's default, 'predict' or 'serving_default'"
        yield (
            f"Evaluator's metrics are of another signature than the attributions: model_specs.signature_name is "
            f"{named}; explained is {config.signature!r}. Name the same in both "
            "configurations, unless both give one prediction."
        )
    if theirs.prediction_key and output and theirs.prediction_key != output:
        yield (
            f"Evaluator's metrics are of another output than the attributions: its prediction key is "
            f"{theirs.prediction_key!r}; explained is {output!r}. Set `output` to it, if that is to be explained."
        )
