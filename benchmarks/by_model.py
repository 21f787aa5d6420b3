"""What benchmarks share that take the engine's models one by one: rows on disk, the command line, the table."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from benchmarks.engine.networks import MODELS


def write_distinct(path: pathlib.Path, examples: Sequence[bytes], **columns: Sequence[int]) -> None:
    """Rows in a TFRecord; a feature that no model reads numbers them, since equal rows are explained once.

    Args:
        path: of the file.
        examples: serialised tf.Examples.
        columns: further features of one integer a row, by name.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, serialised in enumerate(examples):
            example = tf.train.Example.FromString(serialised)
            example.features.feature["row_number"].int64_list.value.append(number)
            for name, values in columns.items():
                example.features.feature[name].int64_list.value.append(int(values[number]))
            writer.write(example.SerializeToString(deterministic=True))


def run_models(
    head: str,
    measure: Callable[[str, pathlib.Path], dict[str, Any]],
    shown: Callable[[dict[str, Any]], str],
    result: pathlib.Path,
) -> None:
    """The command line of a benchmark: measures the chosen models, prints a line for each, and writes what there is.

    Args:
        head: first lines of the table.
        measure: (model, folder for files) -> its figures.
        shown: figures -> their line.
        result: where figures are written, unless told otherwise.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--output", type=pathlib.Path, default=result)
    options = parser.parse_args()
    chosen = [name for name in options.models.split(",") if name]
    if unknown := sorted(set(chosen) - set(MODELS)):
        parser.error(f"--models must be among {','.join(MODELS)}. Received: {','.join(unknown)}")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    sys.stdout.write(head)
    options.output.parent.mkdir(exist_ok=True)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            lines.append(measure(name, pathlib.Path(folder)))
            sys.stdout.write(shown(lines[-1]))
            sys.stdout.flush()
            options.output.write_text(json.dumps({"models": lines}, indent=1, sort_keys=True) + "\n")
