import os
import tempfile

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, example, given, settings
from tests.engine.feature_graph.random_graphs import CLIP, SMOOTH, RandomModel, Recipe, recipes
from tests.fixtures.exported_models.examples import serialise

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients
from tfx_explain.engine.methods.quadrature import gauss_legendre

pytestmark = pytest.mark.tf

ROWS = 24
STEPS = 64
DRAWN = settings(
    max_examples=int(os.environ.get("TFX_EXPLAIN_RANDOM_GRAPHS", "20")),
    derandomize="TFX_EXPLAIN_RANDOM_GRAPHS" not in os.environ,
    database=None,
    deadline=None,
    phases=(
        Phase.explicit,
        Phase.generate,
    ),  # no shrinking: a model takes seconds
    suppress_health_check=list(HealthCheck),
)

CLIPPED_AND_CROSSED = Recipe(("clip", "unread", "unread", "raw"), (0, 2), "tanh", 3, (), 0)


@DRAWN
@given(recipes())
@example(CLIPPED_AND_CROSSED)
def test_a_random_graph_is_explained_as_its_parts_say(recipe):
    """One model a draw, since loading is what takes the time; each check names itself."""
    drawn = RandomModel(recipe, ROWS)
    examples, baseline = drawn.examples(), serialise(drawn.baseline)
    with tempfile.TemporaryDirectory() as folder:
        model = FeatureModel.load(drawn.save(f"{folder}/m"), sample=examples[:8])
        signature = model.saved_model.signatures["serving_default"]

        def score(rows):
            return signature(tf.constant(rows))["score"].numpy()[:, 0].astype(np.float64)

        encoded, at_baseline = model.encode(examples), model.encode([baseline])
        check_features(model, drawn)
        check_saliency(model.gradients(encoded, 0), drawn, score)
        result = integrated_gradients(model, encoded, at_baseline, 0, num_steps=STEPS, repair_steps=())
        check_attributions(model, result, drawn, examples, baseline)
        check_completeness(result, drawn, score([*examples, baseline]))
        check_batches(model, result.attributions, examples, at_baseline)


def check_features(model, drawn):
    recipe = drawn.recipe
    crossed = {recipe.names[index] for index in recipe.cross or ()}
    assert set(model.unused_features) == set(recipe.features("unread")) - crossed
    assert model.uncovered_features == ()
    columns = {column for column, _ in drawn.encode(tf.io.parse_example(drawn.examples(), drawn.spec))}
    assert set(model.features) == columns
    assert set(model.cut_policies.values()) == {"feature"}


def check_saliency(gradients, drawn, score, step=1e-2):
    """Central differences on the raw feature, through the untouched signature."""
    crossed = {drawn.recipe.names[index] for index in drawn.recipe.cross or ()}
    for feature in set(drawn.recipe.features(*SMOOTH)) - set(drawn.recipe.features("integer")) - crossed:
        moved = [
            score([serialise({**row, feature: [row[feature][0] + shift]}) for row in drawn.rows])
            for shift in (step, -step)
        ]
        expected = (moved[0] - moved[1]) / (2 * step)
        scale = np.abs(expected).max() + 1e-3 * np.abs(moved[0]).max()
        np.testing.assert_allclose(gradients[feature][:, 0], expected, atol=2e-3 * scale, err_msg=feature)


def check_attributions(model, result, drawn, examples, baseline):
    """Integrated gradients of the encoded columns, by a tape at the same nodes."""
    expected = drawn.integrated_gradients(examples, baseline, *gauss_legendre(STEPS))
    allowed = 1e-4 * np.abs(result.attributions).sum(axis=1) + 1e-6
    for index, column in enumerate(model.features):
        difference = np.abs(result.attributions[:, index] - expected[column])
        assert (difference <= allowed).all(), (column, (difference / allowed).max())


def check_completeness(result, drawn, scores):
    """On every path that is smooth: a clipped feature has a kink where it leaves its bounds."""
    gap = scores[:-1] - scores[-1]
    allowed = 1e-4 * np.abs(result.attributions).sum(axis=1) + 1e-5
    missed = np.abs(result.attributions.sum(axis=1) - gap) > allowed
    for feature in drawn.recipe.features("clip"):
        values = np.array([row[feature][0] for row in (*drawn.rows, drawn.baseline)])
        inside = (values > CLIP[0]) & (values < CLIP[1])
        missed &= inside[:-1] & inside[-1]
    assert not missed.any()


def check_batches(model, attributions, examples, at_baseline):
    """Another order, another company, parts: the same rows."""
    rule = gauss_legendre(STEPS)

    def explain(rows):
        return model.path_gradients(model.encode(rows), at_baseline, 0, *rule).attributions

    close = 1e-6 * max(1.0, np.abs(attributions).max())
    np.testing.assert_allclose(explain(examples[::-1])[::-1], attributions, rtol=0, atol=close)
    halves = np.concatenate([explain(examples[:7]), explain(examples[7:])])
    np.testing.assert_allclose(halves, attributions, rtol=0, atol=close)
    half = ROWS // 2
    in_company = explain([*examples[:half], *examples[:half]])
    np.testing.assert_array_equal(in_company[:half], attributions[:half])
