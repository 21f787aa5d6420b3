"""Weights drawn anew: methods that follow the model pass, one that does not is found."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tests.fixtures.exported_models.export import export
from typer.testing import CliRunner

from tfx_explain import sanity_check as module
from tfx_explain.cli import app
from tfx_explain.config import ExplainConfig
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.sanity_check import SanityError, sanity_check

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def spec():
    return JobSpec(model_path=export("missing_relu").path, config=ExplainConfig())


def rows():
    return export("missing_relu").examples[:40]


def test_integrated_gradients_follow_the_weights(spec):
    (found,) = sanity_check(spec, rows(), ["integrated_gradients"], draws=3)
    assert found.passed and found.similarity[-1] < 0.5
    # A bias of the output moves no attribution.
    assert "bias" in found.weights[0] and found.similarity[0] == pytest.approx(1.0)
    assert len(found.weights) == len(found.similarity) == 6


def test_the_same_rows_and_draws_give_the_same_figures(spec):
    one, other = (next(sanity_check(spec, rows(), ["gradient_x_input"], draws=2)) for _ in range(2))
    np.testing.assert_array_equal(one.similarity, other.similarity)


def test_a_method_that_shows_the_data_alone_fails(spec, monkeypatch):
    real = module.BatchMethod

    class Blind(real):
        def attributions(self, encoded, target, ids, valid):
            found = super().attributions(encoded, target, ids, valid)
            data = np.random.default_rng(0).normal(size=found.attributions.shape)
            return found.__class__(**{**vars(found), "attributions": data.astype(np.float32)})

    monkeypatch.setattr(module, "BatchMethod", Blind)
    (found,) = sanity_check(spec, rows(), ["integrated_gradients"], draws=1)
    assert not found.passed and found.similarity[-1] == pytest.approx(1.0)


PIXELS = ExplainConfig(elements={"features": ["image"]})


def digits():
    return JobSpec(model_path=export("digit_floats").path, config=PIXELS)


def images():
    return export("digit_floats").examples[:20]


def test_the_pixels_of_a_map_follow_the_weights_and_their_sizes_the_data():
    """|x - b| of integrated gradients is the image's own outline: Adebayo et al. saw it in maps without signs."""
    (found,) = sanity_check(digits(), images(), ["integrated_gradients"], draws=2)
    assert (found.feature, found.ranked, found.signed) == ("image", "elements of 'image'", True)
    assert found.passed and abs(found.similarity[-1]) < 0.3
    assert found.size_similarity[-1] > 0.7
    assert found.to_dict()["size_similarity"][-1] == pytest.approx(found.size_similarity[-1], rel=1e-5)


def test_pixels_of_methods_without_a_sign_are_ranked_by_size():
    (found,) = sanity_check(digits(), images(), ["gradient"], draws=2)
    assert found.passed and not found.signed
    np.testing.assert_array_equal(found.similarity, found.size_similarity)


@pytest.mark.parametrize("shown", ["edges", "input"])
@pytest.mark.parametrize("method", ["integrated_gradients", "gradient"])
def test_a_map_of_the_image_alone_fails_by_pixel(shown, method, monkeypatch):
    class Blind(module.BatchMethod):
        def elements(self, encoded, target, ids, num_steps, features):
            image = np.asarray(encoded.by_feature()["image"][0])[..., 0]
            edges = np.hypot(*np.gradient(image, axis=(1, 2)))
            return {"image": edges if shown == "edges" else image}

    monkeypatch.setattr(module, "BatchMethod", Blind)
    (found,) = sanity_check(digits(), images(), [method], draws=1)
    assert not found.passed and found.similarity[-1] == pytest.approx(1.0)


def test_one_image_without_elements_has_nothing_to_rank():
    with pytest.raises(SanityError, match="`elements` of the configuration"):
        next(
            sanity_check(
                JobSpec(model_path=export("digit_floats").path, config=ExplainConfig()), images(), ["gradient"]
            )
        )


def test_a_model_without_weights_cannot_be_checked(tmp_path):
    tree = tf.Module()
    spec = {name: tf.io.FixedLenFeature([1], tf.float32) for name in "abc"}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        parsed = tf.io.parse_example(examples, spec)
        return {"score": parsed["a"] * parsed["b"] + parsed["c"]}

    tree.serve = serve
    tf.saved_model.save(tree, str(tmp_path / "m"), signatures={"serving_default": serve})
    floats = [tf.train.Feature(float_list=tf.train.FloatList(value=[v])) for v in (0.5, 1.5)]
    examples = [
        tf.train.Example(features=tf.train.Features(feature=dict.fromkeys("abc", f))).SerializeToString()
        for f in floats
    ]
    with pytest.raises(SanityError, match="must have weights"):
        next(sanity_check(JobSpec(model_path=str(tmp_path / "m"), config=ExplainConfig()), examples, ["gradient"]))


def test_on_the_command_line(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "rows")) as writer:
        for row in rows():
            writer.write(row)
    arguments = ["sanity-check", "--model", export("missing_relu").path, "--examples", str(tmp_path / "rows")]
    done = CliRunner().invoke(app, [*arguments, "--draws", "1", "--rows", "30", "--output", str(tmp_path / "out.json")])
    assert done.exit_code == 0, done.output
    (found,) = json.loads((tmp_path / "out.json").read_text())
    assert (found["method"], found["passed"]) == ("integrated_gradients", True)
    done = CliRunner().invoke(app, [*arguments, "--method", "lime"])
    assert done.exit_code == 2 and "--method must be one of integrated_gradients" in " ".join(done.output.split())
