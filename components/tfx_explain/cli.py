"""Command line: explain, validate, diagnose and sanity-check without a pipeline."""

from __future__ import annotations

import datetime
import glob as globbing
import json
import logging
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.console
import rich.markup
import rich.table
import typer

from tfx_explain.cli_folders import in_use, saved_model, whole
from tfx_explain.cli_progress import ProgressBar

if TYPE_CHECKING:
    from tfx_explain.attribution_reference.store import Reference
    from tfx_explain.attribution_validator.checks.base import Result
    from tfx_explain.diagnosis.lineage import LineageDiff

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Explain and gate TFX models."
)

PASSED, REFUSED, UNDECIDED = 0, 1, 2
"""Exit codes of `validate`: PASS; FAIL or NEEDS_APPROVAL; INCONCLUSIVE, NO_REFERENCE or bad usage."""

_UNDECIDED = {"INCONCLUSIVE", "NO_REFERENCE"}


@app.callback()
def _quiet() -> None:
    """Explain and gate TFX models."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # What dependencies say of each other is nothing that a user of this command can act on.
    warnings.simplefilter("ignore")
    logging.getLogger("apache_beam").setLevel(logging.ERROR)


@app.command()
def explain(
    model: Annotated[Path, typer.Option(help="Folder of the exported SavedModel.")],
    examples: Annotated[str, typer.Option(help="TFRecord files of tf.Examples, a glob; .gz is read too.")],
    output: Annotated[Path, typer.Option(help="Folder for the attributions; must be empty or new.")],
    config: Annotated[Path | None, typer.Option(help="ExplainConfig as YAML or JSON.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="AttributionReference whose input baseline and bins are kept.")
    ] = None,
    max_examples: Annotated[int | None, typer.Option(min=1, help="Overrides the config's.")] = None,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where a job failed.")] = False,
    runner_args: Annotated[
        list[str] | None, typer.Option("--beam-arg", help="Beam option, e.g. --beam-arg=--runner=FlinkRunner.")
    ] = None,
) -> None:
    """Explain an exported model over examples, as ExplainerGen does. Exits 0 when explained, else 2."""
    from tfx_explain.config import ConfigError, ExplainConfig

    _refuse_used(output)
    _refuse_no_model(model)
    if os.path.isdir(examples):
        _fail(f"--examples must be files. Received the folder {examples}: write '{examples.rstrip('/')}/*'")
    if not globbing.glob(examples):
        _fail(f"--examples must match TFRecord files. Received: {examples!r}, which matches none")
    try:
        settings = ExplainConfig() if config is None else ExplainConfig.load(config)
        overrides = {"splits": settings.splits[:1]} | ({} if max_examples is None else {"max_examples": max_examples})
        settings = ExplainConfig.make(settings.model_dump() | overrides)
    except ConfigError as error:
        _fail(str(error))

    progress = ProgressBar()
    progress.say("loading TensorFlow and Beam")
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from tfx_explain.artifacts.manifest import ArtifactError
    from tfx_explain.attribution_reference.store import read_reference
    from tfx_explain.explainer_gen.run import NOT_EXPLAINED, REPORT_FILE, Request, run

    # Beam's own in-process runner: DirectRunner may first look for a binary on the network.
    options = PipelineOptions(
        runner_args or ["--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"]
    )
    try:
        known = None if reference is None else read_reference(str(reference))
    except ArtifactError as error:
        _fail(str(error))
    try:
        with progress, whole(output.resolve()) as folder:
            # Beam does not resolve relative paths on every runner.
            request = Request(
                output=str(folder),
                model_uri=str(model.resolve()),
                serving_path=str(model.resolve()),
                patterns=[(0, os.path.abspath(examples))],
                config=settings,
                reference=known,
            )
            summary = run(request, lambda: beam.Pipeline(options=options))
            if summary["status"] == NOT_EXPLAINED:
                raise _NotExplained(summary["reason"])
    except _NotExplained as error:
        _fail(f"not explained: {error}")
    except (OSError, RuntimeError, ValueError) as error:
        if traceback:
            raise
        _fail(f"the job failed: {str(error).strip().splitlines()[-1]}\n(--traceback shows where)")
    console = rich.console.Console()
    table = rich.table.Table("feature", "share", "5 % to 95 %", "mean |attribution|")
    for feature in summary["features"][:20]:
        table.add_row(
            rich.markup.escape(feature["name"]),
            _number(feature["share"]),
            f"{_number(feature['share_low'])} to {_number(feature['share_high'])}",
            _number(feature["mean_absolute"]),
        )
    console.print(table)
    console.print(f"input baseline: {summary['method']['input_baseline_source']}", markup=False)
    for reason, what in _unmeasured(summary).items():
        console.print(f"no {' and no '.join(what)}: {reason}", markup=False, soft_wrap=True)
    for note in (*([summary["lowered"]] if summary["lowered"] else ()), *summary["notes"]):
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    console.print(f"report: {output / REPORT_FILE}", markup=False, soft_wrap=True)


@app.command()
def validate(
    attributions: Annotated[Path, typer.Option(help="Folder that `explain` or ExplainerGen wrote.")],
    config: Annotated[Path | None, typer.Option(help="ValidationConfig as YAML or JSON.")] = None,
    reference: Annotated[Path | None, typer.Option(help="AttributionReference to compare with.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for anomalies and, if it passes, a new reference.")
    ] = None,
) -> None:
    """Judge attributions, as AttributionValidator does.

    Exits 0 on PASS, 1 on FAIL or NEEDS_APPROVAL, 2 where evidence or a reference is missing: no pass either.
    """
    from tfx_explain.config import ConfigError, ValidationConfig

    if output is not None:
        _refuse_used(output)
    for name, folder in (("--attributions", attributions), ("--reference", reference)):
        if folder is not None and not folder.is_dir():
            _fail(f"{name} must be a folder. Received: {folder}")
    if reference is not None and (reference / "reference" / "manifest.json").exists():
        _fail(f"--reference must be the folder `reference` that a pass wrote. Received: {reference}, which holds it")
    try:
        policy = ValidationConfig() if config is None else ValidationConfig.load(config)
    except ConfigError as error:
        _fail(str(error))

    from tfx_explain.attribution_reference.store import write_reference
    from tfx_explain.attribution_validator.anomalies import REPORT_FILE, diagnose_command, write_anomalies
    from tfx_explain.attribution_validator.evidence import changed_reference, judge_artifacts

    today = datetime.datetime.now(datetime.timezone.utc).date()
    judged = judge_artifacts(str(attributions), [] if reference is None else [str(reference)], policy, today)
    console = rich.console.Console()
    console.print(_findings(judged.verdict.results))
    for result in judged.verdict.results:
        if result.policy is not None:  # whole, since a table breaks its lines
            console.print(f"policy that lets {result.check} pass: {result.policy}", markup=False, soft_wrap=True)
    if output is not None:
        write_anomalies(str(output / "anomalies"), judged, policy)
        fingerprint = judged.candidate.fingerprint if judged.candidate else None
        uri = judged.candidate.summary["model"]["uri"] if judged.candidate else ""
        changed = changed_reference(judged, policy, uri, "", fingerprint)
        if changed is not None:
            write_reference(str(output / "reference"), changed)
            console.print(f"reference: {output / 'reference'}", markup=False, soft_wrap=True)
        console.print(f"report: {output / 'anomalies' / REPORT_FILE}", markup=False, soft_wrap=True)
    blocking = {r.verdict for r in judged.verdict.blocking}
    code = exit_code(blocking)
    if code == REFUSED and reference is not None and judged.reference is not None and judged.reference.models:
        known = None if output is None else str((output / "anomalies").resolve())
        command = diagnose_command(str(attributions.resolve()), str(reference.resolve()), known)
        console.print(f"what changed, the model or the data: {command}", markup=False, soft_wrap=True)
        console.print("(--metadata with the SQLite file of ML Metadata adds what differs upstream)", markup=False)
    missing = "a reference" if blocking == {"NO_REFERENCE"} else "evidence"
    word = {PASSED: "PASS", REFUSED: "REFUSED", UNDECIDED: f"UNDECIDED: no pass for want of {missing}"}[code]
    console.print(f"{word}{_warned(judged.verdict.results)}", markup=False, soft_wrap=True)
    raise typer.Exit(code)


@app.command()
def diagnose(
    attributions: Annotated[Path, typer.Option(help="Attributions of the refused model, as ExplainerGen wrote them.")],
    reference: Annotated[Path, typer.Option(help="AttributionReference that it was compared with.")],
    output: Annotated[Path, typer.Option(help="Folder for the diagnosis; must be empty or new.")] = Path("diagnosis"),
    examples: Annotated[
        str | None, typer.Option(help="TFRecord files that it was explained on, a glob; default: where they were.")
    ] = None,
    anomalies: Annotated[
        Path | None, typer.Option(help="AttributionAnomalies of the refusal: the reference must be the one it had.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Where the model is now; default: where it was.")] = None,
    reference_model: Annotated[
        Path | None, typer.Option(help="Where the last model that passed is now; default: where it was.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="ExplainConfig of the attributions; default: the one they hold.")
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option(help="SQLite file of ML Metadata: tells what is upstream of both and differs.")
    ] = None,
    pipeline: Annotated[str | None, typer.Option(help="Takes only models of this pipeline from --metadata.")] = None,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where a job failed.")] = False,
    runner_args: Annotated[
        list[str] | None, typer.Option("--beam-arg", help="Beam option, e.g. --beam-arg=--runner=FlinkRunner.")
    ] = None,
) -> None:
    """Say what changed after a refusal: the model or the data, where, and what is upstream.

    Exits 0 when both models were explained on the same rows, else 2.
    """
    from tfx_explain.config import ConfigError, ExplainConfig

    _refuse_used(output)
    for name, folder in (
        ("--attributions", attributions),
        ("--reference", reference),
        ("--anomalies", anomalies),
        ("--model", model),
        ("--reference-model", reference_model),
    ):
        if folder is not None and not folder.is_dir():
            _fail(f"{name} must be a folder. Received: {folder}")
    if metadata is not None and not metadata.is_file():
        _fail(f"--metadata must be the SQLite file of ML Metadata. Received: {metadata}")
    if pipeline is not None and metadata is None:
        _fail(f"--pipeline goes with --metadata. Received: --pipeline {pipeline}, and no --metadata")
    if examples is not None and not globbing.glob(examples):
        _fail(f"--examples must match TFRecord files. Received: {examples!r}, which matches none")
    try:
        settings = None if config is None else ExplainConfig.load(config)
    except ConfigError as error:
        _fail(str(error))

    progress = ProgressBar()
    progress.say("loading TensorFlow and Beam")
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from tfx_explain.artifacts.manifest import ArtifactError
    from tfx_explain.attribution_reference.store import read_reference
    from tfx_explain.attribution_validator.anomalies import read_anomalies
    from tfx_explain.diagnosis.diagnose import DiagnosisError, Request, diagnose, stored_patterns
    from tfx_explain.explainer_gen.run import REPORT_FILE

    # Beam's own in-process runner: DirectRunner may first look for a binary on the network.
    options = PipelineOptions(
        runner_args or ["--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"]
    )
    try:
        known = read_reference(str(reference))
        lineage, absent = None, "no --metadata was given"
        if metadata is not None:
            lineage, absent = _lineage(metadata, pipeline, str(attributions), known)
        patterns = stored_patterns(str(attributions)) if examples is None else [(0, os.path.abspath(examples))]
        verdict = None if anomalies is None else read_anomalies(str(anomalies))
        with progress, whole(output.resolve()) as folder:
            request = Request(
                attributions=str(attributions.resolve()),
                reference=known,
                patterns=patterns,
                output=str(folder),
                model=None if model is None else str(model.resolve()),
                reference_model=None if reference_model is None else str(reference_model.resolve()),
                config=settings,
                lineage=lineage,
                lineage_absent=absent,
                verdict=verdict,
            )
            found = diagnose(request, lambda: beam.Pipeline(options=options))
    except (ArtifactError, ConfigError, DiagnosisError) as error:
        _fail(str(error))
    except (OSError, RuntimeError, ValueError) as error:
        if traceback:
            raise
        _fail(f"the job failed: {str(error).strip().splitlines()[-1]}\n(--traceback shows where)")
    console = rich.console.Console()
    first = [found["no_refusal"]] if found["no_refusal"] else []
    for sentence in (*first, found["headline"], *found["sentences"]):
        console.print(sentence, markup=False, soft_wrap=True)
    for note in found["notes"]:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    console.print(f"report: {output / REPORT_FILE}", markup=False, soft_wrap=True)
    raise typer.Exit(UNDECIDED if found["changed"] == "unknown" else PASSED)


@app.command("sanity-check")
def sanity_check(
    model: Annotated[Path, typer.Option(help="Folder of the exported SavedModel.")],
    examples: Annotated[str, typer.Option(help="TFRecord files of tf.Examples, a glob; .gz is read too.")],
    config: Annotated[Path | None, typer.Option(help="ExplainConfig as YAML or JSON.")] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="May stand several times; default: the configured one.")
    ] = None,
    rows: Annotated[int, typer.Option(min=2, help="Rows whose rankings are compared.")] = 64,
    draws: Annotated[int, typer.Option(min=1, help="Random networks.")] = 8,
    output: Annotated[Path | None, typer.Option(help="JSON file for what was found.")] = None,
) -> None:
    """Check that attributions follow the model's weights and not the data alone, by drawing the weights anew.

    Exits 0 when every method passes, 1 when one does not, 2 when the check cannot be made.
    """
    from tfx_explain.config import METHODS, ConfigError, ExplainConfig

    _refuse_no_model(model)
    if not globbing.glob(examples):
        _fail(f"--examples must match TFRecord files. Received: {examples!r}, which matches none")
    unknown = sorted(set(method or ()) - set(METHODS))
    if unknown:
        _fail(f"--method must be one of {', '.join(METHODS)}. Received: {', '.join(unknown)}")
    try:
        settings = ExplainConfig() if config is None else ExplainConfig.load(config)
    except ConfigError as error:
        _fail(str(error))

    from tfx_explain.explainer_gen.job_spec import JobSpec
    from tfx_explain.explainer_gen.pilot import some_records
    from tfx_explain.sanity_check import MAX_SIMILARITY, SanityError
    from tfx_explain.sanity_check import sanity_check as check

    spec = JobSpec(model_path=str(model.resolve()), config=settings)
    records, _ = some_records([(0, os.path.abspath(examples))], rows)
    console = rich.console.Console()
    table = rich.table.Table(
        "method",
        "ranked",
        "rank correlation with all weights drawn anew",
        "of sizes alone",
        f"at most {MAX_SIMILARITY}",
    )
    found = []
    try:
        for result in check(spec, records, [m for m in METHODS if m in (method or [settings.method])], draws):
            found.append(result)
            table.add_row(
                result.method,
                result.ranked,
                _number(result.similarity[-1]),
                _number(result.size_similarity[-1]),
                "passed" if result.passed else "FAILED",
            )
    except SanityError as error:
        _fail(str(error))
    console.print(table)
    if output is not None:
        output.write_text(json.dumps([result.to_dict() for result in found], indent=1, sort_keys=True) + "\n")
        console.print(f"written: {output}", markup=False, soft_wrap=True)
    raise typer.Exit(PASSED if all(result.passed for result in found) else REFUSED)


def _lineage(
    metadata: Path, pipeline: str | None, attributions: str, reference: Reference
) -> tuple[LineageDiff | None, str]:
    """(what differs upstream of both models, why that is not known)."""
    import ml_metadata as mlmd
    from ml_metadata.proto import metadata_store_pb2

    from tfx_explain.attribution_validator.evidence import read_candidate
    from tfx_explain.diagnosis.lineage import LineageError, find_model, lineage_diff

    candidate = read_candidate(attributions)
    passed = reference.newest_other(candidate.fingerprint)
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(metadata)
    connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    try:
        store = mlmd.MetadataStore(connection)
        ours = find_model(store, candidate.summary["model"]["uri"], pipeline)
        theirs = find_model(store, passed.model_uri if passed else "", pipeline)
        return lineage_diff(store, ours, theirs), ""
    except (LineageError, mlmd.errors.StatusError) as error:
        return None, str(error)


def exit_code(blocking: Collection[str]) -> int:
    """0 when nothing blocks; 1 when a blocking result is a finding; 2 when all of them are lack of evidence."""
    if not blocking:
        return PASSED
    return UNDECIDED if set(blocking) <= _UNDECIDED else REFUSED


def _unmeasured(summary: Mapping[str, Any]) -> dict[str, list[str]]:
    """Why something was not measured though the configuration asks for it -> what."""
    from tfx_explain.explainer_gen.explain import NO_REPEATS

    out: dict[str, list[str]] = {}
    absent = summary["permutation_importance"]["absent"]
    for what, reason in (("metrics", summary["metrics_absent"]), ("permutation importance", absent)):
        if reason and reason != NO_REPEATS:
            out.setdefault(reason, []).append(what)
    return out


def _findings(results: Sequence[Result]) -> rich.table.Table:
    """What refuses, then what only warns, then what passed; else in the order of the checks."""
    table = rich.table.Table("check", "verdict", "severity", "what was found")
    groups = {
        "red": [r for r in results if r.blocks],
        "yellow": [r for r in results if not r.blocks and r.verdict != "PASS"],
        "": [r for r in results if r.verdict == "PASS"],
    }
    for style, found in groups.items():
        for result in found:
            sentence = rich.markup.escape(result.sentence)
            table.add_row(result.check, result.verdict, result.severity, sentence, style=style)
        table.add_section()
    return table


def _warned(results: Sequence[Result]) -> str:
    """What does not block and yet is no pass: how much, and of which checks."""
    checks = [r.check for r in results if not r.blocks and r.verdict != "PASS"]
    number = f"{len(checks)} {'warning' if len(checks) == 1 else 'warnings'}"
    return f", with {number} ({', '.join(dict.fromkeys(checks))})" if checks else ""


class _NotExplained(Exception):
    """The model cannot be explained; the message says why."""


def _refuse_used(folder: Path) -> None:
    if in_use(folder):
        _fail(f"--output must be an empty or new folder. Received: {folder}; delete it, or name another")


def _refuse_no_model(folder: Path) -> None:
    """Before anything slow is loaded."""
    found = saved_model(folder) if folder.is_dir() else None
    if found is None:
        _fail(f"--model must be the folder of a SavedModel. Received: {folder}")
    if found != folder:
        _fail(f"--model must be the folder of a SavedModel. Received: {folder}; there is one in it: {found}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _fail(message: str) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(UNDECIDED)
