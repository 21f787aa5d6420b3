"""What ExplainerGen takes from Evaluator's configuration, and what it makes of each of its fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from tfx_explain.explainer_gen.slicing import Slicing

if TYPE_CHECKING:
    from tensorflow_model_analysis.proto import config_pb2

Status = Literal["supported", "not ours", "refused"]

_THRESHOLD = "Decides Evaluator's blessing; the gate has checks of its own"
_METRIC = "Which metrics Evaluator computes; attributions do not depend on it"
_PADDING = "Labels and predictions are one row an example here, so nothing is padded"

FIELDS: Mapping[str, tuple[Status, str]] = {
    "EvalConfig.model_specs": (
        "supported",
        "The candidate is the one that is no baseline; of several the first, which is reported",
    ),
    "EvalConfig.slicing_specs": ("supported", "The slices; the overall slice is always added"),
    "EvalConfig.cross_slicing_specs": (
        "supported",
        "The slices of both sides are measured; differences between them are Evaluator's",
    ),
    "EvalConfig.metrics_specs": ("not ours", _METRIC),
    "EvalConfig.options": ("supported", "See Options"),
    "ModelSpec.name": ("supported", "Chooses among several candidates, and names the model in Evaluator's result"),
    "ModelSpec.model_type": (
        "supported",
        "`tf_generic`, `tf_keras` or empty: all are loaded as SavedModels; other types are refused",
    ),
    "ModelSpec.signature_name": (
        "supported",
        "What Evaluator predicts with; empty is its default, `predict` or `serving_default`. Where another signature "
        "is explained, summary and report name both",
    ),
    "ModelSpec.preprocessing_function_names": (
        "supported",
        "Slices, labels and weights may be outputs of these signatures; TFMA's own functions, `name@feature`, are "
        "refused",
    ),
    "ModelSpec.label_key": ("supported", "A raw feature, or an output of a preprocessing function"),
    "ModelSpec.label_keys": ("supported", "The explained output's; several need the name of the output"),
    "ModelSpec.prediction_key": (
        "supported",
        "The prediction's name in the outputs of the model; where another output is explained, summary and report name "
        "both. Predictions stored in the examples are not read",
    ),
    "ModelSpec.prediction_keys": ("supported", "The explained output's; several need the name of the output"),
    "ModelSpec.example_weight_key": ("supported", "A raw feature, or an output of a preprocessing function"),
    "ModelSpec.example_weight_keys": ("supported", "The explained output's; several need the name of the output"),
    "ModelSpec.is_baseline": (
        "supported",
        "The baseline model is not explained. Slices are made of the candidate's transformed features alone, where "
        "TFMA joins the values of both models",
    ),
    "ModelSpec.padding_options": ("refused", _PADDING),
    "ModelSpec.inference_batch_size": ("not ours", "ExplainerGen has its own `batch_size`"),
    "PaddingOptions.label_int_padding": ("refused", _PADDING),
    "PaddingOptions.label_float_padding": ("refused", _PADDING),
    "PaddingOptions.prediction_int_padding": ("refused", _PADDING),
    "PaddingOptions.prediction_float_padding": ("refused", _PADDING),
    "SlicingSpec.feature_keys": ("supported", "Every value of the feature, and every combination of several"),
    "SlicingSpec.feature_values": ("supported", "The rows with these values; numbers may be written as strings"),
    "SlicingSpec.slice_keys_sql": (
        "supported",
        "Run by TFMA's extractor. In cross_slicing_specs, where TFMA does not read it, it is refused; "
        "where tfx-bsl is built without SQL (TFX 1.21), too",
    ),
    "CrossSlicingSpec.baseline_spec": ("supported", "Measured as a slice"),
    "CrossSlicingSpec.slicing_specs": ("supported", "Measured as slices"),
    "Options.include_default_metrics": ("not ours", _METRIC),
    "Options.compute_confidence_intervals": ("not ours", "Intervals of attributions are always computed"),
    "Options.confidence_intervals": ("not ours", "Intervals of attributions are drawn from hash buckets of rows"),
    "Options.min_slice_size": ("supported", "Smaller slices have no statistics of their own"),
    "Options.disabled_outputs": (
        "not ours",
        "What Evaluator writes; without its `eval_config` there is no configuration to read",
    ),
    "ConfidenceIntervalOptions.method": ("not ours", "Intervals of attributions are drawn from hash buckets of rows"),
    "RepeatedInt32Value.values": ("not ours", _METRIC),
    "RepeatedStringValue.values": ("not ours", "What Evaluator writes"),
    "MetricsSpec.metrics": ("not ours", _METRIC),
    "MetricsSpec.model_names": ("not ours", _METRIC),
    "MetricsSpec.output_names": ("not ours", _METRIC),
    "MetricsSpec.output_weights": ("not ours", _METRIC),
    "MetricsSpec.binarize": ("not ours", _METRIC),
    "MetricsSpec.aggregate": ("not ours", _METRIC),
    "MetricsSpec.example_weights": (
        "not ours",
        "Which metrics Evaluator weights; attributions are weighted where the model spec names a weight",
    ),
    "MetricsSpec.query_key": ("not ours", "Groups rows for ranking metrics; attributions are per row"),
    "MetricsSpec.thresholds": ("not ours", _THRESHOLD),
    "MetricsSpec.per_slice_thresholds": ("not ours", _THRESHOLD),
    "MetricsSpec.cross_slice_thresholds": ("not ours", _THRESHOLD),
    "MetricConfig.class_name": ("not ours", _METRIC),
    "MetricConfig.module": ("not ours", _METRIC),
    "MetricConfig.config": ("not ours", _METRIC),
    "MetricConfig.threshold": ("not ours", _THRESHOLD),
    "MetricConfig.per_slice_thresholds": ("not ours", _THRESHOLD),
    "MetricConfig.cross_slice_thresholds": ("not ours", _THRESHOLD),
    "MetricThreshold.value_threshold": ("not ours", _THRESHOLD),
    "MetricThreshold.change_threshold": ("not ours", _THRESHOLD),
    "GenericValueThreshold.lower_bound": ("not ours", _THRESHOLD),
    "GenericValueThreshold.upper_bound": ("not ours", _THRESHOLD),
    "GenericChangeThreshold.absolute": ("not ours", _THRESHOLD),
    "GenericChangeThreshold.relative": ("not ours", _THRESHOLD),
    "GenericChangeThreshold.direction": ("not ours", _THRESHOLD),
    "PerSliceMetricThresholds.thresholds": ("not ours", _THRESHOLD),
    "PerSliceMetricThreshold.slicing_specs": ("not ours", _THRESHOLD),
    "PerSliceMetricThreshold.threshold": ("not ours", _THRESHOLD),
    "CrossSliceMetricThresholds.thresholds": ("not ours", _THRESHOLD),
    "CrossSliceMetricThreshold.cross_slicing_specs": ("not ours", _THRESHOLD),
    "CrossSliceMetricThreshold.threshold": ("not ours", _THRESHOLD),
    "BinarizationOptions.class_ids": ("not ours", _METRIC),
    "BinarizationOptions.k_list": ("not ours", _METRIC),
    "BinarizationOptions.top_k_list": ("not ours", _METRIC),
    "AggregationOptions.micro_average": ("not ours", _METRIC),
    "AggregationOptions.macro_average": ("not ours", _METRIC),
    "AggregationOptions.weighted_macro_average": ("not ours", _METRIC),
    "AggregationOptions.class_weights": ("not ours", _METRIC),
    "AggregationOptions.top_k_list": ("not ours", _METRIC),
    "ExampleWeightOptions.weighted": ("not ours", _METRIC),
    "ExampleWeightOptions.unweighted": ("not ours", _METRIC),
}
"""`Message.field` of TFMA's EvalConfig and all that it holds -> (status, what is made of it)."""

