"""The notebook, run without a browser in a kernel of its own, on a small artifact."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tfx_explain.engine.aggregates.intervals import Measured
from tfx_explain.explainer_gen.eval_result import SliceResult, write_eval_result

pytestmark = pytest.mark.pipeline

FOLDER = Path(__file__).resolve().parents[3] / "pipelines" / "notebooks"


def around(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def entry(key, gap):
    return {
        "slice": key,
        "feature": "fare",
        "metric": "auc",
        "gap": around(gap),
        "shift": around(0.25),
        "score": 0.25 * abs(gap),
    }


def artifact(folder: Path, keys, status="explained"):
    def put(path, data):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)

    results = [
        SliceResult(
            key,
            {"auc": Measured(0.75 + i / 8, 0.5, 1.0), "example_count": Measured(10.0, float("nan"), float("nan"))},
            {
                "mean_absolute_attributions": {"fare": Measured(1.125 + i, 0.0, 9.0), "miles": Measured(0.5, 0.25, 1)},
                "permutation_auc_drop": {"fare": Measured(0.0625, 0.0, 0.125)},
            },
        )
        for i, key in enumerate(keys)
    ]
    write_eval_result("tfma", None, "model", results, put)
    drop = {"value": 0.4375, "low": 0.25, "high": 0.5}
    profiting = {
        "slice": "hour=4",
        "feature": "fare",
        "metric": "binary_crossentropy",
        "drop": drop,
        "overall_drop": drop,
    }
    summary = {
        "status": status,
        "reason": "" if status == "explained" else "Evaluator refused the model",
        "weak_slices": [entry("hour=3", 0.3125)] if len(keys) > 1 else [],
        "profiting_slices": [profiting] if len(keys) > 1 else [],
    }
    put("summary.json", json.dumps(summary).encode())
    return str(folder)


def run(folder, output):
    command = [sys.executable, str(FOLDER / "run.py"), folder, "--output", str(output)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def texts(path):
    """Plain text of each cell's results, by the cell's id."""
    out = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.execution_count is not None
            shown = [o for o in cell.outputs if o.output_type in ("execute_result", "display_data")]
            out[cell.id] = "\n".join(o.data["text/plain"] for o in shown)
    return out


def test_every_cell_runs_and_shows_the_artifacts_numbers(tmp_path):
    keys = [(), (("hour", 3),), (("hour", 4),), (("company", "x"),), (("company", "x"), ("hour", 3))]
    done = run(artifact(tmp_path / "artifact", keys), tmp_path / "seen.ipynb")
    assert done.returncode == 0, done.stderr
    seen = texts(tmp_path / "seen.ipynb")
    assert "1.125 [0, 9]" in seen["overall"]
    assert "0.0625 [0, 0.125]" in seen["overall"]
    for name in ("overall-view", "slices-view", "metrics-view"):
        assert "SlicingMetricsViewer" in seen[name]
    by_slice = seen["slices"].splitlines()
    assert by_slice[1].split() == ["hour"]
    assert [line.split()[0] for line in by_slice[2:]] == ["Overall", "3", "4"]
    assert "2.125 [0, 9]" in seen["slices"]
    assert "company=x, hour=3" in seen["metrics"]
    assert "0.3125" in seen["weak"]
    assert "hour=3" in seen["weak"]
    assert "0.4375" in seen["profiting"]


def test_an_artifact_without_slices_is_shown(tmp_path):
    done = run(artifact(tmp_path / "artifact", [()]), tmp_path / "seen.ipynb")
    assert done.returncode == 0, done.stderr
    seen = texts(tmp_path / "seen.ipynb")
    assert "1.125 [0, 9]" in seen["overall"]
    assert seen["slices-view"] == ""


def test_a_model_that_was_not_explained_fails_with_the_reason(tmp_path):
    done = run(artifact(tmp_path / "artifact", [()], status="not_explained"), tmp_path / "seen.ipynb")
    assert done.returncode == 1
    assert "Evaluator refused the model" in done.stderr
    assert not (tmp_path / "seen.ipynb").exists()


def test_the_notebook_is_stored_without_outputs():
    cells = nbformat.read(FOLDER / "attributions.ipynb", as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
