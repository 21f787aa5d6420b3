import numpy as np
import pytest
import tensorflow as tf
from tests.engine.feature_graph.small_models import NAMES, SPEC, columns, network, numbers, random_matrix, save
from tests.fixtures.exported_models.examples import serialise
from tests.fixtures.exported_models.export import export

from tfx_explain.engine.feature_graph import ConvergenceError, CutPolicyError, FeatureModel, SignatureError
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients

pytestmark = pytest.mark.tf

X = random_matrix(32)
BASELINE = numbers(np.zeros((1, 3)))[0]


def without(example, feature):
    row = tf.train.Example.FromString(example)
    row.features.feature.pop(feature, None)
    return row.SerializeToString(deterministic=True)


def test_a_masked_mean_is_cut_behind_the_mask_where_the_path_is_singular():
    exported = export("masked_mean_smooth")
    empty = without(exported.input_baseline, "scores")
    model = FeatureModel.load(exported.path, sample=exported.examples[:16], input_baseline=empty)
    assert model.cut_policies == {"number": "feature", "other": "feature", "scores": "latest"}
    result = integrated_gradients(model, model.encode(exported.examples[:100]), model.encode([empty]), 0)
    assert result.converged.all()


def test_a_pinned_policy_that_does_not_converge_is_refused_and_named():
    exported = export("masked_mean_smooth")
    empty = without(exported.input_baseline, "scores")
    with pytest.raises(CutPolicyError, match="'scores': 'feature'"):
        FeatureModel.load(
            exported.path, sample=exported.examples[:16], input_baseline=empty, cut_policies={"scores": "feature"}
        )


def test_a_pinned_policy_is_used_as_it_is():
    exported = export("masked_mean_smooth")
    model = FeatureModel.load(
        exported.path,
        sample=exported.examples[:16],
        input_baseline=exported.input_baseline,
        cut_policies={"scores": "latest", "gone": "feature"},
    )
    assert model.cut_policies == {"number": "feature", "other": "feature", "scores": "latest"}
    assert any("gone" in note for note in model.notes)


def test_a_feature_that_is_called_as_a_cross_is_tried_and_pinned_as_itself(tmp_path):
    """Its trial rows varied two features that there are not, so that whatever cut it had was found good."""
    name = "a x b"

    def jumps(parsed, _):
        return {"score": tf.math.floormod(parsed[name], 0.5) * parsed["c"]}

    path = save(tmp_path / "m", jumps, {name: SPEC["a"], "c": SPEC["c"]})
    rows = [serialise({name: [float(a)], "c": [float(c)]}) for a, _, c in X]
    arguments = {"sample": rows[:16], "input_baseline": serialise({name: [0.1], "c": [0.5]})}
    model = FeatureModel.load(path, **arguments)
    assert model.cut_policies == {name: "latest", "c": "feature"}
    assert FeatureModel.load(path, **arguments, cut_policies=model.cut_policies).cut_policies == model.cut_policies


def test_a_feature_that_is_called_as_a_cross_of_the_same_model_is_refused(tmp_path):
    name = "p x q"
    table = tf.constant(np.arange(16, dtype=np.float32)[:, None])

    def crossed(parsed, _):
        key = tf.strings.to_hash_bucket_fast(tf.strings.join([parsed["q"], parsed["p"]], "|"), 16)
        return {"score": parsed[name] + tf.gather(table, key)}

    text = tf.io.FixedLenFeature([], tf.string)
    path = save(tmp_path / "m", crossed, {name: SPEC["a"], "p": text, "q": text})
    rows = [serialise({name: [float(a)], "p": [str(i % 3)], "q": [str(i % 2)]}) for i, (a, *_) in enumerate(X)]
    with pytest.raises(SignatureError, match=r"'p x q', and the cross of \['p', 'q'\]. Rename"):
        FeatureModel.load(path, sample=rows[:16])


