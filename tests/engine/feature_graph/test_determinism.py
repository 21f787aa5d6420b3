import concurrent.futures
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.fixtures.exported_models.export import export

from tfx_explain.engine.feature_graph import FeatureModel
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients

pytestmark = pytest.mark.tf

ROOT = Path(__file__).resolve().parents[3]


def load(name):
    exported = export(name)
    model = FeatureModel.load(exported.path, sample=exported.examples[:16], input_baseline=exported.input_baseline)
    return exported, model


def explain(model, examples, baseline):
    return integrated_gradients(model, model.encode(examples), model.encode([baseline]), 0)


def facts(name):
    """What has to be the same in every process."""
    exported, model = load(name)
    result = explain(model, exported.examples[:128], exported.input_baseline)
    return {
        "features": model.features,
        "unused": model.unused_features,
        "policies": list(model.cut_policies.items()),
        "notes": model.notes,
        "attributions": hashlib.sha256(result.attributions.tobytes()).hexdigest(),
        "steps": hashlib.sha256(result.num_steps.tobytes()).hexdigest(),
    }


def test_a_row_depends_on_the_shape_of_its_batch_only():
    exported, model = load("missing_relu")
    first = explain(model, exported.examples[:100], exported.input_baseline)
    explain(model, exported.examples[:7], exported.input_baseline)
    explain(model, exported.examples[200:400], exported.input_baseline)
    again = explain(model, exported.examples[:100], exported.input_baseline)
    np.testing.assert_array_equal(first.attributions, again.attributions)
    company = explain(model, exported.examples[:50] + exported.examples[300:350], exported.input_baseline)
    np.testing.assert_array_equal(first.attributions[:50], company.attributions[:50])


def test_rows_that_are_taken_are_the_rows_encoded_alone():
    exported, model = load("vocabulary_relu")
    rows = np.array([5, 3, 3, 60])
    taken = model.encode(exported.examples[:64]).take(rows)
    alone = model.encode([exported.examples[row] for row in rows])
    for a, b in zip((*taken.cuts, *taken.frozen), (*alone.cuts, *alone.frozen), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert len(taken) == 4


def test_threads_share_one_model():
    exported, model = load("raw_and_bucketised_relu")
    blocks = [exported.examples[start : start + 64] for start in range(0, 512, 64)]
    expected = [explain(model, block, exported.input_baseline).attributions for block in blocks]
    fresh = load("raw_and_bucketised_relu")[1]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda block: explain(fresh, block, exported.input_baseline).attributions, blocks))
    for a, b in zip(expected, results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_process_cuts_and_computes_alike():
    code = "import json; from tests.engine.feature_graph.test_determinism import facts; print(json.dumps(facts({!r})))"
    here = json.loads(json.dumps(facts("missing_relu")))
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code.format("missing_relu")],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'components'}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert json.loads(done.stdout.splitlines()[-1]) == here
