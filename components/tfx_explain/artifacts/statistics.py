"""BucketStatistics as Parquet: bucket_statistics.parquet (features) and prediction_statistics.parquet (the model)."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfx_explain.engine.aggregates.buckets import (
    BIN_SUMS,
    HISTOGRAM_SIZE,
    SCALARS,
    SCORE_SIZE,
    SCORES,
    SUMS,
    BucketStatistics,
)
from tfx_explain.names import NUM_BUCKETS, OVERALL

BUCKETS_FILE = "bucket_statistics.parquet"
PREDICTIONS_FILE = "prediction_statistics.parquet"


class StatisticsFormatError(ValueError):
    """A statistics file that does not hold what its format says."""


def to_parquet(table: pa.Table) -> bytes:
    """A table's bytes: one row group per 64k rows, the same for the same table."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def write_statistics(statistics: BucketStatistics, target: str) -> dict[str, bytes]:
    """Both files' bytes of one slice (the overall one) and target."""
    count = len(statistics.features)
    starts = np.concatenate([[0], np.cumsum(statistics.bin_sizes)]).astype(int)
    rows = NUM_BUCKETS * count
    columns: dict[str, pa.Array] = {
        "slice": pa.array([OVERALL] * rows, pa.string()),
        "target": pa.array([target] * rows, pa.string()),
        "bucket": pa.array(np.repeat(np.arange(NUM_BUCKETS), count), pa.int32()),
        "feature": pa.array(list(statistics.features) * NUM_BUCKETS, pa.string()),
    }
    for name in SUMS:
        columns[name] = pa.array(statistics.sums[name].ravel())
    for name in BIN_SUMS:
        values = statistics.bin_sums[name]
        lists = [values[b, starts[f] : starts[f + 1]] for b in range(NUM_BUCKETS) for f in range(count)]
        columns[name] = pa.array(lists, pa.list_(pa.float64()))
    columns["histogram"] = pa.array(list(statistics.histogram.reshape(rows, HISTOGRAM_SIZE)), pa.list_(pa.float64()))
    model: dict[str, pa.Array] = {
        "slice": pa.array([OVERALL] * NUM_BUCKETS, pa.string()),
        "target": pa.array([target] * NUM_BUCKETS, pa.string()),
        "bucket": pa.array(np.arange(NUM_BUCKETS), pa.int32()),
    }
    for name in SCALARS:
        model[name] = pa.array(statistics.scalars[name])
    for name in SCORES:
        model[name] = pa.array(list(statistics.scores[name]), pa.list_(pa.float64()))
    return {BUCKETS_FILE: to_parquet(pa.table(columns)), PREDICTIONS_FILE: to_parquet(pa.table(model))}


def read_statistics(features_file: bytes, predictions_file: bytes) -> BucketStatistics:
    """The inverse of `write_statistics`.

    Raises:
      StatisticsFormatError: a column is missing, a bucket is missing or double, or a value is not finite.
    """
    try:
        table = pq.read_table(pa.BufferReader(features_file))
        model = pq.read_table(pa.BufferReader(predictions_file))
    except pa.ArrowException as error:
        raise StatisticsFormatError(f"the statistics are no Parquet file: {error}") from error
    missing = [c for c in ("bucket", "feature", *SUMS, *BIN_SUMS, "histogram") if c not in table.column_names]
    missing += [c for c in ("bucket", *SCALARS, *SCORES) if c not in model.column_names]
    if missing:
        raise StatisticsFormatError(f"the statistics lack the columns {missing}")
    if model["bucket"].to_pylist() != list(range(NUM_BUCKETS)):
        raise StatisticsFormatError(f"{PREDICTIONS_FILE} must hold the buckets 0 to {NUM_BUCKETS - 1} once, in order")
    names = table["feature"].to_pylist()
    features = tuple(names[: len(names) // NUM_BUCKETS])
    expected = [(b, f) for b in range(NUM_BUCKETS) for f in features]
    if list(zip(table["bucket"].to_pylist(), names, strict=True)) != expected or len(set(features)) != len(features):
        raise StatisticsFormatError(f"{BUCKETS_FILE} must hold every bucket and feature once, in order")
    count = len(features)
    sizes = tuple(int(n) for n in _lengths(table["bin_rows"])[:count])
    for name in BIN_SUMS:
        if (_lengths(table[name]) != np.tile(np.array(sizes, np.int64), NUM_BUCKETS)).any():
            raise StatisticsFormatError(f"column {name!r} must have the same bins in every bucket")
    if (_lengths(table["histogram"]) != HISTOGRAM_SIZE).any():
        raise StatisticsFormatError(f"histograms must have {HISTOGRAM_SIZE} bins")
    if any((_lengths(model[n]) != SCORE_SIZE).any() for n in SCORES):
        raise StatisticsFormatError(f"score histograms must have {SCORE_SIZE} bins")
    out = BucketStatistics(
        features,
        sizes,
        {n: _floats(model[n]) for n in SCALARS},
        {n: _floats(table[n]).reshape(NUM_BUCKETS, count) for n in SUMS},
        _lists(table["histogram"]).reshape(NUM_BUCKETS, count, HISTOGRAM_SIZE),
        {n: _lists(table[n]).reshape(NUM_BUCKETS, sum(sizes)) for n in BIN_SUMS},
        {n: _lists(model[n]).reshape(NUM_BUCKETS, SCORE_SIZE) for n in SCORES},
    )
    for group in (out.scalars, out.sums, out.bin_sums, out.scores, {"histogram": out.histogram}):
        for name, values in group.items():
            if not np.isfinite(values).all():
                raise StatisticsFormatError(f"column {name!r} must be finite. Received: NaN or infinite values")
    for name in ("weight", "weight_squared", "rows", "failed_weight", "unconverged_weight"):
        if (out.scalars[name] < 0).any():
            raise StatisticsFormatError(f"column {name!r} must not be negative")
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)[:-1]
    for name, total in (("bin_weight", "weight"), ("bin_rows", "rows")):
        if (out.bin_sums[name] < 0).any():
            raise StatisticsFormatError(f"column {name!r} must not be negative")
        if count and not np.allclose(
            np.add.reduceat(out.bin_sums[name], starts, axis=1), out.scalars[total][:, None], rtol=1e-9, atol=1e-9
        ):
            raise StatisticsFormatError(f"column {name!r} must add up to {total!r} in every bucket, for every feature")
    if (out.sums["sum_absolute"] < 0).any():
        raise StatisticsFormatError("column 'sum_absolute' must not be negative")
    return out


def _lengths(column: pa.ChunkedArray) -> np.ndarray:
    """Length of each row's list; -1 for null."""
    return pc.fill_null(pc.list_value_length(column), -1).to_numpy().astype(np.int64)


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    return np.array(column.to_numpy(), np.float64)


def _lists(column: pa.ChunkedArray) -> np.ndarray:
    """All lists of a column end to end."""
    return np.array(column.combine_chunks().flatten().to_numpy(zero_copy_only=False), np.float64)
