"""The command line on files: what it prints, what it writes, how it exits."""

import json
import logging
from pathlib import Path

import pytest
from tests.fixtures.artifacts import write_attributions, write_model
from tests.fixtures.synthetic import HONEST, Additive
from typer.testing import CliRunner

from tfx_explain.artifacts.manifest import read_manifest
from tfx_explain.attribution_reference.store import read_reference
from tfx_explain.cli import app, exit_code
from tfx_explain.cli_folders import whole
from tfx_explain.cli_progress import ProgressBar

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
        (["explain", "--model", "{}/one", "--examples", "x", "--output", "{}/o"], "--model must be the folder"),
        (["explain", "--model", "{}/m", "--examples", "{}/none*", "--output", "{}/o"], "--examples must match"),
        (["explain", "--model", "{}/m", "--examples", "x", "--output", "{}"], "--output must be an empty or new"),
        (["explain", "--model", "{}/m", "--examples", "{}", "--output", "{}/o"], "--examples must be files"),
        (
            ["explain", "--model", "{}/a", "--examples", "x", "--output", "{}/o"],
            "there is one in it: {}/a/Format-Serving",
        ),
        (["sanity-check", "--model", "{}/a", "--examples", "x"], "there is one in it: {}/a/Format-Serving"),
        (["explain", "--model", "{}/e", "--examples", "x", "--output", "{}/o"], "in it: {}/e/serving/export/taxi/1"),
        (["validate"], "Missing option"),
    ],
)
def test_bad_usage_exits_with_two_and_says_the_rule(folder, arguments, part):
    for model in ("m", "a/Format-Serving", "a/Format-TFMA", "e/serving/export/taxi/1"):
        (folder / model).mkdir(parents=True)
        (folder / model / "saved_model.pb").touch()
    code, text = call(*(a.replace("{}", str(folder)) for a in arguments))
    assert code == 2
    assert part.replace("{}", str(folder)) in " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("output", ["new/folder", "empty"])
@pytest.mark.parametrize("fault", [ValueError("it broke"), KeyboardInterrupt(), None])
def test_an_explanation_that_fails_leaves_nothing_behind(tmp_path, monkeypatch, output, fault):
    """Nor one of a model that cannot be explained; the same command with what was wrong put right then runs."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "saved_model.pb").touch()
    before = sorted(tmp_path.rglob("*"))

    def run(request, make_pipeline):
        folder = Path(request.output)
        assert folder.is_relative_to(tmp_path / output)
        (folder / "tfma").mkdir(parents=True)
        (folder / "manifest.json").touch()
        if fault is not None:
            raise fault
        return {"status": "not_explained", "reason": "no [such] op"}

    monkeypatch.setattr("tfx_explain.explainer_gen.run.run", run)
    arguments = "explain", "--model", tmp_path, "--examples", tmp_path / "saved_model.pb", "--output", tmp_path / output
    code, text = call(*arguments)
    assert code == 130 if isinstance(fault, KeyboardInterrupt) else 2
    assert sorted(tmp_path.rglob("*")) == before
    if fault is None:
        assert "not explained: no [such] op" in text
    elif code == 2:
        assert "the job failed: it broke" in text


def test_what_is_done_moves_into_the_output_at_the_end(tmp_path):
    with whole(tmp_path / "new" / "folder") as folder:
        (folder / "tfma").mkdir(parents=True)
        (folder / "manifest.json").touch()
        assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [folder.parent.name]
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["manifest.json", "tfma"]


def test_what_may_go_into_the_policy_is_printed_in_one_line(folder):
    call("validate", "--attributions", folder / "one", "--config", folder / "first.yaml", "--output", folder / "out")
    code, text = call("validate", "--attributions", folder / "leaky", "--reference", folder / "out" / "reference")
    lines = dict(line.split(" pass: ") for line in text.splitlines() if line.startswith("policy that lets "))
    assert code == 1 and {*lines} == {"policy that lets max_share", "policy that lets new_features"}
    (folder / "pasted.yaml").write_text("\n".join(lines.values()).replace("YYYY-MM-DD", "2999-01-01"))
    again = "validate", "--attributions", folder / "leaky", "--reference", folder / "out" / "reference"
    code, text = call(*again, "--config", folder / "pasted.yaml")
    assert "NEEDS_APPROVAL" not in text and "policy that lets" not in text and "with 1 warning" not in text


def test_what_only_warns_is_told_apart_from_what_blocks(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    first = "validate", "--attributions", folder / "one", "--config", folder / "first.yaml"
    code, text = call(*first, "--output", folder / "out")
    assert (code, text.rstrip().splitlines()[-1]) == (0, "PASS, with 1 warning (reference)")
    code, text = call("validate", "--attributions", folder / "leaky", "--reference", folder / "out" / "reference")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    told = [(check, verdict != "PASS", severity) for check, verdict, severity, _ in rows]
    assert ("new_features", True, "block") in told and ("max_share", True, "warn") in told
    order = [0 if refuses and severity == "block" else 1 if refuses else 2 for _, refuses, severity in told]
    assert code == 1 and order == sorted(order) and {*order} == {0, 1, 2}
    assert text.rstrip().splitlines()[-1] == "REFUSED, with 1 warning (max_share)"


def test_the_bar_says_what_comes_next_and_hides_the_noise_of_others_alone(capsys):
    progress, tensorflow, absl = (logging.getLogger(name) for name in ("tfx_explain.progress", "tensorflow", "absl"))
    heard = []
    listener = logging.Handler()
    listener.emit = lambda record: heard.append(record.getMessage())
    for logger in (tensorflow, absl):
        logger.addHandler(listener)
    deprecated = "From %s: %s (from %s) is deprecated and will be removed %s.\nInstructions for updating:\n%s"
    with ProgressBar() as bar:
        bar.say("loading")
        progress.info("reading %d rows", 3)
        for done in (2, 3):
            progress.info("x", extra={"stage": "explained", "rows_done": done, "rows_total": 3})
        tensorflow.warning(deprecated, "a.py:1", "f", "tf", "soon", "use g")
        tensorflow.warning("the disk is full")
        absl.warning("ExplainerGen: told with the results")
        absl.warning("another")
    absl.warning("ExplainerGen: heard again")
    for logger in (tensorflow, absl):
        logger.removeHandler(listener)
    assert heard == ["the disk is full", "another", "ExplainerGen: heard again"]
    shown = capsys.readouterr().err
    places = [shown.index(part) for part in ("loading ...", "reading 3 rows ...", "all rows explained; adding up ...")]
    assert places == sorted(places) and "3/3 rows" in shown


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
