"""Aggregation of attributions by slice: against TFMA's evaluator, and as a part of a job.

    .venv/bin/python benchmarks/aggregation.py

Prints two Markdown tables and writes benchmarks/results/aggregation.json. All times are CPU time of this process.

1. The same rows, each in three of 10 slices, from decoded columns and attributions to statistics by slice, both as Beam
   pipelines in one in-process runner. TFMA unbatches, finds slice keys row by row and combines: weighted count, AUC,
   mean and mean absolute attributions. Ours gives these (the attributions agree to 1e-6) and what later comparisons
   need: "sums" is what grows with the rows. "Intervals and curves" is what finishing the slices costs beyond, 400 draws
   each, which TFMA has no counterpart of; it grows with the slices alone, here spread over our rows. What a pipeline
   costs whatever its rows is taken off both. TFMA's rows carry no raw features but the two that are sliced on.
2. A job of 100,000 rows, 100 features and 50 slices: integrated gradients (50 nodes, 100-64-64-1 network) measured on
   4,096 rows and scaled, aggregation really done, stage by stage. Reading is left out.
"""

from __future__ import annotations

import collections
import json
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apache_beam as beam
import keras
import numpy as np
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import text_format
from synthetic_blocks import BLOCK_ROWS, SLICING, Population, SyntheticRows, explained_block
from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as tfma_evaluator
from tensorflow_model_analysis.extractors import slice_key_extractor, unbatch_extractor
from tensorflow_model_analysis.proto import config_pb2

from tfx_explain.engine.aggregates.buckets import Rows
from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients
from tfx_explain.explainer_gen.aggregate import block_totals, finish_slice, scale_of, slice_parts, sum_shard
from tfx_explain.explainer_gen.columns import Columns
from tfx_explain.explainer_gen.examples import write_example
from tfx_explain.explainer_gen.explain import ExplainedBlock
from tfx_explain.explainer_gen.outcome import SliceOutcome
from tfx_explain.explainer_gen.slicing import SliceAssigner
from tfx_explain.names import SliceKey

RESULT = pathlib.Path(__file__).parent / "results" / "aggregation.json"
FEATURES = (10, 30, 100)
OUR_ROWS, TFMA_ROWS, FIXED_ROWS = 20_000, 2_000, 100
JOB_ROWS, JOB_FEATURES, NETWORK_ROWS, NODES = 100_000, 100, 4_096, 50
STAGES = ("assign", "totals", "parts", "sums", "finish")
TOLERANCE = 1e-6
_CONTENT = (0, 0)
_EVAL_CONFIG = """
    model_specs { label_key: "label" example_weight_key: "weight" }
    slicing_specs {} slicing_specs { feature_keys: "place" } slicing_specs { feature_keys: "hour" }
    metrics_specs {
      metrics { class_name: "WeightedExampleCount" }
      metrics { class_name: "AUC" }
      metrics { class_name: "MeanAttributions" }
      metrics { class_name: "MeanAbsoluteAttributions" }
    }"""

# The runner works in this process: what goes in and out needs no coder, whose time would be measured too.
_given: list[Any] = []
_kept: dict[Any, Any] = {}


def give(_: bytes) -> list[Any]:
    """What the pipeline reads."""
    return _given


def keep(item: tuple[Any, Any]) -> None:
    """Holds (key, result) of a pipeline."""
    _kept[item[0]] = item[1]


def run_pipeline(elements: Iterable[Any], build: Callable[[beam.PCollection], Any]) -> tuple[float, dict[Any, Any]]:
    """(CPU seconds, what `build` kept)."""
    _given[:] = elements
    _kept.clear()
    options = PipelineOptions(["--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"])
    start = time.process_time()
    with beam.Pipeline(options=options) as pipeline:
        build(pipeline | "Impulse" >> beam.Impulse() | "Give" >> beam.FlatMap(give))
    return time.process_time() - start, dict(_kept)


def by_tfma(population: Population, rows: int) -> tuple[float, dict[SliceKey, dict[Any, Any]]]:
    """(CPU seconds, metrics by slice) of TFMA's own chain after its extractors."""
    config = text_format.Parse(_EVAL_CONFIG, config_pb2.EvalConfig())
    batches = [chunk.extracts(population.names) for chunk in population.chunks(rows)]
    chain = (
        unbatch_extractor.UnbatchExtractor(),
        slice_key_extractor.SliceKeyExtractor(eval_config=config, materialize=False),
    )
    evaluator = tfma_evaluator.MetricsPlotsAndValidationsEvaluator(config)

    def build(extracts: beam.PCollection) -> None:
        for extractor in chain:
            extracts = extracts | extractor.stage_name >> extractor.ptransform
        outputs = extracts | evaluator.stage_name >> evaluator.ptransform
        for name in ("metrics", "attributions"):
            _ = (
                outputs[name]
                | f"Name[{name}]" >> beam.MapTuple(lambda k, v, n=name: ((n, k), v))
                | f"Keep[{name}]" >> (beam.Map(keep))
            )

    seconds, kept = run_pipeline(batches, build)
    found: dict[SliceKey, dict[Any, Any]] = collections.defaultdict(dict)
    for (_, key), values in kept.items():
        found[key] |= {metric.name: value for metric, value in values.items()}
    return seconds, found


