"""`tfx-explain explain` in a process of its own, as a user calls it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from tests.fixtures.exported_models.export import export

pytestmark = pytest.mark.pipeline


def test_explain_then_validate(tmp_path):
    model = export("bucketize_smooth")
    with tf.io.TFRecordWriter(str(tmp_path / "rows.tfrecord")) as writer:
        for row in model.examples:
            writer.write(row)
    (tmp_path / "explain.yaml").write_text("batch_size: 128\n")
    (tmp_path / "policy.yaml").write_text(
        "without_reference: {absolute_checks_decide: {until: 2999-01-01}}\nevidence: {min_effective_rows: 100}\n"
        "checks: {max_share: {threshold: 1.0}}\n"
    )
    command = str(Path(sys.executable).parent / "tfx-explain")

    def call(*arguments):
        done = subprocess.run(
            [command, *arguments], cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}
        )
        return done.returncode, done.stdout, done.stderr

    code, out, err = call(
        *("explain", "--model", model.path, "--examples", "*.tfrecord"),
        *("--config", "explain.yaml", "--output", "attributions", "--max-examples", "300"),
    )
    assert code == 0, err
    assert "report: attributions/report.html" in out
    assert "300/300" in err
    assert "Traceback" not in err and "Warning" not in err and "WARNING" not in err
    assert "no metrics and no permutation importance: the configuration names no label" in out
    steps = [
        "loading TensorFlow and Beam ...",
        "explaining a few rows",
        "reading and sampling; at most 300 rows, about",
    ]
    steps += ["all rows explained; adding up ...", "writing the tables and the page ..."]
    places = [err.index(step) for step in steps]
    assert places == sorted(places), err
    code, out, err = call(
        *("validate", "--attributions", "attributions", "--config", "policy.yaml", "--output", "verdict")
    )
    assert (code, "PASS" in out) == (0, True), out + err
    assert (tmp_path / "verdict" / "reference" / "manifest.json").exists()
