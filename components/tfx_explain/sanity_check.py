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


class SanityError(ValueError):
    """The check cannot be made; the message says why."""


@dataclasses.dataclass(frozen=True)
class MethodSanity:
    """How alike attributions stay as weights are drawn anew, from the output towards the features.

    Attributes:
      method: its name.
      signed: whether signed attributions are ranked; else their sizes, for methods that give norms.
      weights: names of the variables in the order in which they are drawn anew, one more each time.
      similarity: float64 [weights], mean rank correlation over rows and draws with the model's own attributions.
      passed: the last one is at most MAX_SIMILARITY.
    """

    method: str
    signed: bool
    weights: tuple[str, ...]
    similarity: np.ndarray
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, in six digits."""
        similarity = [float(f"{value:.6g}") for value in self.similarity]
        return dataclasses.asdict(self) | {"weights": list(self.weights), "similarity": similarity}


def sanity_check(
    spec: JobSpec, examples: Sequence[bytes], methods: Sequence[Method], draws: int = 8
) -> Iterator[MethodSanity]:
    """Checks methods on one model, one at a time.

    A method that ranks the features of a random network as it ranks those of the trained one shows the data, not the
    model. Networks differ by chance, hence several draws.

    Args:
      spec: the model, and how it is explained.
      examples: serialised rows; 64 are enough.
      methods: which methods.
      draws: random networks.

    Raises:
      SanityError: the model cannot be explained, has no weights, or fewer than three features to rank.

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
    if len(model.features) < 3:
        raise SanityError(
            f"rankings need at least three features. Received: {list(model.features)}; attribute tokens or "
            "pixels instead"
        )
    for method in methods:
        yield _of_method(explainer, model, spec.config.model_copy(update={"method": method}), block, weights, draws)


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
) -> MethodSanity:
    signed = config.method in (*COMPLETE_METHODS, "gradient_x_input")
    rows = len(block.raw)
    target = np.argmax(model.predict(model.encode(block.raw)), axis=1).astype(np.int32)

    def ranked() -> np.ndarray:
        """Encoded anew each time: embeddings lie before the cut."""
        baseline = BaselineRows(model.encode([explainer.baseline_example]), explainer.images)
        method = BatchMethod(model, config, baseline, block.raw[:BACKGROUND_ROWS])
        found = method.attributions(model.encode(block.raw), target, block.ids, np.zeros(rows, bool)).attributions
        return found if signed else np.abs(found)

    own = ranked()
    similarity = np.zeros((draws, len(weights)))
    for draw in range(draws):
        for depth in range(len(weights)):
            with drawn_anew(weights[: depth + 1], f"{draw}"):
                similarity[draw, depth] = np.nanmean(rank_correlations(own, ranked()))
    mean = similarity.mean(axis=0)
    return MethodSanity(
        method=config.method,
        signed=signed,
        weights=tuple(variable.name for variable in weights),
        similarity=mean,
        passed=bool(mean[-1] <= MAX_SIMILARITY),
    )
