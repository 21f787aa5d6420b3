"""What TFMA's own loaders and viewers make of our files."""

import json
from pathlib import Path

import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from tfx_explain.engine.aggregates.intervals import Measured
from tfx_explain.explainer_gen.eval_result import SliceResult, minimal_eval_config, write_eval_result

pytestmark = pytest.mark.tf

NAN, INF = float("nan"), float("inf")
CITY, HOUR, HOUR_FLOAT = (("city", "a"),), (("hour", 1),), (("hour", 1.0),)
CROSS = (("city", "a"), ("hour", 1))


def exact(value):
    return Measured(value, NAN, NAN)


def result(key, shift):
    return SliceResult(
        key,
        {"auc": Measured(0.75 + shift, 0.5, 1.0), "example_count": exact(100.0), "unknown": exact(NAN)},
        {
            "mean_absolute_attributions": {"x": Measured(1.0 + shift, 0.5, 2.0), "y": exact(0.25), "z": exact(NAN)},
            "permutation_auc_drop": {"x": Measured(0.125, -INF, INF)},
        },
    )


RESULTS = [result(key, i / 16) for i, key in enumerate([(), CITY, HOUR, HOUR_FLOAT, CROSS])]


def write(folder: Path, results, config=None, **kwargs):
    def put(path, data):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)

    return write_eval_result("eval_result", config, "the model", results, put, **kwargs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("result")
    counts = write(root, RESULTS)
    assert counts == {
        "eval_result/metrics-00000-of-00001.tfrecord": 5,
        "eval_result/attributions-00000-of-00001.tfrecord": 5,
        "eval_result/eval_config.json": 1,
    }
    return str(root / "eval_result")


def test_metrics_come_back_with_their_intervals(folder):
    loaded = tfma.load_eval_result(folder)
    assert len(loaded.slicing_metrics) == 5
    assert loaded.get_metrics_for_slice() == {
        "auc": {"boundedValue": {"value": 0.75, "lowerBound": 0.5, "upperBound": 1.0}},
        "example_count": {"doubleValue": 100.0},
    }
    assert loaded.get_metrics_for_slice(CROSS)["auc"]["boundedValue"]["value"] == 1.0
    assert loaded.model_location == "the model"
    assert loaded.plots == []


def test_attributions_come_back_with_their_intervals(folder):
    loaded = tfma.load_eval_result(folder)
    assert loaded.get_attributions_for_slice(CITY, metric_name="mean_absolute_attributions") == {
        "x": {"boundedValue": {"value": 1.0625, "lowerBound": 0.5, "upperBound": 2.0}},
        "y": {"doubleValue": 0.25},
    }
    drops = loaded.get_attributions_for_all_slices(metric_name="permutation_auc_drop")
    # as Python has it, the int and the float slice are one key of a dict
    assert len(drops) == 4
    assert drops[()] == {"x": {"doubleValue": 0.125}}


def test_keys_keep_their_types_and_overall_stands_first(folder):
    keys = [tfma.slicer.slicer_lib.deserialize_slice_key(r.slice_key) for r in tfma.load_attributions(folder)]
    assert [[(c, type(v), v) for c, v in key] for key in keys] == [
        [],
        [("city", str, "a")],
        [("hour", float, 1.0)],
        [("hour", int, 1)],
        [("city", str, "a"), ("hour", int, 1)],
    ]
    assert [r.slice_key for r in tfma.load_metrics(folder)] == [r.slice_key for r in tfma.load_attributions(folder)]


@pytest.mark.parametrize("column", [None, "city"])
def test_viewers_draw_it(folder, column):
    loaded = tfma.load_eval_result(folder)
    metrics = tfma.view.render_slicing_metrics(loaded, slicing_column=column)
    attributions = tfma.view.render_slicing_attributions(
        loaded, slicing_column=column, metric_name="mean_absolute_attributions"
    )
    wanted = "city:a" if column else "Overall"
    assert [row["slice"] for row in metrics.data] == [wanted]
    assert [row["slice"] for row in attributions.data] == [wanted]
    assert attributions.data[0]["metrics"][""][""]["y"] == {"doubleValue": 0.25}
    assert metrics.config["weightedExamplesColumn"] == "example_count"


def test_the_minimal_config_has_a_spec_for_each_set_of_columns(folder):
    config = tfma.load_eval_result(folder).config
    assert config == minimal_eval_config([CROSS, HOUR, (), CITY])
    assert [list(s.feature_keys) for s in config.slicing_specs] == [[], ["city"], ["city", "hour"], ["hour"]]


def test_a_given_config_is_kept(tmp_path):
    config = config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(label_key="tips", signature_name="serving_default")],
        slicing_specs=[config_pb2.SlicingSpec(feature_values={"b": "1", "a": "2"})],
    )
    write(tmp_path, RESULTS[:1], config, data_location="the examples")
    loaded = tfma.load_eval_result(str(tmp_path / "eval_result"))
    assert loaded.config == config
    assert loaded.data_location == "the examples"


def test_bytes_do_not_depend_on_the_order(tmp_path):
    def turned(r):
        attributions = {n: dict(reversed(v.items())) for n, v in reversed(r.attributions.items())}
        return SliceResult(r.key, dict(reversed(r.metrics.items())), attributions)

    write(tmp_path / "a", RESULTS)
    write(tmp_path / "b", [turned(r) for r in reversed(RESULTS)])
    files = sorted(p.name for p in (tmp_path / "a" / "eval_result").iterdir())
    assert len(files) == 3
    for name in files:
        assert (tmp_path / "a/eval_result" / name).read_bytes() == (tmp_path / "b/eval_result" / name).read_bytes()
    text = json.loads((tmp_path / "a/eval_result/eval_config.json").read_bytes())
    assert text["modelLocations"] == {"": "the model"}


def test_slices_without_numbers_have_no_record(tmp_path):
    empty = SliceResult(CITY, {"auc": exact(NAN)}, {"mean_attributions": {"x": exact(NAN)}})
    write(tmp_path, [RESULTS[0], empty])
    loaded = tfma.load_eval_result(str(tmp_path / "eval_result"))
    assert [key for key, _ in loaded.slicing_metrics] == [()]
    assert [key for key, _ in loaded.attributions] == [()]


def test_no_slices_at_all_load_as_an_empty_result(tmp_path):
    write(tmp_path, [])
    loaded = tfma.load_eval_result(str(tmp_path / "eval_result"))
    assert (loaded.slicing_metrics, loaded.attributions) == ([], [])


def test_a_key_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match='must have different keys. Received twice: city="a"'):
        write(tmp_path, [result(CITY, 0), result(CITY, 1)])
