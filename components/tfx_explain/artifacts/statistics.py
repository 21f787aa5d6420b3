"""Sums by hash bucket as Parquet: bucket_statistics (features), prediction_statistics (the model), group_statistics."""

from __future__ import annotations

import io
from collections.abc import Mapping

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
from tfx_explain.engine.aggregates.groups import Group, GroupStatistics
from tfx_explain.names import NUM_BUCKETS, OVERALL

BUCKETS_FILE = "bucket_statistics.parquet"
PREDICTIONS_FILE = "prediction_statistics.parquet"
GROUPS_FILE = "group_statistics.parquet"
"""Absent from the first artifacts."""

_ADDED = ("sum_positive",)
"""Columns that the first artifacts lack; no comparison reads them."""


_TEXT, _NUMBER = "text", "number"
_TEXTS, _NUMBERS = f"list of {_TEXT}", f"list of {_NUMBER}"
"""What a column holds in each row."""


class StatisticsFormatError(ValueError):
    """A statistics file that does not hold what its format says."""


def to_parquet(table: pa.Table) -> bytes:
    """A table's bytes: one row group per 64k rows, the same for the same table."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def write_statistics(slices: Mapping[str, BucketStatistics], target: str) -> dict[str, bytes]:
    """Both files' bytes of one target; slices by name, the overall one among them."""
    tables = [_tables(name, statistics, target) for name, statistics in slices.items()]
    return {
        BUCKETS_FILE: to_parquet(pa.concat_tables([t[0] for t in tables])),
        PREDICTIONS_FILE: to_parquet(pa.concat_tables([t[1] for t in tables])),
    }


def _tables(name: str, statistics: BucketStatistics, target: str) -> tuple[pa.Table, pa.Table]:
    count = len(statistics.features)
    starts = np.concatenate([[0], np.cumsum(statistics.bin_sizes)]).astype(int)
    rows = NUM_BUCKETS * count
    columns: dict[str, pa.Array] = {
        "slice": pa.array([name] * rows, pa.string()),
        "target": pa.array([target] * rows, pa.string()),
        "bucket": pa.array(np.repeat(np.arange(NUM_BUCKETS), count), pa.int32()),
        "feature": pa.array(list(statistics.features) * NUM_BUCKETS, pa.string()),
    }
    for column in SUMS:
        columns[column] = pa.array(statistics.sums[column].ravel())
    for column in BIN_SUMS:
        values = statistics.bin_sums[column]
        lists = [values[b, starts[f] : starts[f + 1]] for b in range(NUM_BUCKETS) for f in range(count)]
        columns[column] = pa.array(lists, pa.list_(pa.float64()))
    columns["histogram"] = pa.array(list(statistics.histogram.reshape(rows, HISTOGRAM_SIZE)), pa.list_(pa.float64()))
    model: dict[str, pa.Array] = {
        "slice": pa.array([name] * NUM_BUCKETS, pa.string()),
        "target": pa.array([target] * NUM_BUCKETS, pa.string()),
        "bucket": pa.array(np.arange(NUM_BUCKETS), pa.int32()),
    }
    for column in SCALARS:
        model[column] = pa.array(statistics.scalars[column])
    for column in SCORES:
        model[column] = pa.array(list(statistics.scores[column]), pa.list_(pa.float64()))
    return pa.table(columns), pa.table(model)


def read_statistics(features_file: bytes, predictions_file: bytes) -> dict[str, BucketStatistics]:
    """The inverse of `write_statistics`: by slice, the overall one first.

    Raises:
      StatisticsFormatError: a column is missing, a bucket is missing or double, a value is not finite, or a slice has
        other features or more rows than the overall one.
    """
    table, model = _read_table(features_file), _read_table(predictions_file)
    for name in _ADDED:
        if name not in table.column_names:
            table = table.append_column(name, pa.array(np.zeros(len(table))))
    missing = [c for c in ("slice", "bucket", "feature", *SUMS, *BIN_SUMS, "histogram") if c not in table.column_names]
    missing += [c for c in ("slice", "bucket", *SCALARS, *SCORES) if c not in model.column_names]
    if missing:
        raise StatisticsFormatError(f"the statistics lack the columns {missing}")
    _check_types(table, dict.fromkeys((*BIN_SUMS, "histogram"), _NUMBERS) | dict.fromkeys(SUMS, _NUMBER))
    _check_types(model, dict.fromkeys(SCORES, _NUMBERS) | dict.fromkeys(SCALARS, _NUMBER))
    names = list(dict.fromkeys(model["slice"].to_pylist()))
    if OVERALL not in names:
        raise StatisticsFormatError(f"{PREDICTIONS_FILE} must hold the slice {OVERALL!r}. Received: {names}")
    others = set(table["slice"].to_pylist()) - set(names)
    if others:
        raise StatisticsFormatError(f"{PREDICTIONS_FILE} must hold every slice of {BUCKETS_FILE}. Missing: {others}")
    out = {
        name: _read_slice(table.filter(pc.equal(table["slice"], name)), model.filter(pc.equal(model["slice"], name)))
        for name in sorted(names, key=lambda n: n != OVERALL)
    }
    overall = out[OVERALL]
    for name, part in out.items():
        if (part.features, part.bin_sizes) != (overall.features, overall.bin_sizes):
            raise StatisticsFormatError(f"slice {name!r} must have the features and bins of the overall slice")
        if (part.scalars["rows"] > overall.scalars["rows"]).any():
            raise StatisticsFormatError(f"slice {name!r} must not hold more rows than the overall slice")
    return out


