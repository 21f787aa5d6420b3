import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.fixtures.synthetic import HONEST, Additive, Part

from tfx_explain.artifacts.statistics import (
    BUCKETS_FILE,
    PREDICTIONS_FILE,
    StatisticsFormatError,
    read_groups,
    read_statistics,
    to_parquet,
    write_statistics,
)
from tfx_explain.engine.aggregates.buckets import BucketStatistics
from tfx_explain.names import OVERALL


def test_statistics_survive_parquet_bit_by_bit():
    stats = Additive(HONEST, rows=700, failed=3).statistics()
    files = write_statistics({OVERALL: stats}, "0")
    back = read_statistics(files[BUCKETS_FILE], files[PREDICTIONS_FILE])[OVERALL]
    assert (back.features, back.bin_sizes) == (stats.features, stats.bin_sizes)
    for mine, theirs in zip(stats._arrays(), back._arrays(), strict=True):
        assert mine.tobytes() == theirs.tobytes()


def test_equal_statistics_are_equal_bytes():
    one, other = (write_statistics({OVERALL: Additive(HONEST).statistics()}, "0") for _ in range(2))
    assert one == other


def test_a_hundred_features_stay_small():
    weights = {f"f{i}": 1.0 + i for i in range(100)}
    files = write_statistics({OVERALL: Additive(weights, rows=3000).statistics()}, "0")
    assert sum(len(f) for f in files.values()) < 3_000_000


def test_no_feature_at_all_is_read_back():
    files = write_statistics({OVERALL: BucketStatistics.empty((), ())}, "0")
    assert read_statistics(files[BUCKETS_FILE], files[PREDICTIONS_FILE])[OVERALL].features == ()


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not parquet"])
def test_what_is_no_parquet_is_refused(data):
    files = write_statistics({OVERALL: Additive(HONEST, rows=100).statistics()}, "0")
    with pytest.raises(StatisticsFormatError):
        read_statistics(data, files[PREDICTIONS_FILE])
    with pytest.raises(StatisticsFormatError):
        read_statistics(files[BUCKETS_FILE], data)


def test_swapped_files_are_refused():
    files = write_statistics({OVERALL: Additive(HONEST, rows=100).statistics()}, "0")
    with pytest.raises(StatisticsFormatError, match="lack the columns"):
        read_statistics(files[PREDICTIONS_FILE], files[BUCKETS_FILE])


def test_not_finite_is_refused():
    stats = Additive(HONEST, rows=100).statistics()
    stats.sums["sum"][3, 1] = np.nan
    files = write_statistics({OVERALL: stats}, "0")
    with pytest.raises(StatisticsFormatError, match="must be finite"):
        read_statistics(files[BUCKETS_FILE], files[PREDICTIONS_FILE])


OTHERS = {
    "text": pa.string(),
    "numbers": pa.list_(pa.float64()),
    "truth": pa.bool_(),
    "bytes": pa.binary(),
    "nothing": pa.null(),
    "time": pa.timestamp("s"),
    "number": pa.float64(),
}


def with_type(data, column, kind):
    """The file with a column of another type, all of its values null."""
    table = pq.read_table(pa.BufferReader(data))
    at = table.column_names.index(column)
    return to_parquet(table.set_column(at, column, pa.nulls(len(table), OTHERS[kind])))


@pytest.mark.parametrize("kind", sorted(OTHERS))
@pytest.mark.parametrize("column", ["slice", "bucket", "feature", "sum", "bin_weight", "histogram"])
def test_a_column_of_another_type_is_refused(column, kind):
    files = write_statistics({OVERALL: Additive(HONEST, rows=100).statistics()}, "0")
    with pytest.raises(StatisticsFormatError):
        read_statistics(with_type(files[BUCKETS_FILE], column, kind), files[PREDICTIONS_FILE])


@pytest.mark.parametrize("kind", sorted(OTHERS))
@pytest.mark.parametrize("column", ["slice", "bucket", "weight", "rows", "scores_positive"])
def test_a_column_of_predictions_of_another_type_is_refused(column, kind):
    files = write_statistics({OVERALL: Additive(HONEST, rows=100).statistics()}, "0")
    with pytest.raises(StatisticsFormatError):
        read_statistics(files[BUCKETS_FILE], with_type(files[PREDICTIONS_FILE], column, kind))


NIGHT = (("hour", 3),)
SLICED = Additive(HONEST, rows=700, seed=3, slices={NIGHT: Part(200)})


def written(*parts):
    files = write_statistics(dict(parts), "0")
    return files[BUCKETS_FILE], files[PREDICTIONS_FILE]


def test_slices_come_back_each_with_its_own_sums_the_overall_one_first():
    files = written(("hour=3", SLICED.statistics(NIGHT)), (OVERALL, SLICED.statistics()))
    back = read_statistics(*files)
    assert list(back) == [OVERALL, "hour=3"]
    for key, name in ((), OVERALL), (NIGHT, "hour=3"):
        for mine, theirs in zip(SLICED.statistics(key)._arrays(), back[name]._arrays(), strict=True):
            assert mine.tobytes() == theirs.tobytes()


