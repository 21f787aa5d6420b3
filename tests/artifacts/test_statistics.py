import numpy as np
import pytest
from tests.fixtures.synthetic import HONEST, Additive

from tfx_explain.artifacts.statistics import (
    BUCKETS_FILE,
    PREDICTIONS_FILE,
    StatisticsFormatError,
    read_statistics,
    write_statistics,
)
from tfx_explain.engine.aggregates.buckets import BucketStatistics


def test_statistics_survive_parquet_bit_by_bit():
    stats = Additive(HONEST, rows=700, failed=3).statistics()
    files = write_statistics(stats, "0")
    back = read_statistics(files[BUCKETS_FILE], files[PREDICTIONS_FILE])
    assert (back.features, back.bin_sizes) == (stats.features, stats.bin_sizes)
    for mine, theirs in zip(stats._arrays(), back._arrays(), strict=True):
        assert mine.tobytes() == theirs.tobytes()


def test_equal_statistics_are_equal_bytes():
    assert write_statistics(Additive(HONEST).statistics(), "0") == write_statistics(Additive(HONEST).statistics(), "0")


def test_a_hundred_features_stay_small():
    weights = {f"f{i}": 1.0 + i for i in range(100)}
    files = write_statistics(Additive(weights, rows=3000).statistics(), "0")
    assert sum(len(f) for f in files.values()) < 3_000_000


def test_no_feature_at_all_is_read_back():
    files = write_statistics(BucketStatistics.empty((), ()), "0")
    assert read_statistics(files[BUCKETS_FILE], files[PREDICTIONS_FILE]).features == ()


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not parquet"])
def test_what_is_no_parquet_is_refused(data):
    files = write_statistics(Additive(HONEST, rows=100).statistics(), "0")
    with pytest.raises(StatisticsFormatError):
        read_statistics(data, files[PREDICTIONS_FILE])
    with pytest.raises(StatisticsFormatError):
        read_statistics(files[BUCKETS_FILE], data)


def test_swapped_files_are_refused():
    files = write_statistics(Additive(HONEST, rows=100).statistics(), "0")
    with pytest.raises(StatisticsFormatError, match="lack the columns"):
        read_statistics(files[PREDICTIONS_FILE], files[BUCKETS_FILE])


def test_not_finite_is_refused():
    stats = Additive(HONEST, rows=100).statistics()
    stats.sums["sum"][3, 1] = np.nan
    files = write_statistics(stats, "0")
    with pytest.raises(StatisticsFormatError, match="must be finite"):
        read_statistics(files[BUCKETS_FILE], files[PREDICTIONS_FILE])
