"""What a verdict's page leads to: followed from where it lies, and left as text where no browser can follow."""

import datetime
import json
import shutil
from pathlib import Path

import pytest
from tests.fixtures.artifacts import write_attributions, write_model
from tests.fixtures.synthetic import HONEST, Additive
from tests.report.page_reader import Page
from tests.report.report_data import anomalies, result

from tfx_explain.artifacts.manifest import Stage, read_manifest
from tfx_explain.attribution_validator import files_behind as module
from tfx_explain.attribution_validator.anomalies import write_anomalies
from tfx_explain.attribution_validator.evidence import judge_artifacts
from tfx_explain.attribution_validator.files_behind import files_behind
from tfx_explain.config import ValidationConfig
from tfx_explain.report.anomalies import render_anomalies

pytestmark = pytest.mark.tf

TODAY = datetime.date(2026, 1, 1)


def attributions(folder: Path) -> str:
    model = Additive(HONEST, seed=1)
    uri = write_model(folder / "model", json.dumps(model.weights))
    return write_attributions(folder / "ExplainerGen" / "attributions" / "51", model, uri)


def judged_page(uri: str, folder: Path) -> Path:
    """The page of a refusal, for want of a reference."""
    write_anomalies(str(folder), judge_artifacts(uri, [], ValidationConfig(), TODAY), ValidationConfig())
    return folder / "report.html"


@pytest.mark.parametrize("root", ["root", "a root #1, 100%"])
def test_links_lead_to_the_attributions_and_to_the_data(tmp_path, root):
    uri = attributions(tmp_path / root)
    page = judged_page(uri, tmp_path / root / "AttributionValidator" / "anomalies" / "52")
    found = Page(page.read_text()).links_from(page)
    assert found == [
        Path(uri, "report.html"), page.parent / "anomalies.json",
        *(Path(uri, name) for name in ("summary.json", "slice_statistics.parquet")),
    ]  # fmt: skip
    assert all(path.is_file() for path in found)
    assert f"Attributions: {uri}/report.html As data: anomalies.json , summary.json" in Page(page.read_text()).text


def test_links_hold_where_all_was_moved(tmp_path):
    uri = attributions(tmp_path / "root")
    page = judged_page(uri, tmp_path / "root" / "AttributionValidator" / "anomalies" / "52")
    moved = shutil.move(tmp_path / "root", tmp_path / "elsewhere")
    page = Path(moved, page.relative_to(tmp_path / "root"))
    assert all(path.is_file() for path in Page(page.read_text()).links_from(page))


def test_a_relative_path_is_told_from_the_root(tmp_path, monkeypatch):
    attributions(tmp_path)
    monkeypatch.chdir(tmp_path)
    page = judged_page("ExplainerGen/attributions/51", Path("verdict", "anomalies"))
    assert all(path.is_file() for path in Page(page.read_text()).links_from(page))
    assert f"Attributions: {tmp_path}/ExplainerGen/attributions/51/report.html" in Page(page.read_text()).text


def test_attributions_that_cannot_be_judged_have_a_page_all_the_same(tmp_path):
    """Then most of all: it says why."""
    uri = attributions(tmp_path)
    (Path(uri) / "manifest.json").unlink()
    page = judged_page(uri, tmp_path / "anomalies")
    assert Page(page.read_text()).links_from(page)[0] == Path(uri, "report.html")
    (Path(uri) / "report.html").unlink()
    page = judged_page(uri, tmp_path / "anomalies")
    assert [path.name for path in Page(page.read_text()).links_from(page)][:2] == ["anomalies.json", "summary.json"]
    page = judged_page(str(tmp_path / "never written"), tmp_path / "anomalies")
    assert [path.name for path in Page(page.read_text()).links_from(page)] == ["anomalies.json"]
    assert "Attributions:" not in Page(page.read_text()).text


def test_evaluators_result_is_named_whether_or_not_the_model_was_explained(tmp_path):
    """Its refusal sends the reader there."""
    uri = attributions(tmp_path)
    for status in ("explained", "not_explained"):
        manifest = read_manifest(uri, "ModelAttributions")
        files = {name: manifest.read(name) for name in manifest.sha256}
        summary = json.loads(files["summary.json"]) | {
            "evaluation": "/evaluation/50",
            "status": status,
            "reason": "no.",
        }
        stage = Stage(uri)
        for name, data in (files | {"summary.json": json.dumps(summary)}).items():
            stage.write(name, data)
        stage.finish("ModelAttributions")
        page = Page(judged_page(uri, tmp_path / status).read_text())
        assert "Evaluator's result of this model: /evaluation/50" in page.text
    assert "The model was not explained: no. " in page.text
    assert "Evaluator's result" not in Page(judged_page(str(tmp_path), tmp_path / "none").read_text()).text


def test_storage_without_a_browser_is_told_as_text(tmp_path, monkeypatch):
    def exists(path, real=module.fileio.exists):
        return real(path.replace("gs://bucket", str(tmp_path)))

    uri = attributions(tmp_path).replace(str(tmp_path), "gs://bucket")
    monkeypatch.setattr(module.fileio, "exists", exists)
    drawn = files_behind("gs://bucket/AttributionValidator/anomalies/52", uri)
    page = Page(render_anomalies(anomalies(result("max_share", "FAIL")), files=drawn))
    said = f"Attributions: {uri}/report.html As data: anomalies.json , summary.json , slice_statistics.parquet"
    assert said in page.text
    assert "a" not in page.names
