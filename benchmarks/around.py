"""What a program must do around a network's gradients or predictions, by well-kept libraries alone: the least there is.

No job can be nearer to the bound of its network than bound / (bound + this).
"""

from __future__ import annotations

import pathlib
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from tfx_explain.explainer_gen.columns import decode

_BATCH, _LOOKED_AT = 1024, 256


def reading_and_writing(path: pathlib.Path, features: int) -> float:
    """CPU seconds to read a TFRecord, to parse each tf.Example once, and to write so many float32 a row as Parquet.

    Rows are read by tf.data, parsed by one `tf.io.parse_example` a batch, as an exported model does, and written by
    pyarrow: nothing is identified, sampled, transformed, binned or summed.
    """
    spec = _spec(path)
    batches = [tf.TensorSpec([None], tf.string)]
    parse = tf.function(lambda batch: tf.io.parse_example(batch, spec), batches).get_concrete_function()
    attributions = np.random.default_rng(0).standard_normal((_BATCH, features), np.float32)
    names = [f"attribution_{i}" for i in range(features)]
    out = path.with_suffix(".parquet")
    start = time.process_time()
    with pq.ParquetWriter(out, pa.schema([(name, pa.float32()) for name in names])) as writer:
        for batch in tf.data.TFRecordDataset(str(path)).batch(_BATCH):
            parse(batch)
            rows = attributions[: len(batch)]
            writer.write_table(pa.table([pa.array(column) for column in rows.T], names=names))
    spent = time.process_time() - start
    out.unlink()
    return spent


def scoring(rows: int) -> float:
    """CPU seconds that scikit-learn's AUC, log loss and accuracy take for so many predictions of a binary task."""
    random = np.random.default_rng(0)
    label, predicted = random.integers(0, 2, rows), random.random(rows, np.float32)
    start = time.process_time()
    roc_auc_score(label, predicted)
    log_loss(label, predicted)
    accuracy_score(label, predicted > 0.5)
    return time.process_time() - start


def _spec(path: pathlib.Path) -> dict[str, tf.io.FixedLenFeature | tf.io.VarLenFeature]:
    """How to parse a file: a feature that has as many values in each of the first rows is of fixed length."""
    first = [raw.numpy() for raw in tf.data.TFRecordDataset(str(path)).take(_LOOKED_AT)]
    spec = {}
    for (name, _), column in decode(first).columns.items():
        dtype, lengths = tf.as_dtype(column.values.dtype), set(column.lengths.tolist())
        spec[name] = tf.io.FixedLenFeature([*lengths], dtype) if len(lengths) == 1 else tf.io.VarLenFeature(dtype)
    return spec
