"""The command line on files: what it prints, what it writes, how it exits."""

import json

import pytest
from tests.fixtures.artifacts import write_attributions, write_model
from tests.fixtures.synthetic import HONEST, Additive
from typer.testing import CliRunner

from tfx_explain.artifacts.manifest import read_manifest
from tfx_explain.attribution_reference.store import read_reference
from tfx_explain.cli import app, exit_code

pytestmark = pytest.mark.tf

FIRST_RUN = "without_reference: {absolute_checks_decide: {until: 2999-01-01}}\n"


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def folder(tmp_path):
    """Two honest models, a leaky one, and a first-run policy."""
    (tmp_path / "first.yaml").write_text(FIRST_RUN)
    for name, model in {
        "one": Additive(HONEST, seed=1),
        "two": Additive(HONEST, seed=2),
        "leaky": Additive(HONEST | {"leak": 9.0}, seed=3),
    }.items():
        uri = write_model(tmp_path / f"model-{name}", name)
        write_attributions(tmp_path / name, model, uri)
    return tmp_path


def test_a_pass_writes_a_reference_that_the_next_model_is_compared_with(folder):
    code, text = call(
        "validate", "--attributions", folder / "one", "--config", folder / "first.yaml", "--output", folder / "out"
    )
    assert (code, "PASS" in text) == (0, True)
    assert len(read_reference(str(folder / "out" / "reference")).models) == 1
    code, text = call("validate", "--attributions", folder / "two", "--reference", folder / "out" / "reference")
    assert code == 0
    assert "share_change" in text


def test_a_refusal_exits_with_one_and_writes_no_reference(folder):
    code, text = call(
        "validate", "--attributions", folder / "leaky", "--config", folder / "first.yaml", "--output", folder / "out"
    )
    assert (code, "REFUSED" in text) == (1, True)
    rows = [line for line in text.splitlines() if "FAIL" in line or "PASS" in line]
    assert "FAIL" in rows[0] and "PASS" in rows[-1]
    assert not (folder / "out" / "reference").exists()
    data = json.loads(read_manifest(str(folder / "out" / "anomalies"), "AttributionAnomalies").read("anomalies.json"))
    assert data["blessed"] is False and "'leak' carries" in data["blocking"][0]


def test_no_reference_and_damage_exit_with_two(folder):
    code, text = call("validate", "--attributions", folder / "one")
    assert (code, "want of a reference" in text) == (2, True)
    (folder / "one" / "summary.json").write_text("{}")
    code, text = call("validate", "--attributions", folder / "one", "--config", folder / "first.yaml")
    assert code == 2
    assert "cut short" in " ".join(text.split())


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["validate", "--attributions", "{}/absent"], "--attributions must be a folder"),
        (["validate", "--attributions", "{}/one", "--config", "{}/absent.yaml"], "cannot read"),
        (["validate", "--attributions", "{}/one", "--output", "{}"], "--output must be an empty or new folder"),
        (["explain", "--model", "{}/absent", "--examples", "x", "--output", "{}/o"], "--model must be the folder"),
        (["explain", "--model", "{}", "--examples", "{}/none*", "--output", "{}/o"], "--examples must match"),
        (["explain", "--model", "{}", "--examples", "x", "--output", "{}"], "--output must be an empty or new folder"),
        (["explain", "--model", "{}", "--examples", "{}", "--output", "{}/o"], "--examples must be files"),
        (["validate"], "Missing option"),
    ],
)
def test_bad_usage_exits_with_two_and_says_the_rule(folder, arguments, part):
    code, text = call(*(a.replace("{}", str(folder)) for a in arguments))
    assert code == 2
    assert part in " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("blocking", "code"),
    [
        ([], 0),
        (["FAIL"], 1),
        (["NEEDS_APPROVAL"], 1),
        (["INCONCLUSIVE"], 2),
        (["NO_REFERENCE"], 2),
        (["INCONCLUSIVE", "FAIL"], 1),
    ],
)
def test_exit_codes(blocking, code):
    assert exit_code(blocking) == code
