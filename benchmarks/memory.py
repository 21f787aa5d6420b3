"""Memory of reading, sampling and aggregation at growing numbers of rows, and the size of what goes between stages.

    .venv/bin/python benchmarks/memory.py

Every number of rows runs in a process of its own; its peak is the kernel's (VmHWM), imports included. Rows are made
block by block, and a slice's shards one key at a time, as they are asked for: what is measured is our accumulators; of
the job, also what a runner holds between stages. It fails when a peak leaves that of the fewest rows by more than 10 %
and 50 MB, or an element is larger than 16 MB. Writes benchmarks/results/memory.json.

- read: small tf.Examples in batches of 1,000 are identified, sliced and sketched; max_examples stays at 10,000.
- aggregate: explained rows of 20 features, in 10 slices, are summed by shard and finished, all of them in the sample.
- job: the whole job of a one-layer network, from a TFRecord to the artifact's files, in one in-process runner, which
  holds what lies between stages; max_examples stays at 10,000.
- elements: pickled sizes with a feature of 1,000 values as slices and 100 features.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from synthetic_blocks import BLOCK_ROWS, PLACE, SLICING, Population, explained_block

from tfx_explain.config import Slices
from tfx_explain.explainer_gen.aggregate import (
    MemberRows,
    Scale,
    block_totals,
    finish_slice,
    scale_of,
    slice_parts,
    sum_shard,
)
from tfx_explain.explainer_gen.examples import write_example
from tfx_explain.explainer_gen.row_ids import order_keys
from tfx_explain.explainer_gen.sampling import ContentSum, RowBatch, SmallestKeys, identify
from tfx_explain.explainer_gen.shards import shards_of
from tfx_explain.explainer_gen.slicing import SliceAssigner, Slicing
from tfx_explain.explainer_gen.strata import SketchSlice, SlicePlan, SliceSketch, columns_of, plan_slices, sketch_slices
from tfx_explain.names import NUM_BUCKETS, SliceKey

RESULT = pathlib.Path(__file__).parent / "results" / "memory.json"
SIZES = {
    "read": (10_000, 1_000_000),
    "aggregate": (10_000, 100_000, 1_000_000),
    "job": (10_000, 100_000, 1_000_000),
}
READ_ROWS, MAX_EXAMPLES = 1_000, 10_000
VALUES, ROWS_OF_A_VALUE = 1_000, 600
FLAT_PART, FLAT_MB, LARGEST_MB = 0.1, 50.0, 16.0
_MB = 2**20


def example_batches(rows: int) -> Iterator[list[bytes]]:
    """Small tf.Examples: one pattern, in whose bytes a float and a value to slice on are replaced."""
    mark = np.float32(12345.678)
    pattern = write_example({"x": ("f", (float(mark),)), "y": ("i", (7,)), PLACE: ("b", (b"p####",))})
    at, place_at = pattern.index(mark.tobytes()), pattern.index(b"p####") + 1
    for start in range(0, rows, READ_ROWS):
        number = np.arange(start, min(start + READ_ROWS, rows))
        table = np.tile(np.frombuffer(pattern, np.uint8), (len(number), 1))  # [rows, bytes]
        table[:, at : at + 4] = (number + 1).astype(np.float32)[:, None].view(np.uint8)
        table[:, place_at : place_at + 4] = np.frombuffer(
            b"".join(b"%04d" % (n % 20) for n in number), np.uint8
        ).reshape(-1, 4)
        yield [row.tobytes() for row in table]


def read(rows: int) -> None:
    """Identifies and sketches; what a worker holds besides a batch are the combiners' accumulators."""
    slices, assigner = Slices(), SliceAssigner(Slicing((((PLACE,), ()),)), "")
    smallest, content = SmallestKeys(MAX_EXAMPLES + 1), ContentSum()
    sketch = SketchSlice(slices.min_rows_per_slice + 1)
    keys, total = smallest.create_accumulator(), content.create_accumulator()
    sketches: dict[SliceKey, SliceSketch] = {}
    for raw in example_batches(rows):
        batch = identify(raw, 0, 0, assigner=assigner)
        keys, total = smallest.add_input(keys, batch.keys), content.add_input(total, batch.keys)
        for key, part in sketch_slices(batch, slices.min_rows_per_slice + 1):
            sketches[key] = sketch.add_input(sketches.get(key, sketch.create_accumulator()), part)
    plan_of(keys, sketches)
    if (total[0], len(keys)) != (rows, min(rows, MAX_EXAMPLES + 1)):
        raise ValueError(f"all rows must be read, and be distinct. Received: {total[0]} rows, {len(keys)} keys")


