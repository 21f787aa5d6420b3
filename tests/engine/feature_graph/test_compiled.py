import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tests.fixtures.exported_models.export import export

from tfx_explain.engine.feature_graph import CompiledModel, Encoded, FeatureModel, PathIntegral
from tfx_explain.engine.feature_graph.compiled import LEAST_ROWS, alike
from tfx_explain.engine.methods.expected_gradients import expected_gradients
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients
from tfx_explain.engine.methods.quadrature import gauss_legendre

pytestmark = pytest.mark.tf

ROOT = Path(__file__).resolve().parents[3]
ROWS = LEAST_ROWS + 64
RULE = gauss_legendre(20)


def loaded(name):
    exported = export(name)
    model = FeatureModel.load(exported.path, sample=exported.examples[:16])
    rows = [exported.examples[i % len(exported.examples)] for i in range(ROWS)]
    return model, model.encode(rows), model.encode([exported.input_baseline])


class Watched:
    """Whether a model is asked for compiled paths."""

    def __init__(self, model, monkeypatch):
        self.asked = []
        own = model.path_gradients

        def path_gradients(encoded, *arguments, compiled=False, **options):
            self.asked.append((len(encoded), compiled))
            return own(encoded, *arguments, compiled=compiled, **options)

        monkeypatch.setattr(model, "path_gradients", path_gradients)


@pytest.mark.parametrize("name", ["vocabulary_relu", "missing_smooth", "taxi", "mnist"])
def test_compiled_attributions_are_the_plain_ones(name, monkeypatch):
    model, encoded, baseline = loaded(name)
    plain = model.path_gradients(encoded, baseline, 0, *RULE)
    watched, compiled = Watched(model, monkeypatch), CompiledModel(model)
    got = compiled.path_gradients(encoded, baseline, 0, *RULE)
    assert watched.asked[-1] == (ROWS, True) and compiled.compiles
    assert alike(plain, got, ROWS)
    np.testing.assert_allclose(got.baseline_prediction, plain.baseline_prediction, rtol=1e-5, atol=1e-6)
    again = compiled.path_gradients(encoded, baseline, 0, *RULE)
    np.testing.assert_array_equal(again.attributions, got.attributions)
    assert len(watched.asked) == 4  # the sample on both ways once, then twice


@pytest.mark.parametrize("name", ["digit_files", "imdb"])
def test_models_that_xla_does_not_suit_are_explained_plainly(name, monkeypatch):
    exported = export(name)
    model = FeatureModel.load(exported.path, sample=exported.examples[:16])
    compiled = CompiledModel(model)
    assert not compiled.suits
    encoded, baseline = model.encode(exported.examples[:8]), model.encode([exported.input_baseline])
    watched = Watched(model, monkeypatch)
    compiled.path_gradients(encoded, baseline, 0, *RULE)
    assert watched.asked == [(8, False)]


def test_small_batches_and_repairs_are_not_compiled(monkeypatch):
    model, encoded, baseline = loaded("vocabulary_relu")
    watched, compiled = Watched(model, monkeypatch), CompiledModel(model)
    few = encoded.take(np.arange(LEAST_ROWS - 1))
    plain = model.path_gradients(few, baseline, 0, *RULE)
    np.testing.assert_array_equal(compiled.path_gradients(few, baseline, 0, *RULE).attributions, plain.attributions)
    integrated_gradients(compiled, encoded, baseline, 0, num_steps=2, repair_steps=(4,), tolerance=1e-6)
    assert (64, False) in watched.asked and (ROWS, True) in watched.asked
    assert (64, True) not in watched.asked


def test_baselines_of_their_own_and_expected_gradients_are_compiled(monkeypatch):
    model, encoded, baseline = loaded("missing_smooth")
    watched, compiled = Watched(model, monkeypatch), CompiledModel(model)
    own = encoded.take(np.arange(ROWS)[::-1])
    plain = model.path_gradients(encoded, own, 0, *RULE)
    assert alike(plain, compiled.path_gradients(encoded, own, 0, *RULE), ROWS)
    background = [baseline, encoded.take(np.array([3]))]
    of_plain, of_compiled = (expected_gradients(each, encoded, background, 0) for each in (model, compiled))
    np.testing.assert_allclose(of_compiled.attributions, of_plain.attributions, atol=1e-5)
    assert watched.asked.count((ROWS, True)) == 2 + 3  # one more for each shape: the sample


