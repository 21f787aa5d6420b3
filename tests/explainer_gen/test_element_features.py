"""Which features have elements, and which images which baseline: decided on what a model says of itself."""

import types

import numpy as np
import pytest

from tfx_explain.artifacts.pins import Pins
from tfx_explain.config import ConfigError, ExplainConfig, ImageBaseline
from tfx_explain.explainer_gen.elements import (
    ElementAttributions,
    ElementRow,
    ElementsError,
    element_entries,
    elements_of,
)
from tfx_explain.explainer_gen.image_baselines import ImageBaselineError, described, image_baselines
from tfx_explain.explainer_gen.job_spec import JobSpec


def model(encoded=(), unused=(), **cut_shapes):
    return types.SimpleNamespace(
        features=tuple(sorted(cut_shapes)),
        unused_features=unused,
        uncovered_features=(),
        cut_shapes=cut_shapes,
        encoded_images=encoded,
    )


def spec(pins=None, **config):
    return JobSpec(model_path="", config=ExplainConfig.make(config), pins=pins)


def pins(images, policies):
    return Pins({}, {}, {}, policies, 1.0, images)


def test_a_vector_has_no_elements_unless_each_number_is_a_raw_value():
    found, notes = elements_of(
        model(text=((12,),), pixels=((64,),), image=((8, 8, 1),), tokens=((10, 8),)),
        ("text", "pixels", "image", "tokens"),
        {"text": 1, "pixels": 64, "image": 1, "tokens": 10},
    )
    assert found == ("pixels", "image", "tokens")
    assert notes == [
        "feature 'text' is attributed as one vector; set cut_policies: {text: element} for attributions per token"
    ]


def test_tensors_of_different_shapes_have_no_common_elements():
    found, notes = elements_of(model(text=((10, 8), (10,))), ("text",), {"text": 10})
    assert found == ()
    assert "tensors of different shapes" in notes[0] and "cut_policies: {text: element}" in notes[0]


def test_an_unused_feature_is_noted_and_an_unknown_one_refused():
    assert elements_of(model(unused=("id",), a=((),)), ("id",), {})[1] == [
        "feature 'id' has no attribution, so it has none by element"
    ]
    with pytest.raises(ElementsError, match=r"such as \['a', 'id'\]. Received: 'imgae'"):
        elements_of(model(unused=("id",), a=((),)), ("imgae",), {})


IMAGE = {"image": ((8, 6, 3),), "price": ((1,),)}


def test_an_encoded_image_is_black_unless_something_else_is_asked_for():
    found, notes = image_baselines(spec(), model(encoded=("image",), **IMAGE))
    assert found == {"image": ImageBaseline(kind="black")}
    assert "explained against black" in notes[0]
    assert image_baselines(spec(input_baseline={"image": "raw"}), model(encoded=("image",), **IMAGE)) == ({}, [])
    assert image_baselines(spec(), model(**IMAGE)) == ({}, [])
    found, notes = image_baselines(spec(image_baselines={"image": "blur"}), model(encoded=("image",), **IMAGE))
    assert found == {"image": ImageBaseline(kind="blur", sigma=0.75)} and notes == []


def test_the_reference_decides_on_features_that_it_knows():
    images = model(encoded=("image",), **IMAGE)
    kept = pins({"image": "blur sigma=2.5"}, {"image": "feature"})
    assert image_baselines(spec(kept), images) == ({"image": ImageBaseline(kind="blur", sigma=2.5)}, [])
    found, notes = image_baselines(spec(kept, image_baselines={"image": "black"}), images)
    assert described(found["image"]) == "blur sigma=2.5" and "gives way to the reference's" in notes[0]
    raw = pins({}, {"image": "feature"})
    assert image_baselines(spec(raw), images) == ({}, [])
    assert image_baselines(spec(pins({}, {"price": "feature"})), images)[0] == {"image": ImageBaseline(kind="black")}


def test_what_is_no_image_has_no_image_baseline():
    with pytest.raises(ImageBaselineError, match=r"one cut tensor \[height, width\].*Received: \[\(1,\)\]"):
        image_baselines(spec(image_baselines={"price": "black"}), model(**IMAGE))
    with pytest.raises(ImageBaselineError, match=r"Received: 'imgae'"):
        image_baselines(spec(image_baselines={"imgae": "black"}), model(**IMAGE))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"image_baselines": {"a": "white"}}, "'black' or 'blur'"),
        ({"image_baselines": {"a": {"kind": "black", "sigma": 2}}}, "sigma must be given with blur only"),
        ({"image_baselines": {"a": "black"}, "input_baseline": {"a": 1}}, "not in both"),
        ({"elements": {"features": ["a", "a"]}}, "distinct"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(config, sentence):
    with pytest.raises(ConfigError, match=sentence):
        ExplainConfig.make(config)


def test_settings_survive_their_own_text():
    config = ExplainConfig.make({"image_baselines": {"a": "blur", "b": {"kind": "blur", "sigma": 3}}})
    assert ExplainConfig.from_json(config.to_json()) == config


def test_the_digest_of_an_image_tells_its_baseline_and_other_features_keep_theirs():
    policies = {"image": "feature", "price": "feature"}
    raw, black, blur = pins({}, policies), pins({"image": "black"}, policies), pins({"image": "blur sigma=2"}, policies)
    assert len({p.digest() for p in (raw, black, blur)}) == 3
    assert len({p.feature_digest("price") for p in (raw, black, blur)}) == 1
    assert raw.differences(black, ["image", "price"]) == ["input baseline, value bins or cut policy of feature 'image'"]
    many = {f"p{i}": "feature" for i in range(5)} | policies
    moved = pins({}, many).differences(pins({}, dict.fromkeys(many, "latest")), many)
    assert moved == ["input baseline, value bins or cut policy of 7 features ('image', 'p0', 'p1' and 4 more)"]
    assert Pins.from_json(blur.to_json()) == blur
    assert "image_baselines" not in raw.to_json()


def test_large_maps_are_summed_over_squares_and_keep_their_sum():
    rows = [ElementRow(bytes([i]) * 16, b"", 0, 50, 0.5) for i in range(10)]
    values = np.random.default_rng(0).normal(size=(10, 100, 57)).astype(np.float32)
    entry = element_entries("eval", rows, [ElementAttributions("image", values, [None] * 10)])
    assert len(entry["rows"]) == 8
    shown = np.array(entry["rows"][3]["features"][0]["attribution"])
    assert shown.shape == (50, 29)
    np.testing.assert_allclose(shown[4, 28], values[3, 8:10, 56].sum(), rtol=1e-5)
    np.testing.assert_allclose(shown.sum(), values[3].sum(dtype=float), rtol=1e-4)
    mean = np.array(entry["features"][0]["mean_absolute"])
    np.testing.assert_allclose(mean.sum(), np.abs(values.astype(float)).mean(0).sum(), rtol=1e-4)