def read_groups(groups_file: bytes, slices: Mapping[str, BucketStatistics]) -> dict[str, GroupStatistics]:
    """Sums of groups of features, by slice; only slices with groups.

    Args:
      groups_file: bytes of group_statistics.parquet.
      slices: of the same artifact, as `read_statistics` gives them.

    Raises:
      StatisticsFormatError: a column or a bucket is missing, a slice or member is unknown, or a group has more than its
        members have.
    """
    table = _read_table(groups_file)
    columns = ("slice", "bucket", "group", "members", "sum_joint", "sum_apart")
    missing = [c for c in columns if c not in table.column_names]
    if missing:
        raise StatisticsFormatError(f"{GROUPS_FILE} lacks the columns {missing}")
    _check_types(table, {"members": _TEXTS, "sum_joint": _NUMBER, "sum_apart": _NUMBER})
    rows = {c: table[c].to_pylist() for c in ("slice", "group", "members")}
    if table["bucket"].to_pylist() != list(range(NUM_BUCKETS)) * (len(table) // NUM_BUCKETS):
        raise StatisticsFormatError(f"{GROUPS_FILE} must hold every bucket of a group once, in order")
    joint, apart = (_floats(table[c]).reshape(-1, NUM_BUCKETS) for c in ("sum_joint", "sum_apart"))  # [groups, buckets]
    found: dict[str, dict[Group, int]] = {}
    for i in range(len(joint)):
        block = slice(i * NUM_BUCKETS, (i + 1) * NUM_BUCKETS)
        same = {(s, g, tuple(m or ())) for s, g, m in zip(*(v[block] for v in rows.values()), strict=True)}
        if len(same) > 1:
            raise StatisticsFormatError(f"{GROUPS_FILE} must hold every bucket of a group once, in order")
        ((name, group, members),) = same
        if name not in slices or group is None or not members or not set(members) <= set(slices[name].features):
            raise StatisticsFormatError(f"{GROUPS_FILE} must name known slices and features. Received: {name}, {group}")
        if found.setdefault(name, {}).setdefault((group, members), i) != i:
            raise StatisticsFormatError(
                f"{GROUPS_FILE} must hold every group once. Received: {group!r} twice in {name}"
            )
        _check_group(slices[name], (group, members), joint[i], apart[i])
    return {
        name: GroupStatistics(tuple(own), joint[list(own.values())].T.copy(), apart[list(own.values())].T.copy())
        for name, own in found.items()
    }


def _check_group(statistics: BucketStatistics, group: Group, joint: np.ndarray, apart: np.ndarray) -> None:
    """Raises unless what a group carries is what its members carry apart, less what cancels."""
    name, members = group
    own = statistics.sums["sum_absolute"][:, [statistics.features.index(m) for m in members]].sum(axis=1)
    # Compared so that NaN is refused too.
    if not ((joint >= 0) & (joint <= apart * (1 + 1e-9))).all() or not np.allclose(apart, own, rtol=1e-9, atol=0.0):
        raise StatisticsFormatError(f"group {name!r} must carry what its members carry, less what cancels")


def _read_table(data: bytes) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(data))
    except pa.ArrowException as error:
        raise StatisticsFormatError(f"the statistics are no Parquet file: {error}") from error


def _check_types(table: pa.Table, wanted: Mapping[str, str]) -> None:
    """Raises unless the columns, and those that all files have, hold what they are read as."""
    everywhere = {"slice": _TEXT, "feature": _TEXT, "group": _TEXT, "bucket": _NUMBER}
    for name, kind in {**everywhere, **wanted}.items():
        if name not in table.column_names:
            continue
        found = table.schema.field(name).type
        inner = found.value_type if pa.types.is_list(found) else found
        number = pa.types.is_floating(inner) or pa.types.is_integer(inner)
        one = _NUMBER if number else _TEXT if pa.types.is_string(inner) else ""
        if (f"list of {one}" if pa.types.is_list(found) else one) != kind:
            raise StatisticsFormatError(f"column {name!r} must hold a {kind} in each row. Received: {found}")


def _read_slice(table: pa.Table, model: pa.Table) -> BucketStatistics:
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
    # Profiles are of the one, shares of the other. What is not a number of either is refused above.
    room = 1e-6 * out.sums["sum_absolute"] + 1e-9
    if (np.abs(out.sums["sum"]) > out.sums["sum_absolute"] + room).any():
        raise StatisticsFormatError("column 'sum' must not be larger than 'sum_absolute'")
    if count and (np.abs(np.add.reduceat(out.bin_sums["bin_sum"], starts, axis=1) - out.sums["sum"]) > room).any():
        raise StatisticsFormatError("column 'bin_sum' must add up to 'sum' in every bucket, for every feature")
    return out


def _lengths(column: pa.ChunkedArray) -> np.ndarray:
    """Length of each row's list; -1 for null."""
    return pc.fill_null(pc.list_value_length(column), -1).to_numpy().astype(np.int64)


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    return np.array(column.to_numpy(), np.float64)


def _lists(column: pa.ChunkedArray) -> np.ndarray:
    """All lists of a column end to end."""
    return np.array(column.combine_chunks().flatten().to_numpy(zero_copy_only=False), np.float64)
