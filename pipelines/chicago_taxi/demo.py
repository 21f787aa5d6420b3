"""The demo behind `make demo`: five runs of the Chicago Taxi pipeline, and who stopped what.

Years of tutorials trained on this data with `payment_type`. Tips paid in cash are hardly ever recorded, so it gives the
label away: AUC 0.95, where an honest model reaches 0.60. Evaluator is pleased. The attribution gate is not.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib.resources
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from progress import node_progress, terminal_beside_log
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from outcome import Outcome

PIPELINE_NAME = "chicago_taxi"
FOLDER = Path(__file__).resolve().parent
CONFIGS = FOLDER.parents[1] / "configs"
SHOWN_REASONS = 3
MARKER = ".chicago-taxi-demo"

HONEST_FEATURES = [
    "fare",
    "trip_miles",
    "trip_seconds",
    "pickup_latitude",
    "pickup_longitude",
    "dropoff_latitude",
    "dropoff_longitude",
    "trip_start_month",
    "trip_start_day",
    "trip_start_hour",
    "pickup_community_area",
    "dropoff_community_area",
    "dropoff_census_tract",
    "company",
]
TUTORIAL_FEATURES = [*HONEST_FEATURES, "payment_type"]


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of the pipeline, and what must come of it.

    Attributes:
      title: names it.
      store: folder of the metadata store that it runs in.
      trainer_config: reaches `run_fn`.
      passes: whether the attribution gate must bless the model, and Pusher push it. Evaluator must bless every one.
      blocked_by: checks that must be among those that block.
      compared_with: title of the run whose model must be Evaluator's baseline.
    """

    title: str
    store: str
    trainer_config: dict[str, Any]
    passes: bool
    blocked_by: frozenset[str] = frozenset()
    compared_with: str | None = None


def _honest(seed: int, resample: bool) -> dict[str, Any]:
    return {"features": HONEST_FEATURES, "seed": seed, "resample": resample}


_TUTORIAL = {"features": TUTORIAL_FEATURES, "seed": 1, "resample": False}

RUNS = (
    Run("1 honest model", "first", _honest(1, resample=False), passes=True),
    Run("2 honest retrain", "first", _honest(2, resample=True), passes=True, compared_with="1 honest model"),
    Run(
        "3 tutorial's model",
        "first",
        _TUTORIAL,
        passes=False,
        blocked_by=frozenset({"max_share", "new_features"}),
        compared_with="2 honest retrain",
    ),
    Run("4 honest again", "first", _honest(3, resample=True), passes=True, compared_with="2 honest retrain"),
    Run("5 tutorial's model first", "second", _TUTORIAL, passes=False, blocked_by=frozenset({"max_share"})),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo.

    Returns:
      0 when every verdict is the expected one, 1 when one is not, 2 when the demo broke off.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="build/demo", help="folder for everything that the demo writes")
    output = Path(parser.parse_args(arguments).output).resolve()
    started = time.monotonic()
    _clear(output)
    with terminal_beside_log(str(output / "log.txt")) as console:
        console.print(f"TFX's own output goes to {output / 'log.txt'}", soft_wrap=True)
        try:
            outcomes = run_all(output, console)
        except Exception:
            console.print(traceback.format_exc(), markup=False, soft_wrap=True)
            console.print(f"The demo broke off; its log is {output / 'log.txt'}", style="bold red", soft_wrap=True)
            return 2
        wrong = mismatches(outcomes)
        _write_verdicts(output, outcomes)
        _show(console, outcomes, wrong, output, time.monotonic() - started)
    return 1 if wrong else 0


def _clear(output: Path) -> None:
    """Makes `output` an empty folder; refuses to empty one that no demo has made."""
    if output.exists():
        if any(output.iterdir()) and not (output / MARKER).exists():
            raise SystemExit(f"--output must be a new folder, an empty one, or an earlier demo's. Received: {output}")
        shutil.rmtree(output)
    output.mkdir(parents=True)
    (output / MARKER).touch()


def run_all(output: Path, console: Console) -> list[Outcome]:
    """Runs the shared part once, then every run in order.

    Args:
      output: empty folder; gets a folder for each metadata store.
      console: shows the progress.
    """
    # TFX would pack the trainer module into a wheel and install it by `python -m pip`, for each node anew. Here all
    # runs in this process, which can load the file itself. So the module's path also is the same in both stores,
    # and the second takes the shared nodes from the cache.
    os.environ["UNSUPPORTED_DO_NOT_PACKAGE_USER_MODULES"] = "1"
    with console.status("importing TFX ..."):
        import absl.logging
        from outcome import read_outcome
        from tfx import v1 as tfx
        from tfx.orchestration.pipeline import RunOptions

    absl.logging.set_verbosity(absl.logging.INFO)
    runner = tfx.orchestration.LocalDagRunner()
    with node_progress("shared by all runs", console):
        runner.run(_pipeline(output, RUNS[0]), run_options=RunOptions(to_nodes=["ExampleValidator", "Transform"]))
    # The second store knows the shared artifacts and no model. They stay where they are, in the first store's folder,
    # and are only read; what the second run writes goes to a folder of its own.
    (output / "second").mkdir()
    shutil.copyfile(_metadata_path(output, "first"), _metadata_path(output, "second"))

    outcomes = []
    for run in RUNS:
        with node_progress(f"run {run.title}", console):
            runner.run(_pipeline(output, run))
        outcome = read_outcome(run.title, str(_metadata_path(output, run.store)), PIPELINE_NAME)
        console.print(
            f"run {run.title}: AUC {outcome.auc:.3f}, Evaluator {_word(outcome.evaluator_blessed)}, "
            f"attribution gate {_word(outcome.gate_blessed)}, {'pushed' if outcome.pushed else 'not pushed'}"
        )
        outcomes.append(outcome)
    return outcomes


