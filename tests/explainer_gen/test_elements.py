"""The job with elements and image baselines: maps of the rows with the smallest ids, whoever does the work."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tests.explainer_gen.test_job import explain, sums, write_examples
from tests.fixtures.exported_models.export import export

from tfx_explain.artifacts.manifest import read_manifest
from tfx_explain.artifacts.pins import Pins
from tfx_explain.config import ExplainConfig
from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.feature_graph.images import blurred

pytestmark = pytest.mark.pipeline

_COMMON = {
    "batch_size": 16,
    "cost": {"forecast": False},
    "permutation_importance": {"repeats": 0},
    "integrated_gradients": {"num_steps": 8},
    "target": 3,
}
_FILE = "Split-eval/elements-00000-of-00001.parquet"


def config(**more):
    return ExplainConfig.make(_COMMON | {"elements": {"features": ["file"], "max_rows": 20}} | more)


@pytest.fixture(scope="module")
def model():
    return export("digit_files")


@pytest.fixture(scope="module")
def pattern(model, tmp_path_factory):
    return write_examples(tmp_path_factory.mktemp("digits") / "examples", model.examples)


@pytest.fixture(scope="module")
def black(model, pattern, tmp_path_factory):
    folder = tmp_path_factory.mktemp("black") / "a"
    return folder, explain(folder, model, pattern, config=config())


def maps_of(folder):
    manifest = read_manifest(str(folder), "ModelAttributions")
    table = pq.read_table(io.BytesIO(manifest.read(_FILE))).to_pylist()
    assert manifest.rows[_FILE] == len(table)
    return table


def only_rows(folder):
    """The row files alone."""
    manifest = read_manifest(str(folder), "ModelAttributions")
    tables = [pq.read_table(folder / p) for p in manifest.sha256 if p.startswith("Split-eval/attributions")]
    return {row["id"]: row for t in tables for row in t.to_pylist()}


def test_maps_of_the_smallest_ids_add_up_to_the_rows_attributions(black):
    folder, summary = black
    rows, maps = only_rows(folder), maps_of(folder)
    assert [m["id"] for m in maps] == sorted(rows)[:20]
    assert {m["feature"] for m in maps} == {"file"}
    assert all(m["shape"] == [12, 12] and len(m["attribution"]) == 144 and m["elements"] is None for m in maps)
    got = np.array([m["attribution"] for m in maps]).sum(1)
    expected = np.array([rows[m["id"]]["attribution_file"] for m in maps])
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())
    (entry,) = summary["elements"]
    mean = np.abs([m["attribution"] for m in maps]).mean(0).reshape(12, 12)
    np.testing.assert_allclose(entry["features"][0]["mean_absolute"], mean, rtol=1e-4, atol=1e-6)
    assert [row["id"] for row in entry["rows"]] == [m["id"] for m in maps[:8]]
    assert "the first 8 rows by id" in (folder / "report.html").read_text()


def test_other_batches_and_shards_give_the_same_maps(black, model, tmp_path):
    pattern = write_examples(tmp_path / "examples", model.examples[::-1], shards=3)
    explain(tmp_path / "a", model, pattern, config=config(), read_batch_size=5)
    assert sums(tmp_path / "a") == sums(black[0])


def test_an_encoded_image_is_explained_against_black_unless_configured(black, model, pattern, tmp_path):
    folder, summary = black
    assert summary["method"]["image_baselines"] == {"file": "black"}
    assert any("is explained against black" in note for note in summary["notes"])
    zero = tf.io.encode_png(np.zeros((8, 8, 1), np.uint8)).numpy()
    row = tf.train.Example.FromString(model.examples[0])
    row.features.feature["file"].bytes_list.value[:] = [zero]
    loaded = FeatureModel.load(model.path, sample=model.examples[:8])
    logits = loaded.predict(loaded.encode([row.SerializeToString()]))[0]
    at_black = logits[3] - logits.mean()
    for found in only_rows(folder).values():
        start = found["prediction"] - found["attribution_file"] + found["convergence_delta"]
        assert start == pytest.approx(at_black, abs=1e-4)
    # The reference keeps it; a blur is another baseline, with a digest of its own.
    pins = Pins.from_json((folder / "pins.json").read_text())
    assert pins.image_baselines == {"file": "black"}
    blur = config(image_baselines={"file": {"kind": "blur", "sigma": 2}}, write_rows=False)
    pinned = explain(tmp_path / "pinned", model, pattern, config=blur, reference=_Pinned(pins))
    assert pinned["method"]["image_baselines"] == {"file": "black"}
    assert any("gives way to the reference's" in note for note in pinned["notes"])
    assert pinned["fingerprints"]["comparability"] == summary["fingerprints"]["comparability"]
    # No rows, no maps.
    assert pinned["elements"] == []
    files = read_manifest(str(tmp_path / "pinned"), "ModelAttributions").sha256
    assert not [path for path in files if path.startswith("Split-")]


class _Pinned:
    """A reference without rows or models."""

    def __init__(self, pins):
        self.pins, self.models = pins, ()

    def rows(self):
        return ()


def test_rows_against_their_own_blurred_images_are_complete_and_not_comparable_with_black(
    black, model, pattern, tmp_path
):
    summary = explain(tmp_path / "a", model, pattern, config=config(image_baselines={"file": "blur"}, elements={}))
    assert summary["method"]["image_baselines"] == {"file": "blur sigma=1.5"}
    assert summary["fingerprints"]["comparability"] != black[1]["fingerprints"]["comparability"]
    assert summary["elements"] == []
    loaded = FeatureModel.load(model.path, sample=model.examples[:8])
    encoded = loaded.encode(model.examples)
    logits = loaded.predict(encoded.mapped(lambda cuts: {"file": [blurred(cuts["file"][0], 1.5)]}))
    expected = np.sort(logits[:, 3] - logits.mean(1))
    rows = only_rows(tmp_path / "a").values()
    got = np.sort([r["prediction"] - r["attribution_file"] + r["convergence_delta"] for r in rows])
    np.testing.assert_allclose(got, expected, atol=2e-4)


def test_tokens_stand_beside_their_ids(tmp_path):
    model = export("ids_gru")
    pattern = write_examples(tmp_path / "examples", model.examples[:16])
    settings = _COMMON | {
        "target": None,
        "input_baseline": {"text": [0] * 10},
        "elements": {"features": ["text"], "max_rows": 5},
    }
    by_token = explain(
        tmp_path / "a", model, pattern, config=ExplainConfig.make(settings | {"cut_policies": {"text": "element"}})
    )
    maps = maps_of(tmp_path / "a")
    assert len(maps) == 5 and by_token["elements"][0]["features"][0]["shape"] == [10]
    for found in maps:
        padding = [i for i, word in enumerate(found["elements"]) if word == "0"]
        assert len(found["elements"]) == 10
        assert all(found["attribution"][i] == 0 for i in padding)
        assert any(found["attribution"])
