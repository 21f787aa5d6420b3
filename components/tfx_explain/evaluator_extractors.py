"""Attributions in a stock Evaluator: its extractors with one for integrated gradients among them."""

from __future__ import annotations

import logging

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.extractors import predictions_extractor
from tensorflow_model_analysis.metrics.attributions import has_attributions_metrics
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import model_util
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

from tfx_explain.config import ExplainConfig
from tfx_explain.explainer_gen.attributions_extractor import AttributionsExtractor


def custom_extractors(
    eval_shared_model: tfma.types.MaybeMultipleEvalSharedModels,
    eval_config: config_pb2.EvalConfig,
    tensor_adapter_config: TensorAdapterConfig | None = None,
    config: ExplainConfig | None = None,
) -> list[tfma.extractors.Extractor]:
    """TFMA's default extractors, with attributions behind the predictions.

    TFX's Evaluator calls this function when told to, and the EvalConfig asks for TFMA's attribution metrics
    (`TotalAttributions`, `TotalAbsoluteAttributions`, `MeanAttributions`, `MeanAbsoluteAttributions`):

    ```python
    evaluator = Evaluator(
        model=trainer.outputs["model"],
        examples=example_gen.outputs["examples"],
        eval_config=config_pb2.EvalConfig(
            model_specs=[config_pb2.ModelSpec(label_key="tips")],
            slicing_specs=[config_pb2.SlicingSpec(), config_pb2.SlicingSpec(feature_keys=["trip_start_hour"])],
            metrics_specs=[config_pb2.MetricsSpec(metrics=[config_pb2.MetricConfig(class_name="MeanAbsoluteAttributions")])],
        ),
        module_path="tfx_explain.evaluator_extractors",
    )
    ```

    Without such a metric nothing is attributed: the extractors are TFMA's own.

    **Input baseline.** Evaluator hands over neither statistics nor a reference. The baseline is the median of each
    number and the mode of each text over the evaluated rows: of the `max_examples` distinct rows with the smallest
    hash of their content, so that bundles and workers do not matter. It is another baseline than that of an
    ExplainerGen that has statistics or a reference, and then the two do not give the same attributions. To give one
    (features that it leaves out keep the sample's value), or any other setting, write a module of your own, and name it
    as Evaluator's `module_file`; its content is part of Evaluator's cache key, as an environment variable or the path
    of a configuration would not be:

    ```python
    from tfx_explain import ExplainConfig, evaluator_extractors

    def custom_extractors(**arguments):
        config = ExplainConfig(input_baseline={"fare": 9.5, "payment_type": "Cash"})
        return evaluator_extractors.custom_extractors(**arguments, config=config)
    ```

    **What it is not.** TFMA gives attributions no intervals and no thresholds, and takes 10 to 25 times as long to
    sum them as ExplainerGen does; all evaluated rows are explained, none are sampled. With a baseline model both models
    are explained. Of several classes those attributions are taken that lead to `config.target`, else to each row's
    predicted class; metrics with a `binarize` or a class id have nothing to read. Rows that the model cannot run make
    Evaluator fail, as they do without attributions.

    Args:
      eval_shared_model: TFMA's model, or models.
      eval_config: Evaluator's configuration.
      tensor_adapter_config: how Evaluator reads examples, when it has a schema.
      config: what to explain; see `AttributionsExtractor` for the settings that are heeded.
    """
    extractors = tfma.default_extractors(
        eval_shared_model=eval_shared_model, eval_config=eval_config, tensor_adapter_config=tensor_adapter_config
    )
    if not has_attributions_metrics(eval_config.metrics_specs):
        logging.getLogger(__name__).warning(
            "the EvalConfig names no attribution metric (such as MeanAbsoluteAttributions): nothing is attributed"
        )
        return extractors
    models = model_util.verify_and_update_eval_shared_models(eval_shared_model) or []
    stages = [extractor.stage_name for extractor in extractors]
    if not models or predictions_extractor.PREDICTIONS_EXTRACTOR_STAGE_NAME not in stages:
        raise ValueError(
            "attributions need a SavedModel that TFMA runs on examples: ready predictions, TFLite and TFJS models "
            f"cannot be explained. Received: extractors {stages}"
        )
    place = stages.index(predictions_extractor.PREDICTIONS_EXTRACTOR_STAGE_NAME) + 1
    paths = {model.model_name: model.model_path for model in models}
    return [*extractors[:place], AttributionsExtractor(paths, config or ExplainConfig()), *extractors[place:]]