def _word(blessed: bool) -> str:
    return "blessed" if blessed else "refused"


def _metadata_path(output: Path, store: str) -> Path:
    return output / store / "metadata.db"


def _pipeline(output: Path, run: Run) -> Any:
    """The pipeline of one run; runs differ in what reaches the trainer, and in the store."""
    from pipeline import create_pipeline

    from tfx_explain.config import ValidationConfig

    policy = ValidationConfig.load(CONFIGS / "validation.yaml").model_dump()
    # A first model has nothing to be compared with. The date is set here: in a file it would be a time bomb.
    until = datetime.date.today() + datetime.timedelta(days=30)
    policy["without_reference"] = {"absolute_checks_decide": {"until": until}}
    return create_pipeline(
        pipeline_name=PIPELINE_NAME,
        pipeline_root=str(output / run.store / "artifacts"),
        metadata_path=str(_metadata_path(output, run.store)),
        data_root=str(importlib.resources.files("tfx.examples.chicago_taxi_pipeline") / "data" / "simple"),
        module_file=str(FOLDER / "taxi_module" / "taxi_module.py"),
        serving_dir=str(output / run.store / "serving"),
        trainer_config=run.trainer_config,
        explain_config=str(CONFIGS / "explain.yaml"),
        validation_config=ValidationConfig.make(policy),
        # By its full name: the DirectRunner of newer Beams first looks for Prism, a download.
        beam_pipeline_args=["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"],
    )


def mismatches(outcomes: Sequence[Outcome]) -> list[str]:
    """A sentence for everything that came out otherwise than expected.

    Args:
      outcomes: one for each of RUNS, in order.
    """
    model_ids = {outcome.run: outcome.model_id for outcome in outcomes}
    wrong = []
    for run, outcome in zip(RUNS, outcomes, strict=True):
        found = (outcome.evaluator_blessed, outcome.gate_blessed, outcome.pushed)
        for name, got, wanted in zip(
            ("Evaluator blessed", "the gate blessed", "pushed"), found, (True, run.passes, run.passes), strict=True
        ):
            if got != wanted:
                wrong.append(f"run {run.title}: expected {name}={wanted}, found {got}. {' '.join(outcome.reasons)}")
        for check in sorted(run.blocked_by - outcome.blocking_checks):
            wrong.append(f"run {run.title}: expected {check} to block; what blocked: {sorted(outcome.blocking_checks)}")
        wanted_id = None if run.compared_with is None else model_ids[run.compared_with]
        if outcome.baseline_model_id != wanted_id:
            wrong.append(
                f"run {run.title}: expected Evaluator to compare with {run.compared_with} (model {wanted_id}), "
                f"found model {outcome.baseline_model_id}"
            )
    return wrong


def _write_verdicts(output: Path, outcomes: Sequence[Outcome]) -> None:
    text = json.dumps([outcome.verdict() for outcome in outcomes], indent=2)
    (output / "verdicts.json").write_text(text + "\n", encoding="utf-8")


def _show(console: Console, outcomes: Sequence[Outcome], wrong: Sequence[str], output: Path, seconds: float) -> None:
    """Prints the table, the reports' paths, the time, and what was not expected."""
    reasons = "first reasons, and who profits"
    table = Table("run", "AUC", "Evaluator", "attribution gate", "pushed", reasons, show_lines=True)
    for outcome in outcomes:
        table.add_row(
            outcome.run,
            f"{outcome.auc:.3f}",
            _word(outcome.evaluator_blessed),
            _word(outcome.gate_blessed),
            "yes" if outcome.pushed else "no",
            "\n".join([*outcome.reasons[:SHOWN_REASONS], *outcome.profits]),
        )
    console.print(table)
    for outcome in outcomes:
        console.print(f"report of run {outcome.run}: {outcome.report}", soft_wrap=True)
    console.print(f"verdicts: {output / 'verdicts.json'}", soft_wrap=True)
    console.print(f"took {seconds / 60:.1f} minutes")
    for sentence in wrong:
        console.print(sentence, style="bold red", soft_wrap=True)


if __name__ == "__main__":
    exit_code = main()
    # All is said; what is left are complaints of TensorFlow's destructors when the interpreter takes them down.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.exit(exit_code)