def test_an_attention_whose_mask_is_cut_is_explained_as_without_a_compiler():
    """Keras 3.6 has a mask of -1e9, which is interpolated: gradients of 1e-8, that XLA rounds otherwise, times 1e9."""
    model, encoded, baseline = loaded("ids_attention")
    compiled = CompiledModel(model)
    assert compiled.suits
    plain, got = (each.path_gradients(encoded, baseline, 0, *RULE) for each in (model, compiled))
    if compiled.compiles:  # with later releases of Keras
        assert alike(plain, got, ROWS)
    else:
        np.testing.assert_array_equal(got.attributions, plain.attributions)


def test_a_compiler_that_differs_is_not_used(monkeypatch):
    model, encoded, baseline = loaded("missing_smooth")
    own = model.path_gradients
    expected = own(encoded, baseline, 0, *RULE)

    def wrong(*arguments, compiled=False, **options):
        found = own(*arguments, **options)
        return (
            PathIntegral(found.attributions * 1.01, found.prediction, found.baseline_prediction) if compiled else found
        )

    monkeypatch.setattr(model, "path_gradients", wrong)
    got = CompiledModel(model).path_gradients(encoded, baseline, 0, *RULE)
    np.testing.assert_array_equal(got.attributions, expected.attributions)


def test_a_compiler_that_refuses_is_not_used(monkeypatch):
    model, encoded, baseline = loaded("missing_smooth")
    own = model.path_gradients

    def refusing(*arguments, compiled=False, **options):
        if compiled:
            raise tf.errors.InvalidArgumentError(None, None, "no kernel")
        return own(*arguments, **options)

    monkeypatch.setattr(model, "path_gradients", refusing)
    got = CompiledModel(model).path_gradients(encoded, baseline, 0, *RULE)
    np.testing.assert_array_equal(got.attributions, own(encoded, baseline, 0, *RULE).attributions)


def test_a_width_that_the_sample_does_not_have_is_not_compiled(monkeypatch):
    """Each width would be compiled again; the part behind the cut might take it, or refuse it."""
    model, encoded, baseline = loaded("vocabulary_relu")
    compiled = CompiledModel(model)
    expected = compiled.path_gradients(encoded, baseline, 0, *RULE)
    asked = []
    monkeypatch.setattr(model, "path_gradients", lambda *_, compiled=False, **__: asked.append(compiled) or expected)
    cuts = tuple(tf.concat([cut, cut[..., :1]], -1) for cut in encoded.cuts)
    wider = Encoded(encoded.examples, cuts, encoded.frozen, encoded.columns, model.encode)
    compiled.path_gradients(encoded, baseline, 0, *RULE)
    compiled.path_gradients(wider, baseline, 0, *RULE)
    assert asked == [True, False]


def test_elements_and_compiling_exclude_each_other():
    model, encoded, baseline = loaded("missing_smooth")
    with pytest.raises(ValueError, match="elements must be empty where compiled"):
        model.path_gradients(encoded, baseline, 0, *RULE, elements=[model.features[0]], compiled=True)


def test_one_flipped_relu_is_rounding_and_a_shift_of_all_rows_is_not():
    attributions = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
    values = np.ones(64, np.float32)
    plain = PathIntegral(attributions, values, values)

    def moved(rows, by):
        other = attributions.copy()
        other[:rows, 0] += by * np.abs(attributions[:rows]).sum(axis=1)
        return PathIntegral(other, values, values)

    assert alike(plain, plain, 64)
    assert alike(plain, moved(8, 0.01), 64)
    assert not alike(plain, moved(9, 0.01), 64)
    assert not alike(plain, moved(1, 0.06), 64)
    assert not alike(plain, PathIntegral(attributions, values * 1.001, values), 64)
    nothing = PathIntegral(np.full_like(attributions, np.nan), values, values)
    assert not alike(nothing, nothing, 64)
    broken = attributions.copy()
    broken[5] = np.nan
    assert not alike(plain, PathIntegral(broken, values, values), 64)
    assert alike(PathIntegral(broken, values, values), PathIntegral(broken, values, values), 64)


def digest(threads):
    """What has to be the same bytes whatever the threads; run in a process of its own."""
    import hashlib

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    model, encoded, baseline = loaded("vocabulary_relu")
    compiled = CompiledModel(model)
    found = integrated_gradients(compiled, encoded, baseline, 0)
    return [
        compiled.compiles,
        *(hashlib.sha256(a.tobytes()).hexdigest() for a in (found.attributions, found.prediction)),
    ]


def test_threads_do_not_change_the_bytes():
    code = "import json; from tests.engine.feature_graph.test_compiled import digest; print(json.dumps(digest({})))"
    outputs = []
    for threads in (1, 4):
        done = subprocess.run(
            [sys.executable, "-c", code.format(threads)],
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'components'}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        outputs.append(json.loads(done.stdout.splitlines()[-1]))
    assert outputs[0] == outputs[1]
    assert outputs[0][0] is True