def plan_of(keys: np.ndarray, sketches: dict[SliceKey, SliceSketch]) -> SlicePlan:
    """The plan that keeps all slices."""
    counts: dict[tuple[str, ...], tuple[int, int]] = {}
    for key, sketch in sketches.items():
        number, rows = counts.get(columns_of(key), (0, 0))
        counts[columns_of(key)] = number + 1, rows + sketch.rows
    return plan_slices(None, keys, sketches.items(), counts.items(), MAX_EXAMPLES, Slices(), ())


def aggregate(rows: int) -> None:
    """Sums every shard of every slice from rows that are made as they are asked for, and finishes the slices."""
    population = Population(20, places=5, hours=4)
    plan, spec, profiles = population.plan(rows), population.spec(rows), population.profiles
    scale = Scale(1.0, 1.0, (), None, population.names, (), "binary")

    layout = population.shards(rows)

    def parts(place: int, count: int, shard: int, shards: int) -> Iterator[MemberRows]:
        width, none = NUM_BUCKETS // shards, np.zeros(0, np.int64)
        for index, start in enumerate(range(0, count, BLOCK_ROWS)):
            made = population.rows(start, min(BLOCK_ROWS, count - start)).statistics_rows()
            made = dataclasses.replace(made, bucket=shard * width + made.bucket % width)
            own = np.arange(len(made.bucket))
            yield MemberRows(index, made, own, np.full(len(own), place), none, none)

    for place, count in enumerate((rows, *plan.rows.values())):
        first, shards = int(layout.first[place]), int(layout.count[place])
        sums = (
            sums
            for shard in range(shards)
            for _, sums in sum_shard(
                (first + shard, parts(place, count // shards, shard, shards)), layout, profiles, None, scale
            )
        )
        outcome = finish_slice((place, sums), spec, (0, 0), plan, scale, profiles)
        if outcome.rows != count // shards * shards:
            raise ValueError(f"all rows must be summed. Received: {outcome.rows} of {count}")


def job(rows: int) -> None:
    """The whole job; rows are written first, a few at a time."""
    import apache_beam as beam
    import tensorflow as tf
    from apache_beam.options.pipeline_options import PipelineOptions

    from tfx_explain.config import ExplainConfig
    from tfx_explain.explainer_gen.job import explain_examples
    from tfx_explain.explainer_gen.job_spec import JobSpec
    from tfx_explain.explainer_gen.results import JOB_FILE

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        network = tf.Module()
        network.weights = tf.Variable(tf.ones([2, 1]))
        spec = {"x": tf.io.FixedLenFeature([1], tf.float32), "y": tf.io.FixedLenFeature([1], tf.int64)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            parsed = tf.io.parse_example(examples, spec)
            both = tf.concat([parsed["x"] / 1e6, tf.cast(parsed["y"], tf.float32)], axis=1)
            return {"outputs": tf.sigmoid(both @ network.weights)}

        network.serve = serve
        tf.saved_model.save(network, str(folder / "model"), signatures={"serving_default": serve})
        with tf.io.TFRecordWriter(str(folder / "rows")) as writer:
            for batch in example_batches(rows):
                for raw in batch:
                    writer.write(raw)
        config = ExplainConfig.make({"max_examples": MAX_EXAMPLES, "permutation_importance": {"repeats": 0}})
        job_spec = JobSpec(str(folder / "model"), config, Slicing((((PLACE,), ()),)), fingerprint="model")
        options = PipelineOptions(["--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"])
        with beam.Pipeline(options=options) as pipeline:
            explain_examples(pipeline, [(0, str(folder / "rows"))], job_spec, name, READ_ROWS)
        result = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
    if result["error"] or result["rows_read"] != rows or result["rows_explained"] < min(rows, MAX_EXAMPLES):
        raise ValueError(f"the job must read all rows and explain a sample. Received: {result}")


def elements() -> dict[str, float]:
    """Largest pickled size in MB of what goes from stage to stage."""
    sizes: dict[str, float] = {}

    def weigh(name: str, values: Iterable[Any]) -> None:
        for value in values:
            sizes[name] = max(sizes.get(name, 0.0), len(pickle.dumps(value, pickle.HIGHEST_PROTOCOL)) / _MB)

    population = Population(100, places=VALUES, hours=1)
    rows, slices = VALUES * ROWS_OF_A_VALUE, Slices()
    assigner = SliceAssigner(SLICING, "")
    sketch, sketches = SketchSlice(slices.min_rows_per_slice + 1), dict[SliceKey, SliceSketch]()
    few = dataclasses.replace(population, features=1)
    keys = SmallestKeys(MAX_EXAMPLES + 1).create_accumulator()
    step = 10 * BLOCK_ROWS
    for start in range(0, rows, step):
        made = few.rows(start, min(step, rows - start))
        members = assigner.assign([], made.columns)
        batch = RowBatch(order_keys(made.ids, 0), [], np.zeros(0, np.int16), members)
        keys = SmallestKeys(MAX_EXAMPLES + 1).add_input(keys, batch.keys)
        for key, part in sketch_slices(batch, slices.min_rows_per_slice + 1):
            sketches[key] = sketch.add_input(sketches.get(key, sketch.create_accumulator()), part)
    weigh("smallest keys", [keys])
    weigh("sketch of a slice", sketches.items())
    weigh("largest slices", [list(sketches.items())])
    plan = plan_of(keys, sketches)
    weigh("plan of the slices", [plan])

    blocks = []
    for index, chunk in enumerate(population.chunks(4 * BLOCK_ROWS)):
        statistics_rows = chunk.statistics_rows()
        blocks.append(explained_block(index, chunk, statistics_rows, chunk.columns, population.facts, assigner, plan))
    weigh("explained block", blocks)
    totals = [block_totals(block, BLOCK_ROWS) for block in blocks]
    weigh("totals of a block", totals)
    scale = scale_of(None, None, {}, 0, totals)
    profiles, spec = population.profiles, population.spec(MAX_EXAMPLES)
    shards = shards_of(plan, MAX_EXAMPLES, population.features)
    by_shard: dict[int, list[MemberRows]] = {}
    for block in blocks:
        for shard, part in slice_parts(block, plan, MAX_EXAMPLES, scale):
            weigh("part of a shard", [(shard, part)])
            by_shard.setdefault(shard, []).append(part)
    for element in list(by_shard.items())[:20]:
        for place, sums in itertools.islice(sum_shard(element, shards, profiles, None, scale), 20):
            weigh("sums of a shard", [(place, sums)])
            weigh("outcome of a slice", [finish_slice((place, [sums]), spec, (0, 0), plan, scale, profiles)])
    return sizes


def memory_mb(name: str) -> float:
    """A figure of this process by its name in Linux's process status; getrusage would count its parent's too."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:")) / 1024


def run_case(case: str, rows: int) -> dict[str, float]:
    """One case in this process."""
    before = memory_mb("VmRSS")
    {"read": read, "aggregate": aggregate, "job": job}[case](rows)
    return {"rows": rows, "imports_mb": before, "peak_mb": memory_mb("VmHWM")}


def apart(case: str, rows: int) -> dict[str, float]:
    """One case in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, case, str(rows)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def main() -> None:
    """Runs all cases, prints the tables, writes the results and says what is too large."""
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps(run_case(sys.argv[1], int(sys.argv[2]))) + "\n")
        return
    peaks = {case: [apart(case, rows) for rows in sizes] for case, sizes in SIZES.items()}
    sys.stdout.write(
        "Peak resident memory, MB\n\n| stages | rows | after imports | peak |\n| --- | --- | --- | --- |\n"
    )
    for case, runs in peaks.items():
        for run in runs:
            sys.stdout.write(f"| {case} | {run['rows']:,} | {run['imports_mb']:.0f} | {run['peak_mb']:.0f} |\n")
    sizes = elements()
    sys.stdout.write(
        f"\nLargest pickled element, MB: {VALUES:,} slices, 100 features\n\n| element | MB |\n| --- | --- |\n"
    )
    for name, size in sizes.items():
        sys.stdout.write(f"| {name} | {size:.2f} |\n")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"peaks": peaks, "elements_mb": sizes}, indent=1, sort_keys=True) + "\n")
    faults = [f"{name} takes {size:.1f} MB" for name, size in sizes.items() if size > LARGEST_MB]
    for case, runs in peaks.items():
        least = runs[0]["peak_mb"]
        faults += [
            f"{case} of {run['rows']:,} rows peaks at {run['peak_mb']:.0f} MB, of {runs[0]['rows']:,} at {least:.0f} MB"
            for run in runs
            if run["peak_mb"] > max(least * (1 + FLAT_PART), least + FLAT_MB)
        ]
    if faults:
        raise SystemExit("memory must be bounded. Received: " + "; ".join(faults))


if __name__ == "__main__":
    main()
