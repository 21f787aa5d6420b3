"""Weight randomisation: do attributions follow the model's weights, or the data alone?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfx_explain.config import COMPLETE_METHODS, ExplainConfig, Method
from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.feature_graph.weights import drawn_anew, output_first
from tfx_explain.engine.methods.rank_correlation import rank_correlations
from tfx_explain.explainer_gen.explain import ModelExplainer
from tfx_explain.explainer_gen.image_baselines import BaselineRows
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.method import BatchMethod
from tfx_explain.explainer_gen.profiles import profiles_of
from tfx_explain.explainer_gen.sampling import BACKGROUND_ROWS, MODEL_SAMPLE_ROWS, Block, identify, make_block

MAX_SIMILARITY = 0.5
"""Mean rank correlation, with all weights drawn anew, from which a method fails: it shows the data alone."""

_LEAST = 3
"""Features, or elements of one, that a ranking needs."""


class SanityError(ValueError):
    """The check cannot be made; the message says why."""


@dataclasses.dataclass(frozen=True)
class MethodSanity:
    """How alike attributions stay as weights are drawn anew, from the output towards the features.

    Attributes:
      method: its name.
      feature: whose elements (pixels, tokens) are ranked, row by row; None where the row's features are.
      signed: whether signed attributions are ranked; else their sizes, for methods that give norms.
      weights: names of the variables in the order in which they are drawn anew, one more each time.
      similarity: float64 [weights], mean rank correlation over rows and draws with the model's own attributions.
      size_similarity: the same of sizes, |attribution|. It judges nothing: a product with x - b has the outline of x
        whatever the network is, as maps drawn without signs do.
      passed: the last similarity is at most MAX_SIMILARITY.
    """

    method: str
    feature: str | None
    signed: bool
    weights: tuple[str, ...]
    similarity: np.ndarray
    size_similarity: np.ndarray
    passed: bool

    @property
    def ranked(self) -> str:
        """What is ranked, in words."""
        return "features" if self.feature is None else f"elements of {self.feature!r}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, in six digits."""
        return dataclasses.asdict(self) | {
            "weights": list(self.weights),
            "similarity": [float(f"{value:.6g}") for value in self.similarity],
            "size_similarity": [float(f"{value:.6g}") for value in self.size_similarity],
        }


def sanity_check(
    spec: JobSpec, examples: Sequence[bytes], methods: Sequence[Method], draws: int = 8
) -> Iterator[MethodSanity]:
    """Checks methods on one model, one at a time: the ranking of a row's features, and of the elements of each feature
    that `elements` of the configuration names, such as an image's pixels.

    A method that ranks the features of a random network as it ranks those of the trained one shows the data, not the
    model. Networks differ by chance, hence several draws.

    Args:
      spec: the model, and how it is explained.
      examples: serialised rows; 64 are enough.
      methods: which methods.
      draws: random networks.

    Raises:
      SanityError: the model cannot be explained, has no weights, or nothing of which there are three to rank.

    References:
      Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity Checks for Saliency Maps (2018),
      https://arxiv.org/abs/1810.03292
    """
    block = make_block(0, [identify(list(examples), 0, spec.config.seed)])
    explainer = _explainer(spec, block)
    model = explainer.model
    if not isinstance(model, FeatureModel):
        raise SanityError(str(explainer.facts.no_gradient))
    weights = output_first(model.opened)
    if not weights:
        raise SanityError("the model must have weights to draw anew. Received: none, its graph holds constants alone")
    if len(model.features) < _LEAST and not explainer.elements:
        raise SanityError(
            f"rankings need at least three features. Received: {list(model.features)}; name an image or a text in "
            "`elements` of the configuration, so that its pixels or tokens are ranked"
        )
    for method in methods:
        yield from _of_method(
            explainer, model, spec.config.model_copy(update={"method": method}), block, weights, draws
        )


def _explainer(spec: JobSpec, block: Block) -> ModelExplainer:
    profiles = profiles_of([block], spec.categorical_ints)
    explainer = ModelExplainer(spec, profiles, block.raw[:MODEL_SAMPLE_ROWS], block.raw[:BACKGROUND_ROWS])
    if explainer.facts.error is not None:
        raise SanityError(explainer.facts.error)
    return explainer


def _of_method(
    explainer: ModelExplainer,
    model: FeatureModel,
    config: ExplainConfig,
    block: Block,
    weights: Sequence[tf.Variable],
    draws: int,
) -> Iterator[MethodSanity]:
    signed = config.method in (*COMPLETE_METHODS, "gradient_x_input")
    rows = len(block.raw)
    target = np.argmax(model.predict(model.encode(block.raw)), axis=1).astype(np.int32)

    def ranked() -> dict[str | None, np.ndarray]:
        """By feature the attributions of its elements, under None those of features, [rows, n] each; encoded anew each
        time: embeddings lie before the cut.
        """
        baseline = BaselineRows(model.encode([explainer.baseline_example]), explainer.images)
        method = BatchMethod(model, config, baseline, block.raw[:BACKGROUND_ROWS])
        encoded = model.encode(block.raw)
        found = method.attributions(encoded, target, block.ids, np.zeros(rows, bool))
        out: dict[str | None, np.ndarray] = {None: found.attributions}
        if explainer.elements:
            steps = int(found.num_steps[0])  # no row was run again
            elements = method.elements(encoded, target, block.ids, steps, explainer.elements)
            out |= {name: elements[name].reshape(rows, -1) for name in explainer.elements}
        return {name: values for name, values in out.items() if values.shape[1] >= _LEAST}

    own = ranked()
    similar = {name: np.zeros((2, draws, len(weights))) for name in own}  # signed where the method is; sizes
    for draw in range(draws):
        for depth in range(len(weights)):
            with drawn_anew(weights[: depth + 1], f"{draw}"):
                for name, values in ranked().items():
                    sizes = np.nanmean(rank_correlations(np.abs(own[name]), np.abs(values)))
                    judged = np.nanmean(rank_correlations(own[name], values)) if signed else sizes
                    similar[name][:, draw, depth] = judged, sizes
    for name, found in similar.items():
        mean, sizes = found.mean(axis=1)
        yield MethodSanity(
            method=config.method,
            feature=name,
            signed=signed,
            weights=tuple(variable.name for variable in weights),
            similarity=mean,
            size_similarity=sizes,
            passed=bool(mean[-1] <= MAX_SIMILARITY),
        )