def by_us(population: Population, rows: int) -> tuple[float, dict[SliceKey, SliceOutcome]]:
    """(CPU seconds, outcomes by slice) of the job's own stages, as `job.py` chains them."""
    batches = [inputs(i, chunk) for i, chunk in enumerate(population.chunks(rows))]
    plan, spec, profiles = population.plan(rows), population.spec(rows), population.profiles

    def build(blocks: beam.PCollection) -> None:
        explained = blocks | "Assign" >> beam.Map(_Assign(population, rows))
        totals = beam.pvalue.AsList(explained | "BlockTotals" >> beam.Map(block_totals, BLOCK_ROWS))
        scale = beam.pvalue.AsSingleton(
            blocks.pipeline | "Scale" >> beam.Create([None]) | "ScaleOf" >> beam.Map(scale_of, None, {}, 0, totals)
        )
        _ = (
            explained
            | "SliceParts" >> beam.FlatMap(slice_parts, plan, rows, scale)
            | "GroupShards" >> beam.GroupByKey()
            | "SumShard" >> beam.FlatMap(sum_shard, population.shards(rows), profiles, None, scale)
            | "GroupSlices" >> beam.GroupByKey()
            | "FinishSlice" >> beam.Map(finish_slice, spec, _CONTENT, plan, scale, profiles)
            | "Name" >> beam.Map(lambda outcome: (outcome.place, outcome))
            | "Keep" >> beam.Map(keep)
        )

    seconds, kept = run_pipeline(batches, build)
    return seconds, {plan.keys[place]: outcome for place, outcome in kept.items()}


Inputs = tuple[int, SyntheticRows, Rows, Columns]


def inputs(index: int, chunk: SyntheticRows) -> Inputs:
    """What a block is made of before its slices are known."""
    return index, chunk, chunk.statistics_rows(), chunk.columns


class _Assign:
    """Blocks with their slices; TFMA's slicer is made once a worker."""

    def __init__(self, population: Population, rows: int):
        self._population, self._plan = population, population.plan(rows)
        self._assigner: SliceAssigner | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_assigner": None}

    def __call__(self, parts: Inputs) -> ExplainedBlock:
        if self._assigner is None:
            self._assigner = SliceAssigner(SLICING, "")
        index, chunk, rows, columns = parts
        return explained_block(index, chunk, rows, columns, self._population.facts, self._assigner, self._plan)


def by_stage(population: Population, rows: int) -> dict[str, float]:
    """CPU seconds of each stage, called without Beam, block by block and key by key."""
    plan, spec, profiles = population.plan(rows), population.spec(rows), population.profiles
    spent = dict.fromkeys(STAGES, 0.0)

    def timed(stage: str, function: Callable[..., Any], *arguments: Any) -> Any:
        start = time.process_time()
        out = function(*arguments)
        spent[stage] += time.process_time() - start
        return out

    assign = _Assign(population, rows)
    blocks = [timed("assign", assign, inputs(index, chunk)) for index, chunk in enumerate(population.chunks(rows))]
    totals = [timed("totals", block_totals, block, BLOCK_ROWS) for block in blocks]
    scale = timed("totals", scale_of, None, None, {}, 0, totals)
    shards, slices = collections.defaultdict(list), collections.defaultdict(list)
    for block in blocks:
        for shard, part in timed("parts", lambda b: list(slice_parts(b, plan, rows, scale)), block):
            shards[shard].append(part)
    layout = population.shards(rows)
    for element in shards.items():
        for place, sums in timed("sums", lambda e: list(sum_shard(e, layout, profiles, None, scale)), element):
            slices[place].append(sums)
    for slice_sums in slices.items():
        timed("finish", finish_slice, slice_sums, spec, _CONTENT, plan, scale, profiles)
    return spent


def largest_difference(
    theirs: dict[SliceKey, dict[Any, Any]], ours: dict[SliceKey, SliceOutcome], names: Sequence[str]
) -> dict[str, float]:
    """Largest differences over all slices; of AUC they are those of a histogram of 1,000 logits."""
    if set(theirs) != set(ours):
        raise ValueError(f"both must find the same slices. Received: {sorted(set(theirs) ^ set(ours))} in one alone")
    out = collections.defaultdict(float)
    for key, outcome in ours.items():
        metrics = theirs[key]
        pairs: list[tuple[str, float, float]] = [
            ("weighted_count", metrics["weighted_example_count"], outcome.weight),
            ("auc", metrics["auc"], outcome.metrics["auc"].value),
        ]
        for statistic, metric in (("mean", "mean_attributions"), ("mean_absolute", "mean_absolute_attributions")):
            values = outcome.statistics.value[:, outcome.statistics.names.index(statistic)]
            pairs += [(statistic, metrics[metric][name], value) for name, value in zip(names, values, strict=True)]
        for name, a, b in pairs:
            out[name] = max(out[name], abs(float(a) - float(b)))
    return dict(out)