_MODEL_TYPES = ("", "tf_generic", "tf_keras")


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """What Evaluator's configuration says that bears on explanations.

    Attributes:
      slicing: which slices there are.
      label_key, example_weight_key: a raw feature, or an output of `preprocessing_functions`; None where none is named.
      prediction_key: the prediction's name in the outputs of the model, or None.
      preprocessing_functions: signatures of the model; empty where none is named.
      model_name: of the candidate in Evaluator's result; `""` where it is the only model.
      signature_name: what Evaluator predicts with; None is its default.
      output_name: the output that `label_keys` and their like are taken of; None where the model has one output.
      min_slice_size: rows below which Evaluator leaves a slice out; 1 where it does not say.
      unsupported: a sentence for each setting that is refused, by its name.
    """

    slicing: Slicing = dataclasses.field(default_factory=Slicing)
    label_key: str | None = None
    example_weight_key: str | None = None
    prediction_key: str | None = None
    preprocessing_functions: tuple[str, ...] = ()
    model_name: str = ""
    signature_name: str | None = None
    output_name: str | None = None
    min_slice_size: int = 1
    unsupported: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, eval_config: config_pb2.EvalConfig, model_name: str | None = None, output_name: str | None = None
    ) -> EvaluationSettings:
        """Reads a configuration.

        Args:
          eval_config: of Evaluator, with TFMA's defaults.
          model_name: which of several candidates is explained; None takes the only one.
          output_name: which output of a model with several is explained; None takes the only one that is named.

        Raises:
          ValueError: no candidate has that name, or a slicing spec is invalid.
        """
        unsupported: list[str] = []
        spec = _candidate(eval_config, model_name, unsupported)
        slicing = Slicing.of_eval_config(eval_config)
        unsupported += _refused_slices(eval_config)
        min_slice_size = max(1, int(eval_config.options.min_slice_size.value))
        if spec is None:
            return cls(slicing=slicing, min_slice_size=min_slice_size, unsupported=tuple(unsupported))
        unsupported += _refused_of_model(spec)
        maps = {name: dict(getattr(spec, name)) for name in ("label_keys", "prediction_keys", "example_weight_keys")}
        if output_name is None:
            named = sorted({output for keys in maps.values() for output in keys})
            if len(named) == 1:
                (output_name,) = named
            elif named:
                unsupported.append(
                    f"{', '.join(f'model_specs.{k}' for k, v in maps.items() if v)} must name one output, or `output` "
                    f"of the configuration must say which is explained. Received: {named}"
                )
        functions = tuple(spec.preprocessing_function_names)

        def key(name: str) -> str | None:
            return getattr(spec, name) or maps[f"{name}s"].get(output_name or "") or None

        return cls(
            slicing=dataclasses.replace(slicing, preprocessing_functions=functions),
            label_key=key("label_key"),
            example_weight_key=key("example_weight_key"),
            prediction_key=key("prediction_key"),
            preprocessing_functions=functions,
            model_name=spec.name,
            signature_name=spec.signature_name or None,
            output_name=output_name,
            min_slice_size=min_slice_size,
            unsupported=tuple(unsupported),
        )