def test_a_slice_that_is_no_part_of_the_whole_is_refused():
    with pytest.raises(StatisticsFormatError, match="must hold the slice 'overall'"):
        read_statistics(*written(("hour=3", SLICED.statistics(NIGHT))))
    with pytest.raises(StatisticsFormatError, match="more rows than the overall"):
        read_statistics(*written((OVERALL, SLICED.statistics(NIGHT)), ("hour=3", SLICED.statistics())))
    other = Additive({"z": 1.0}, rows=10).statistics()
    with pytest.raises(StatisticsFormatError, match="features and bins of the overall"):
        read_statistics(*written((OVERALL, SLICED.statistics()), ("hour=3", other)))
    files = written((OVERALL, SLICED.statistics()), ("hour=3", SLICED.statistics(NIGHT)))
    with pytest.raises(StatisticsFormatError, match="must hold every slice"):
        read_statistics(files[0], written((OVERALL, SLICED.statistics()))[1])


GROUPS = (("pair", ("a", "c")), ("all", tuple(HONEST)))
SLICES = {OVERALL: SLICED.statistics(), "hour=3": SLICED.statistics(NIGHT)}


def group_table(slices=("hour=3", OVERALL)):
    """As ExplainerGen writes it."""
    columns = {n: [] for n in ("slice", "target", "bucket", "group", "members", "sum_joint", "sum_apart")}
    for name in slices:
        sums = SLICED.group_sums(GROUPS, NIGHT if name == "hour=3" else ())
        for g, (group, members) in enumerate(GROUPS):
            rows = (name, "0", group, list(members))
            for column, value in zip(("slice", "target", "group", "members"), rows, strict=True):
                columns[column] += [value] * 64
            columns["bucket"] += range(64)
            columns["sum_joint"] += sums.sum_joint[:, g].tolist()
            columns["sum_apart"] += sums.sum_apart[:, g].tolist()
    return columns


def packed(columns):
    return to_parquet(pa.table(columns))


def test_groups_come_back_bit_by_bit():
    back = read_groups(packed(group_table()), SLICES)
    for name, key in ((OVERALL, ()), ("hour=3", NIGHT)):
        sums = SLICED.group_sums(GROUPS, key)
        assert back[name].groups == GROUPS
        assert back[name].sum_joint.tobytes() == sums.sum_joint.tobytes()
        assert back[name].sum_apart.tobytes() == sums.sum_apart.tobytes()


def test_a_file_without_any_group_is_read():
    empty = {n: pa.array([], v.type) for n, v in zip(group_table(), pa.table(group_table()).columns, strict=True)}
    assert read_groups(packed(empty), SLICES) == {}


@pytest.mark.parametrize(
    ("column", "row", "value", "part"),
    [
        ("sum_joint", 5, float("nan"), "less what cancels"),
        ("sum_joint", 5, 1e9, "less what cancels"),
        ("sum_joint", 5, -1.0, "less what cancels"),
        ("sum_apart", 5, 1e9, "less what cancels"),
        ("bucket", 5, 6, "every bucket"),
        ("group", 5, "other", "every bucket"),
        ("members", 5, ["a"], "every bucket"),
        ("slice", slice(0, 64), "hour=4", "known slices"),
        ("members", slice(0, 64), ["a", "zz"], "known slices"),
        ("members", slice(0, 64), [], "known slices"),
        ("slice", slice(0, 64), OVERALL, "less what cancels"),
    ],
)
def test_groups_that_cannot_be_are_refused(column, row, value, part):
    columns = group_table()
    at = row if isinstance(row, slice) else slice(row, row + 1)
    columns[column][at] = [value] * (at.stop - at.start)
    with pytest.raises(StatisticsFormatError, match=part):
        read_groups(packed(columns), SLICES)


@pytest.mark.parametrize("kind", sorted(OTHERS))
@pytest.mark.parametrize("column", ["slice", "bucket", "group", "members", "sum_joint", "sum_apart"])
def test_a_column_of_groups_of_another_type_is_refused(column, kind):
    with pytest.raises(StatisticsFormatError):
        read_groups(with_type(packed(group_table()), column, kind), SLICES)


def test_groups_without_a_column_or_a_bucket_are_refused():
    columns = group_table()
    with pytest.raises(StatisticsFormatError, match=r"lacks the columns \['sum_joint'\]"):
        read_groups(packed({n: v for n, v in columns.items() if n != "sum_joint"}), SLICES)
    with pytest.raises(StatisticsFormatError, match="every bucket"):
        read_groups(packed({n: v[1:] for n, v in columns.items()}), SLICES)
    with pytest.raises(StatisticsFormatError, match="'pair' twice in overall"):
        read_groups(packed(group_table((OVERALL, OVERALL))), SLICES)
    with pytest.raises(StatisticsFormatError, match="no Parquet file"):
        read_groups(b"PAR1", SLICES)
