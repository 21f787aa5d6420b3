import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.element_paths import assert_close, by_element
from tests.fixtures.exported_models.export import export

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.feature_graph.tokens import follows_its_tokens
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients
from tfx_explain.engine.methods.quadrature import gauss_legendre

pytestmark = pytest.mark.tf

_ROWS = 24
_STEPS = 20
_NAMES = ("ids_attention", "ids_gru", "text_lstm")


@pytest.fixture(scope="module")
def load():
    """(name, cut policy of the text) -> (export, model, rows encoded, input baseline encoded)."""
    loaded = {}

    def by_name(name, policy):
        if (name, policy) not in loaded:
            exported = export(name)
            model = FeatureModel.load(exported.path, sample=exported.examples[:8], cut_policies={"text": policy})
            rows = model.encode(exported.examples[:_ROWS])
            loaded[name, policy] = exported, model, rows, model.encode([exported.input_baseline])
        return loaded[name, policy]

    yield by_name
    loaded.clear()


class Bare:
    """The bare Keras model in two halves: ids -> (tokens, mask), (tokens, mask, stars) -> logit."""

    def __init__(self, exported):
        self.model = exported.keras_model()
        self.name = exported.name

    def inputs(self, examples):
        """(ids int64 [rows, tokens], stars [rows, 1]) as the signature makes them."""
        from tests.fixtures.exported_models.text_models import _WORDS, MAX_TOKENS

        ids, stars = np.zeros((len(examples), MAX_TOKENS), np.int64), np.zeros((len(examples), 1), np.float32)
        numbers = {word.encode(): index + 1 for index, word in enumerate(_WORDS)}
        for row, raw in enumerate(examples):
            feature = tf.train.Example.FromString(raw).features.feature
            stars[row] = feature["stars"].float_list.value
            text = feature["text"]
            found = text.int64_list.value or [numbers[w] for v in text.bytes_list.value for w in v.split()]
            ids[row, : len(found)] = found
        return tf.constant(ids), tf.constant(stars)

    def tokens(self, ids):
        return self.model.get_layer("embedding")(ids), ids != 0

    def encoded(self, tokens, mask):
        layer = self.model.get_layer
        if self.name == "ids_attention":
            mixed = layer("attention")(tokens, tokens, query_mask=mask, value_mask=mask)
            return layer("pool")(layer("norm")(tokens + mixed), mask=mask)
        return layer("encoder")(tokens, mask=mask)

    def logit(self, encoded, stars):
        hidden = self.model.get_layer("hidden")(tf.concat([encoded, stars], 1))
        score = self.model.get_layer("score")
        return (hidden @ score.kernel + score.bias)[:, 0]


@pytest.mark.parametrize("name", _NAMES)
def test_tokens_agree_with_the_tape_behind_the_embedding(name, load):
    """Policy `element`: the path goes through the embedding's rows; the mask stays the row's own."""
    exported, model, rows, baseline = load(name, "element")
    bare = Bare(exported)
    (ids, stars), (ids_b, stars_b) = bare.inputs(exported.examples[:_ROWS]), bare.inputs([exported.input_baseline])
    (x, mask), (b, _) = bare.tokens(ids), bare.tokens(ids_b)
    rule = gauss_legendre(_STEPS)
    got = model.path_gradients(rows, baseline, 0, *rule, elements={"text"})
    by_token, by_star = by_element(
        lambda points: bare.logit(bare.encoded(points[0], mask), points[1]), [x, stars], [b, stars_b], *rule
    )
    total = np.abs(by_token.sum(2)).sum(1) + np.abs(by_star).sum(1)
    assert model.features == ("stars", "text")
    assert_close(got.prediction, bare.logit(bare.encoded(x, mask), stars).numpy(), total)
    assert_close(got.attributions[:, 0], by_star.sum(1), total)
    assert_close(got.attributions[:, 1], by_token.sum((1, 2)), total)
    assert_close(got.elements["text"], by_token.sum(2), total)
    assert (got.elements["text"][(ids == 0) & (ids_b == 0)] == 0).all()


@pytest.mark.parametrize("name", ["ids_gru", "text_lstm"])
def test_a_masked_recurrent_network_is_cut_behind_its_last_state(name, load):
    """Policy `feature`: nothing of the text is frozen, so that attributions are complete to the empty text."""
    exported, model, rows, baseline = load(name, "feature")
    bare = Bare(exported)
    (ids, stars), (ids_b, stars_b) = bare.inputs(exported.examples[:_ROWS]), bare.inputs([exported.input_baseline])
    x, b = bare.encoded(*bare.tokens(ids)), bare.encoded(*bare.tokens(ids_b))
    rule = gauss_legendre(_STEPS)
    got = model.path_gradients(rows, baseline, 0, *rule)
    by_state, by_star = by_element(lambda points: bare.logit(*points), [x, stars], [b, stars_b], *rule)
    expected = np.stack([by_star.sum(1), by_state.sum(1)], 1)
    total = np.abs(expected).sum(1)
    assert_close(got.attributions, expected, total)
    assert_close(got.attributions.sum(1), got.prediction - got.baseline_prediction, total)
    assert model.cut_shapes["text"] == ((12,),)