def test_a_quotient_without_remainder_is_cut_behind_itself(tmp_path):
    """TensorFlow registers a gradient for it, which gives none."""

    def floors(parsed, _):
        return {"score": (parsed["a"] // 0.5) * parsed["c"]}

    model = FeatureModel.load(save(tmp_path / "m", floors), sample=numbers(X[:16]))
    result = integrated_gradients(model, model.encode(numbers(X)), model.encode(numbers([[0.1, 0.1, 0.5]])), 0)
    assert result.converged.all()
    a = X[:, 0] // 0.5
    np.testing.assert_allclose(
        result.attributions, np.stack([a * (X[:, 2] + 0.5) / 2, a * (X[:, 2] - 0.5) / 2], 1), atol=1e-5
    )


def test_rows_that_the_model_gives_no_number_for_say_nothing_of_a_cut(tmp_path):
    path = save(tmp_path / "m", lambda parsed, _: {"score": tf.math.log(parsed["a"]) + parsed["b"]})
    assert (X[:16, 0] < 0).any() and (X[:16, 0] > 0).any()
    model = FeatureModel.load(path, sample=numbers(X[:16]), input_baseline=numbers([[1.0, 0.0, 0.0]])[0])
    assert model.cut_policies == {"a": "feature", "b": "feature"}


def test_numbers_of_like_names_are_cut_apart(tmp_path):
    """The edges of 'x/y' and 'x.y' were split by one node, which gave both the values of one."""

    def serve(parsed, _):
        one, other = tf.identity(2.0 * parsed["a"], name="x/y"), tf.identity(3.0 * parsed["b"], name="x.y")
        high = tf.where(one > 0.3, 1.0, 0.0) + tf.where(other > 0.1, 1.0, 0.0)
        return {"score": tf.tanh(one) * parsed["c"] + 2.0 * tf.tanh(other) + high * parsed["c"]}

    model = FeatureModel.load(save(tmp_path / "m", serve), sample=numbers(X[:16]), input_baseline=BASELINE)
    assert model.features == ("a", "b", "c")


def test_policies_that_are_recorded_can_be_pinned():
    exported = export("masked_mean_smooth")
    empty = without(exported.input_baseline, "scores")
    arguments = {"sample": exported.examples[:16], "input_baseline": empty}
    chosen = FeatureModel.load(exported.path, **arguments)
    pinned = FeatureModel.load(exported.path, **arguments, cut_policies=chosen.cut_policies)
    assert pinned.cut_policies == chosen.cut_policies
    results = [
        integrated_gradients(model, model.encode(exported.examples[:20]), model.encode([empty]), 0).attributions
        for model in (chosen, pinned)
    ]
    np.testing.assert_array_equal(*results)


def test_an_unknown_policy_is_refused():
    exported = export("masked_mean_smooth")
    with pytest.raises(CutPolicyError, match=r"must be one of \['feature', 'latest', 'element'\]. Received: 'first'"):
        FeatureModel.load(exported.path, sample=exported.examples[:16], cut_policies={"scores": "first"})


def test_a_feature_that_converges_under_no_policy_is_named(tmp_path):
    def steep(parsed, _):
        z = columns(parsed)
        return {"score": tf.reduce_sum(z, 1) + 5 * tf.clip_by_value((z[:, 1] + z[:, 0] - 0.3) * 1e6, 0, 1)}

    path = save(tmp_path / "m", steep)
    with pytest.raises(ConvergenceError, match=r"\['a', 'b'\]"):
        FeatureModel.load(path, sample=numbers(X), input_baseline=BASELINE)


def test_a_crossed_cut_bears_both_names(tmp_path):
    net = network(width=4)
    table = tf.constant(np.random.default_rng(4).normal(size=(16, 1)).astype(np.float32))
    strings = {name: tf.io.FixedLenFeature([], tf.string) for name in ("p", "q")}

    def crossed(parsed, _):
        key = tf.strings.to_hash_bucket_fast(tf.strings.join([parsed["q"], parsed["p"]], "|"), 16)
        return {"score": net(tf.concat([columns(parsed), tf.gather(table, key)], 1))}

    path = save(tmp_path / "m", crossed, {**SPEC, **strings}, net)
    rng = np.random.default_rng(5)

    def row(values):
        numbers_ = {name: [float(v)] for name, v in zip(NAMES, values, strict=True)}
        return serialise({**numbers_, "p": [str(rng.integers(4))], "q": [str(rng.integers(4))]})

    rows, baseline = [row(values) for values in X], row(np.zeros(3))
    model = FeatureModel.load(path, sample=rows[:16], input_baseline=baseline)
    assert model.features == ("a", "b", "c", "p x q")
    result = integrated_gradients(model, model.encode(rows), model.encode([baseline]), 0)
    assert result.converged.all()
    assert (np.abs(result.attributions).mean(axis=0) > 1e-3).all()
    with pytest.raises(CutPolicyError, match="'p x q' is a cut of several features"):
        FeatureModel.load(path, sample=rows[:16], cut_policies={"p x q": "latest"})


def test_features_without_path_and_without_gradient_are_listed(tmp_path):
    net = network(width=2)

    def partly(parsed, _):
        rounded = tf.cast(parsed["c"] > 0, tf.int32)  # an index: no gradient leads through it
        tables = tf.constant([[1.0, 1.0], [0.5, 1.5]])
        z = tf.concat([parsed["a"], parsed["a"] ** 2], 1)
        return {"score": tf.reduce_sum(net(z) * tf.gather(tables, rounded[:, 0]), 1)}

    path = save(tmp_path / "m", partly, module=net)
    model = FeatureModel.load(path, sample=numbers(X[:8]))
    assert model.unused_features == ("b",)
    assert "a" in model.features
    assert set(model.features) | set(model.uncovered_features) == {"a", "c"}


def test_a_constant_column_has_finite_attributions_of_zero():
    exported = export("constant_relu")
    model = FeatureModel.load(exported.path, sample=exported.examples[:16], input_baseline=exported.input_baseline)
    assert set(model.cut_policies.values()) == {"feature"}
    rows = model.encode(exported.examples[:50])
    result = integrated_gradients(model, rows, model.encode([exported.input_baseline]), 0)
    assert np.isfinite(result.attributions).all()
    assert (result.attributions[:, model.features.index("constant")] == 0).all()
    assert np.isfinite(model.gradients(rows, 0)["constant"]).all()
