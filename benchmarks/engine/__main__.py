"""The engine against its bound and every peer, in one run: `make bench-engine`, `make peers`.

    .venv/bin/python -m benchmarks.engine --help

Writes engine.md and engine.json. Ends with 1 if attributions differ where the same formula is computed, or if no peer
could be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import sys
import tempfile
import warnings
from typing import Any

from benchmarks.engine.environments import ENVIRONMENT_OF, PeerUnavailableError, prepare
from benchmarks.engine.networks import MODELS
from benchmarks.engine.process import PeerProcess, thread_variables
from benchmarks.engine.rules import STEPS
from benchmarks.engine.tables import page, wrong

_ROOT = pathlib.Path(__file__).parents[2]
_PEERS = tuple(ENVIRONMENT_OF)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description="The engine beside its peers.")
    parser.add_argument("--rows", type=int, default=100_000, help="rows for the engine and its bound, in all rounds")
    parser.add_argument("--peer-rows", type=int, default=2_000, help="rows for each peer, in all rounds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--peers", default=",".join(_PEERS))
    parser.add_argument("--output", type=pathlib.Path, default=_ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    for name, known in (("models", MODELS), ("peers", _PEERS)):
        chosen = [part for part in getattr(options, name).split(",") if part]
        if unknown := sorted(set(chosen) - set(known)):
            parser.error(f"--{name} must be among {','.join(known)}. Received: {','.join(unknown)}")
        setattr(options, name, chosen)
    for name, least, most in (("rows", 1, 10**7), ("rounds", 1, 100), ("threads", 1, 64), ("peer_rows", 1, 2048)):
        value = getattr(options, name)
        if not least <= value <= most:
            parser.error(f"--{name.replace('_', '-')} must be in [{least}, {most}]. Received: {value}")
    if options.peer_rows < options.rounds:
        parser.error(f"--peer-rows must be >= --rounds. Received: {options.peer_rows} and {options.rounds}")
    return options


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _start(names: list[str], threads: int, logs: pathlib.Path) -> dict[str, PeerProcess | str]:
    """The process of each peer, or why there is none."""
    root = _ROOT / "build" / "peers"
    started: dict[str, PeerProcess | str] = {}
    failed: dict[str, str] = {}
    for name in names:
        environment = ENVIRONMENT_OF[name]
        try:
            if environment.name in failed:
                raise PeerUnavailableError(failed[environment.name])
            _say(f"{name}: environment {environment.name}")
            try:
                python = prepare(environment, root)
            except PeerUnavailableError as error:
                failed[environment.name] = str(error)
                raise
            started[name] = PeerProcess(name, python, threads, logs / f"{name}.log")
        except PeerUnavailableError as error:
            started[name] = str(error)
            _say(f"{name} is not run: {error}")
    return started


def main() -> int:
    """Runs all, writes the page, prints it; 1 if something differs."""
    options = _parse()
    os.environ.update(thread_variables(options.threads))  # before the first import of TensorFlow
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    import keras
    import numpy as np
    import tensorflow as tf

    from benchmarks.engine.measure import Plan, measure
    from benchmarks.engine.ours import BLOCK_ROWS
    from benchmarks.engine.subject import subject_of

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    plan = Plan(-(-options.rows // (options.rounds * BLOCK_ROWS)), options.peer_rows, options.rounds)
    own = {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
    environment = {
        "cpus": os.cpu_count(),
        "threads": options.threads,
        "rounds": plan.rounds,
        "peer_rows": plan.peer_rows,
        "block_rows": BLOCK_ROWS,
        "steps": STEPS,
    }
    logs = _ROOT / "build" / "peers" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    peers = _start(options.peers, options.threads, logs)
    running = {name: process for name, process in peers.items() if isinstance(process, PeerProcess)}
    environment["versions"] = {"ours": own, **{name: process.versions for name, process in running.items()}}
    results: dict[str, Any] = {"environment": environment, "models": {}}
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            for name in options.models:
                own_plan = plan.for_model(name)
                _say(f"{name}: {own_plan.rows:,} rows")
                subject = subject_of(name, own_plan.rows, folder)
                results["models"][name] = measure(subject, own_plan, peers, folder)
                _write(results, options.output)
    finally:
        for process in running.values():
            process.close()
    sys.stdout.write(page(results))
    problems = wrong(results)
    for problem in problems:
        _say(problem)
    return 1 if problems else 0


def _write(results: dict[str, Any], output: pathlib.Path) -> None:
    """What is measured so far: a run that is broken off leaves it."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "engine.json").write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    (output / "engine.md").write_text(page(results))


if __name__ == "__main__":
    sys.exit(main())