def compare(features: int) -> dict[str, Any]:
    """One line of the first table: microseconds a row."""
    population = Population(features, places=5, hours=4)
    tfma_fixed, _ = by_tfma(population, FIXED_ROWS)
    tfma_seconds, theirs = by_tfma(population, TFMA_ROWS)
    _, ours = by_us(population, TFMA_ROWS)
    differences = largest_difference(theirs, ours, population.names)
    if max(differences[n] for n in ("mean", "mean_absolute", "weighted_count")) > TOLERANCE:
        raise ValueError(f"both must give the same numbers to {TOLERANCE}. Received: differences of {differences}")
    fixed, _ = by_us(population, FIXED_ROWS)
    seconds, _ = by_us(population, OUR_ROWS)
    stages = {stage: 1e6 * spent / OUR_ROWS for stage, spent in by_stage(population, OUR_ROWS).items()}
    tfma_row = 1e6 * (tfma_seconds - tfma_fixed) / (TFMA_ROWS - FIXED_ROWS)
    rows = 1e6 * (seconds - fixed) / (OUR_ROWS - FIXED_ROWS)
    return {
        "features": features,
        "tfma_us": tfma_row,
        "sums_us": rows,
        "finish_us": stages["finish"],
        "ratio_of_sums": tfma_row / rows,
        "ratio": tfma_row / (rows + stages["finish"]),
        "stages_us": stages,
        "pipeline_s": {"tfma": tfma_fixed, "ours": fixed},
        "largest_difference": differences,
    }


def export_network(folder: str) -> None:
    """A 100-64-64-1 ReLU network that reads serialised tf.Examples."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(64, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((JOB_FEATURES,)), *layers, keras.layers.Dense(1, activation="sigmoid")])
    names = Population(JOB_FEATURES, 1, 1).names
    spec = {name: tf.io.FixedLenFeature([1], tf.float32) for name in names}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, spec)
        return {"outputs": model(tf.concat([parsed[name] for name in names], axis=1))}

    tf.saved_model.save(model, folder, signatures={"serving_default": serve})


def network_seconds(rows: int) -> float:
    """CPU seconds of encoding, predicting and integrating `rows` rows: the median block of NETWORK_ROWS, scaled."""
    values = np.random.default_rng(0).normal(size=(NETWORK_ROWS, JOB_FEATURES)).astype(np.float32)
    names = Population(JOB_FEATURES, 1, 1).names
    examples = [write_example({n: ("f", (float(v),)) for n, v in zip(names, row, strict=True)}) for row in values]
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        export_network(folder)
        model = FeatureModel.load(folder, sample=examples[:16])
        baseline = model.encode([write_example(dict.fromkeys(names, ("f", (0.0,))))])
        for first in (0, *range(0, NETWORK_ROWS, BLOCK_ROWS)):  # the first block once more: it traces the graph
            start = time.process_time()
            encoded = model.encode(examples[first : first + BLOCK_ROWS])
            model.predict(encoded)
            integrated_gradients(model, encoded, baseline, 0, num_steps=NODES)
            spent.append(time.process_time() - start)
    return statistics.median(spent[1:]) / BLOCK_ROWS * rows


def measure_job() -> dict[str, Any]:
    """The second table: CPU seconds."""
    gradients = network_seconds(JOB_ROWS)
    stages = by_stage(Population(JOB_FEATURES, places=25, hours=24), JOB_ROWS)
    aggregation = sum(stages.values())
    return {
        "network_s": gradients,
        "stages_s": stages,
        "aggregation_s": aggregation,
        "share": aggregation / (aggregation + gradients),
    }


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines)) + "\n"


def main() -> None:
    """Runs both, prints the tables, writes the results."""
    lines = [compare(features) for features in FEATURES]
    header = ("features", "TFMA", "sums", "ratio", "intervals and curves", "ratio with them", "AUC differs by")
    sys.stdout.write(
        f"CPU-us a row, 3 of 10 slices a row; TFMA on {TFMA_ROWS:,} rows, ours on {OUR_ROWS:,}\n\n"
        + table(
            header,
            [
                (
                    f"{line['features']}",
                    f"{line['tfma_us']:,.0f}",
                    f"{line['sums_us']:.0f}",
                    f"{line['ratio_of_sums']:.0f}",
                    f"{line['finish_us']:.0f}",
                    f"{line['ratio']:.0f}",
                    f"{line['largest_difference']['auc']:.0e}",
                )
                for line in lines
            ],
        )
    )
    sys.stdout.flush()
    job = measure_job()
    total = job["network_s"] + job["aggregation_s"]
    sys.stdout.write(
        f"\nA job of {JOB_ROWS:,} rows, {JOB_FEATURES} features, 50 slices\n\n"
        + table(
            ("stage", "CPU-s", "part"),
            [
                (name, f"{seconds:.2f}", f"{seconds / total:.1%}")
                for name, seconds in (
                    (f"integrated gradients ({NODES} nodes)", job["network_s"]),
                    *job["stages_s"].items(),
                    ("aggregation in all", job["aggregation_s"]),
                )
            ],
        )
    )
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"against_tfma": lines, "job": job}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
