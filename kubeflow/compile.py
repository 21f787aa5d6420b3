"""Compiles a gated pipeline to a Kubeflow Pipelines v2 spec.

The nodes of a TFX template, with ExplainerGen and AttributionValidator behind Trainer and Evaluator. No resolver stands
in it: Kubeflow knows none of ours, and its LatestBlessedModelStrategy takes any blessing. So Evaluator has no baseline,
and the gate no reference: what it does then is the policy's `without_reference`.
"""

import argparse
import json
import pathlib
from collections.abc import Sequence

from tensorflow_model_analysis.proto import config_pb2
from tfx import v1 as tfx
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

import tfx_explain

_TAXI = {"features": ["trip_miles", "trip_seconds", "fare", "company"], "seed": 0, "resample": False}
"""What the taxi example's run_fn wants."""


def create_pipeline(arguments: argparse.Namespace) -> tfx.dsl.Pipeline:
    """The pipeline; `arguments` are those of `main`."""
    example_gen = tfx.components.CsvExampleGen(input_base=arguments.data_root)
    statistics_gen = tfx.components.StatisticsGen(examples=example_gen.outputs["examples"])
    schema_gen = tfx.components.SchemaGen(statistics=statistics_gen.outputs["statistics"], infer_feature_shape=True)
    transform = tfx.components.Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn=f"{arguments.module}.preprocessing_fn",
    )
    trainer = tfx.components.Trainer(
        run_fn=f"{arguments.module}.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema_gen.outputs["schema"],
        train_args=tfx.proto.TrainArgs(),
        eval_args=tfx.proto.EvalArgs(),
        custom_config=arguments.trainer_config,
    )
    evaluator = tfx.components.Evaluator(
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        schema=schema_gen.outputs["schema"],
        eval_config=_eval_config(arguments.label_key),
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=arguments.serving_dir)
        ),
    )
    components = tfx_explain.add_attribution_gate(
        [example_gen, statistics_gen, schema_gen, transform, trainer, evaluator, pusher],
        statistics=statistics_gen.outputs["statistics"],
        explain_config=arguments.explain_config,
        validation_config=arguments.validation_config,
        # Without a default: the spec would drop it. It must be given at submit.
        max_examples=tfx.dsl.experimental.RuntimeParameter(name="max_examples", ptype=int),
        for_kubeflow=True,
    )
    return tfx.dsl.Pipeline(
        pipeline_name=arguments.pipeline_name, pipeline_root=arguments.pipeline_root, components=components
    )


def _eval_config(label_key: str) -> config_pb2.EvalConfig:
    # Low, because the task is hard: honest models reach an AUC of about 0.60.
    threshold = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": 0.55})
    )
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name="serving_default",
                label_key=label_key,
                preprocessing_function_names=["transform_features"],
            )
        ],
        slicing_specs=[config_pb2.SlicingSpec()],
        metrics_specs=[
            config_pb2.MetricsSpec(metrics=[config_pb2.MetricConfig(class_name="AUC", threshold=threshold)])
        ],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--output", type=pathlib.Path, required=True, help="the spec's file; it must end in .yaml")
    add("--image", default="tfx-explain:latest", help="container image that holds tfx, tfx_explain and your modules")
    add("--pipeline-name", default="taxi-gated")
    add("--pipeline-root", default="gs://your-bucket/pipelines", help="where artifacts go")
    add("--data-root", default="gs://your-bucket/data", help="folder of CSV files")
    add("--serving-dir", default="gs://your-bucket/serving", help="where Pusher pushes")
    add("--module", default="taxi_module", help="module of run_fn and preprocessing_fn, importable in the image")
    add("--trainer-config", type=json.loads, default=_TAXI, help="what reaches run_fn as custom_config, as JSON")
    add("--label-key", default="big_tip", help="the label, after Transform")
    add("--explain-config", help="ExplainConfig as YAML or JSON; read now")
    add("--validation-config", help="ValidationConfig as YAML or JSON; read now")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Compiles the pipeline to `--output`."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    output = arguments.output
    if output.suffix != ".yaml":
        parser.error(f"--output must end in .yaml, or the spec is written as JSON. Received: {output}")
    output.parent.mkdir(parents=True, exist_ok=True)
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
        default_image=arguments.image,
        use_pipeline_spec_2_1=True,  # the schema that today's kfp and its backends load
    )
    kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        config=config, output_dir=str(output.parent), output_filename=output.name
    ).run(create_pipeline(arguments))


if __name__ == "__main__":
    main()
