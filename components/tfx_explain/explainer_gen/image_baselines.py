"""Baselines of images: black, or the row's own image blurred, where the model has made pixels of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from tfx_explain.config import ImageBaseline
from tfx_explain.engine.feature_graph import Encoded, FeatureModel, FeatureModelError
from tfx_explain.engine.feature_graph.images import blurred, default_sigma, image_shape
from tfx_explain.explainer_gen.job_spec import JobSpec

_SIGMA = " sigma="


class ImageBaselineError(FeatureModelError):
    """An image baseline is asked for where there is no image."""


def image_baselines(spec: JobSpec, model: FeatureModel) -> tuple[dict[str, ImageBaseline], list[str]]:
    """(image baseline by attributed feature, notes).

    Of features that the reference's models had, the reference decides, so that models stay comparable; then the
    configuration. An encoded image that nothing is configured for is black: its bytes have no mean, and the commonest
    of them is only some image.

    Raises:
      ImageBaselineError: the configuration names a feature that is not attributed, or is not cut as an image.
    """
    config, notes = spec.config, []
    pinned = spec.pins.cut_policies if spec.pins else {}
    chosen = {n: _parsed(text) for n, text in (spec.pins.image_baselines if spec.pins else {}).items()}
    chosen = {name: baseline for name, baseline in chosen.items() if name in model.features}
    for name, baseline in config.image_baselines.items():
        if name not in model.features:
            raise ImageBaselineError(
                f"image_baselines must name attributed features: {list(model.features)}. Received: {name!r}"
            )
        if name not in pinned:
            chosen[name] = baseline
    if config.image_baselines and any(name in pinned for name in config.image_baselines):
        notes.append(
            "image_baselines of the configuration gives way to the reference's, so that models stay comparable"
        )
    for name in model.encoded_images:
        if name not in pinned and name not in chosen and name not in (config.input_baseline or {}):
            chosen[name] = ImageBaseline(kind="black")
            notes.append(
                f"feature {name!r} is an encoded image without a configured baseline: it is explained against black "
                "(zeros at its pixels); set image_baselines or input_baseline for another"
            )
    out = {}
    for name, baseline in chosen.items():
        shape = image_shape(model.cut_shapes[name])
        if shape is None:
            raise ImageBaselineError(
                f"the image baseline of feature {name!r} needs one cut tensor [height, width] or [height, width, "
                f"channels]. Received: {list(model.cut_shapes[name])}; give its baseline as raw values, in "
                "input_baseline"
            )
        if baseline.kind == "blur" and baseline.sigma is None:
            baseline = ImageBaseline(kind="blur", sigma=default_sigma(shape))
        out[name] = baseline
    return dict(sorted(out.items())), notes


def described(baseline: ImageBaseline) -> str:
    """As artifacts call it: `black`, `blur sigma=1.5`."""
    return baseline.kind if baseline.sigma is None else f"{baseline.kind}{_SIGMA}{baseline.sigma!r}"


def _parsed(text: str) -> ImageBaseline:
    kind, _, sigma = text.partition(_SIGMA)
    return ImageBaseline.make({"kind": kind, "sigma": float(sigma) if sigma else None})


class BaselineRows:
    """Where each row's path begins: one row for all, or one of its own where images are blurred."""

    def __init__(self, baseline: Encoded, images: Mapping[str, ImageBaseline]):
        """Takes the encoded raw baseline, one row, and what stands for its images."""
        black = [name for name, image in images.items() if image.kind == "black"]
        self._blurred = {name: image for name, image in images.items() if image.kind == "blur"}

        def blackened(cuts: Mapping[str, Sequence[tf.Tensor]]) -> dict[str, Sequence[tf.Tensor]]:
            return {**cuts, **{name: [tf.zeros_like(cut) for cut in cuts[name]] for name in black}}

        self._one: Encoded = baseline.mapped(blackened) if black else baseline

    def of(self, encoded: Encoded) -> Encoded:
        """The baseline of these rows: one row, or as many as they are.

        Beside blurred images, what the cut leaves frozen stays as it is in the row.
        """
        if not self._blurred:
            return self._one
        constant = self._one.by_feature()

        def start(cuts: Mapping[str, Sequence[tf.Tensor]]) -> dict[str, Sequence[tf.Tensor]]:
            return {name: self._start(name, parts, constant[name]) for name, parts in cuts.items()}

        return encoded.mapped(start)

    def _start(self, name: str, cuts: Sequence[tf.Tensor], constant: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        if name in self._blurred:
            return [blurred(cut, self._blurred[name].sigma) for cut in cuts]
        return [tf.repeat(one, tf.shape(cut)[0], axis=0) for cut, one in zip(cuts, constant, strict=True)]
