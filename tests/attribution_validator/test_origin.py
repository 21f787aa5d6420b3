"""Which run a verdict's page names, through `Do`; what is drawn of it is in tests/report."""

import json
from pathlib import Path

import pytest
from tests.attribution_validator.test_executor import FIRST_RUN, Case
from tests.fixtures.synthetic import HONEST, Additive
from tests.report.page_reader import Page
from tfx.dsl.components.base import base_executor
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import standard_artifacts

from tfx_explain.artifacts.types import AttributionReference
from tfx_explain.attribution_validator.origin import origin_of
from tfx_explain.report.origin import Origin

pytestmark = pytest.mark.tf

RETRAINED = Additive(HONEST | {"a": 1.05}, seed=2)
LEAKING = Additive(HONEST | {"leak": 3.0}, seed=3)


def context(run: str) -> base_executor.BaseExecutor.Context:
    """What LocalDagRunner gives an executor."""
    return base_executor.BaseExecutor.Context(
        unique_id="52",
        pipeline_node=pipeline_pb2.PipelineNode(node_info=pipeline_pb2.NodeInfo(id="AttributionValidator")),
        pipeline_info=pipeline_pb2.PipelineInfo(id="taxi"),
        pipeline_run_id=run,
    )


def page(case: Case) -> str:
    return Page((Path(case.out["anomalies"][0].uri) / "report.html").read_text()).text


def run_of_newest(case: Case) -> str:
    return case.out["new_reference"][0].get_string_custom_property("newest_run")


def test_the_page_names_run_and_model_and_the_run_of_the_reference(tmp_path):
    first = Case(tmp_path / "1", config={"without_reference": FIRST_RUN}, context=context("monday"))
    assert first.run()[0] == 1
    assert "Pipeline taxi · run monday · node AttributionValidator · execution 52 Model " in page(first)
    assert "passed in run" not in page(first)
    second = Case(tmp_path / "2", RETRAINED, reference=first.out["new_reference"][0], context=context("tuesday"))
    assert second.run()[0] == 1
    assert f"Model {second.model_uri} (id 7, files" in page(second)
    assert f"the last model that passed: {first.model_uri} (id 7, files" in page(second)
    assert page(second).count("passed in run monday") == 1
    assert (run_of_newest(first), run_of_newest(second)) == ("monday", "tuesday")


def test_a_reference_that_lost_a_model_names_the_run_of_the_one_before_where_it_is_known(tmp_path):
    first = Case(tmp_path / "1", config={"without_reference": FIRST_RUN}, context=context("monday"))
    first.run()
    second = Case(tmp_path / "2", RETRAINED, reference=first.out["new_reference"][0], context=context("tuesday"))
    second.run()
    second.reference = second.out["new_reference"][0]
    second.config = {"checks": {"max_share": {"threshold": 0.1, "with_reference": "block"}}}
    blessed, _, changed = second.run()
    assert blessed == 0 and changed is not None
    assert run_of_newest(second) == ""  # the reference that it was given knows the newest model's run alone


def test_facts_and_references_do_not_depend_on_the_run(tmp_path):
    """They are compared between runs, by people and by digests; the page is what the run may stand on."""
    case = Case(tmp_path, config={"without_reference": FIRST_RUN})
    written = []
    for run in ("monday", "tuesday"):
        case.context = context(run)
        assert case.run()[0] == 1
        folders = {name: Path(artifacts[0].uri) for name, artifacts in case.out.items()}
        files = {f"{n}/{p.relative_to(f)}": p.read_bytes() for n, f in folders.items() for p in f.rglob("*.*")}
        del files["anomalies/manifest.json"]  # it has the page's sum
        written.append(files)
    pages = [files.pop("anomalies/report.html") for files in written]
    assert pages[0].replace(b"monday", b"tuesday") == pages[1] != pages[0]
    assert written[0] == written[1]
    assert {"anomalies/anomalies.json", "new_reference/reference.json", "new_reference/manifest.json"} <= set(
        written[0]
    )


def test_attributions_of_another_model_are_told_from_the_one_to_push(tmp_path):
    other = Case(tmp_path / "other", LEAKING)
    case = Case(tmp_path / "own", RETRAINED, context=context("monday"))
    case.attributions_uri = other.attributions_uri
    assert case.run()[0] == 0
    assert f"Model {case.model_uri} (id 7, files" in page(case)
    assert f"The attributions are of another one: {other.model_uri} (files" in page(case)


def test_the_model_is_named_where_nothing_could_be_read(tmp_path):
    case = Case(tmp_path, context=context("monday"))
    (Path(case.attributions_uri) / "manifest.json").unlink()
    assert case.run()[0] == 0
    assert f"run monday · node AttributionValidator · execution 52 Model {case.model_uri} (id 7, files" in page(case)
    assert json.loads((Path(case.out["anomalies"][0].uri) / "anomalies.json").read_text())["model"] == {}


@pytest.mark.parametrize(
    ("context", "known"),
    [
        (None, {}),
        (base_executor.BaseExecutor.Context(unique_id="None"), {}),
        (
            base_executor.BaseExecutor.Context(unique_id="AttributionValidator-8"),
            {"execution": "AttributionValidator-8"},
        ),
        (context("monday"), {"pipeline": "taxi", "run": "monday", "node": "AttributionValidator", "execution": "52"}),
    ],
)
def test_what_the_orchestrator_does_not_tell_is_empty(context, known):
    model, reference = standard_artifacts.Model(), AttributionReference()
    model.uri = "/models/7"
    reference.set_string_custom_property("newest_fingerprint", "f")  # as of a release that wrote no run
    assert origin_of(context, model, None, [reference]) == Origin(model_uri="/models/7", passed_in={}, **known)