def read_eval_config(evaluation_uri: str) -> config_pb2.EvalConfig | None:
    """The configuration that Evaluator stored with its result, with TFMA's defaults.

    Names of models stay those of the result: a single model is `""`; beside a baseline the candidate has a name.

    Args:
      evaluation_uri: of a ModelEvaluation artifact.

    Returns:
      None where Evaluator stored none, as with `eval_config` among its disabled outputs.
    """
    # Imported here: it loads TensorFlow, which the table of fields does not need.
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.writers import eval_config_writer

    config, *_ = eval_config_writer.load_eval_run(evaluation_uri)
    if config is None:
        return None
    # Change thresholds without a baseline would raise; Evaluator itself ignores them on a first run.
    return tfma.utils.update_eval_config_with_defaults(config, has_baseline=None, rubber_stamp=True)


def table_markdown() -> str:
    """The page docs/eval_config.md."""
    lines = [
        "# Evaluator's configuration",
        "",
        "What ExplainerGen makes of each field of TFMA's `EvalConfig` when it is given Evaluator's `evaluation`. A "
        "*supported* field is used, one that is *not ours* has no effect on explanations, and a *refused* one is "
        "reported by its name.",
        "",
    ]
    for message in dict.fromkeys(name.split(".")[0] for name in FIELDS):
        lines += [f"## {message}", "", "| field | status | |", "|---|---|---|"]
        lines += [
            f"| `{name.split('.')[1]}` | {status} | {sentence} |"
            for name, (status, sentence) in FIELDS.items()
            if name.split(".")[0] == message
        ]
        lines.append("")
    return "\n".join(lines)


def _candidate(
    eval_config: config_pb2.EvalConfig, model_name: str | None, unsupported: list[str]
) -> config_pb2.ModelSpec | None:
    specs = [s for s in eval_config.model_specs if not s.is_baseline]
    names = [s.name for s in specs]
    if model_name is not None:
        if model_name not in names:
            raise ValueError(f"model_name must be one of the candidates {names}. Received: {model_name!r}")
        return specs[names.index(model_name)]
    if len(specs) > 1:
        unsupported.append(
            f"model_specs must have one model that is no baseline. Received: {names}; {names[0]!r} is taken"
        )
    if not specs and eval_config.model_specs:
        unsupported.append("model_specs must have a model that is no baseline. Received: a baseline alone")
    return specs[0] if specs else None


def _refused_of_model(spec: config_pb2.ModelSpec) -> Iterator[str]:
    if spec.model_type not in _MODEL_TYPES:
        yield f"model_specs.model_type must be tf_generic or tf_keras. Received: {spec.model_type!r}"
    for name in spec.preprocessing_function_names:
        if "@" in name:
            yield (
                "model_specs.preprocessing_function_names must be signatures of the model. "
                f"Received: {name!r}, a function of TFMA's"
            )
    if spec.HasField("padding_options"):
        for field, value in _set_fields(spec.padding_options) or [("", "{}")]:
            name = f"model_specs.padding_options.{field}".rstrip(".")
            yield f"{name} must not be set: labels and predictions are not padded. Received: {value}"
    for single in ("label_key", "prediction_key", "example_weight_key"):
        if getattr(spec, single) and len(getattr(spec, f"{single}s")):
            yield f"model_specs must set {single} or {single}s, not both; {single} is taken"


def _set_fields(message: Any) -> list[tuple[str, Any]]:
    return [(descriptor.name, value) for descriptor, value in message.ListFields()]


def _refused_slices(eval_config: config_pb2.EvalConfig) -> Iterator[str]:
    for cross in eval_config.cross_slicing_specs:
        for name, specs in (("baseline_spec", [cross.baseline_spec]), ("slicing_specs", cross.slicing_specs)):
            for spec in specs:
                if spec.slice_keys_sql:
                    yield (
                        f"cross_slicing_specs.{name}.slice_keys_sql must not be set, since TFMA does not read it; put "
                        f"it into slicing_specs. Received: {spec.slice_keys_sql!r}"
                    )