def test_the_policy_element_converges_though_the_mask_stays():
    """Pinned, it is tried out on the sample against the text at the baseline under the row's own mask."""
    exported = export("ids_gru")
    model = FeatureModel.load(
        exported.path,
        sample=exported.examples[:8],
        input_baseline=exported.input_baseline,
        cut_policies={"text": "element"},
    )
    assert model.cut_policies == {"stars": "feature", "text": "element"}


def test_attention_over_a_masked_text_is_complete_under_the_policy_that_is_chosen():
    """The masks, as numbers, must not be walked through: between two masks lies none."""
    exported = export("ids_attention")
    model = FeatureModel.load(exported.path, sample=exported.examples[:8], input_baseline=exported.input_baseline)
    assert model.cut_policies == {"stars": "feature", "text": "latest"}
    rows, baseline = model.encode(exported.examples[:_ROWS]), model.encode([exported.input_baseline])
    result = integrated_gradients(model, rows, baseline, 0, num_steps=_STEPS, repair_steps=())
    assert_close(result.convergence_delta, np.zeros(_ROWS), np.abs(result.attributions).sum(1))


def test_the_imdb_example_has_an_attribution_for_each_token():
    exported = export("imdb")
    model = FeatureModel.load(exported.path, sample=exported.examples[:2])
    assert (model.features, model.cut_policies) == (("text",), {"text": "feature"})
    assert model.cut_shapes == {"text": ((400, 64),)}
    rows, baseline = model.encode(exported.examples[:3]), model.encode([exported.input_baseline])
    rule = gauss_legendre(8)
    got = model.path_gradients(rows, baseline, 0, *rule, elements={"text"})

    bare = exported.keras_model()
    embedding = next(layer for layer in bare.layers if type(layer).__name__ == "Embedding")
    behind = bare.layers[bare.layers.index(embedding) + 1 :]

    def score(points):
        hidden = points[0]
        for layer in behind:
            hidden = layer(hidden)
        return hidden[:, 0]

    x = tf.constant(cut_of(rows, "text"))
    b = tf.constant(cut_of(baseline, "text"))
    table = embedding.embeddings.numpy()
    assert (np.abs(x.numpy()[:, :, None, :2] - table[None, None, :, :2]).sum(3).min(2) == 0).all()
    np.testing.assert_array_equal(b, np.broadcast_to(table[0], b.shape))
    texts = [tf.train.Example.FromString(r).features.feature["text"].bytes_list.value[0] for r in rows.examples]
    assert model.tokens(rows, "text") == [text.decode().split()[:400] for text in texts]
    (by_token,) = by_element(score, [x], [b], *rule)
    total = np.abs(by_token.sum(2)).sum(1)
    delta = np.abs(got.attributions.sum(1) - (got.prediction - got.baseline_prediction))
    assert_close(got.elements["text"], by_token.sum(2), total, delta)
    assert_close(got.attributions[:, 0], by_token.sum((1, 2)), total, delta)


def test_tokens_are_those_that_the_graph_splits_the_text_into(load):
    exported, model, rows, _ = load("text_lstm", "element")
    texts = [tf.train.Example.FromString(r).features.feature["text"].bytes_list.value[0] for r in rows.examples]
    assert model.tokens(rows, "text") == [text.decode().split() for text in texts]
    assert model.tokens(rows, "stars") is None
    _, by_ids, encoded, _ = load("ids_gru", "element")
    assert by_ids.tokens(encoded, "text") is None


def test_elements_that_do_not_end_with_their_tokens_have_no_names():
    padded = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [4, 5, 6, 7]], float)[..., None]
    assert follows_its_tokens(padded, np.array([2, 1, 4]))
    assert follows_its_tokens(padded, np.array([2, 1, 9]))
    assert not follows_its_tokens(padded, np.array([1, 1, 4]))  # a start token more
    assert not follows_its_tokens(padded, np.array([3, 1, 4]))  # a word left out
    assert not follows_its_tokens(padded[2:], np.array([4]))  # no padding to see


def cut_of(encoded, feature):
    """The one cut tensor of a feature."""
    found = []
    encoded.mapped(lambda cuts: found.extend(cuts[feature]) or cuts)
    (tensor,) = found
    return tensor.numpy()
