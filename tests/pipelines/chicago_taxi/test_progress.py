"""The demo's progress: lines for nodes that ran, a log for everything else."""

import itertools
import logging
import os
import subprocess
import sys

import progress
import pytest
from rich.console import Console


@pytest.fixture
def clock(monkeypatch):
    """Makes every look at the clock five seconds later than the one before."""
    ticks = itertools.count(step=5)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(ticks)))


@pytest.fixture
def absl_logger():
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(level)


def _shown(logger, *messages, capsys):
    console = Console(file=sys.stdout, width=100)
    with progress.node_progress("run 1", console):
        for message, *arguments in messages:
            logger.info(message, *arguments)
    return capsys.readouterr().out.splitlines()


def test_a_node_that_ran_leaves_a_line_with_its_seconds(clock, absl_logger, capsys):
    lines = _shown(
        absl_logger,
        ("Component %s is running.", "Trainer"),
        ("some chatter",),
        ("Component %s is finished.", "Trainer"),
        capsys=capsys,
    )
    assert lines == ["run 1: Trainer, 5 s"]


def test_a_cached_node_leaves_none_and_the_next_one_does(clock, absl_logger, capsys):
    lines = _shown(
        absl_logger,
        ("Component %s is running.", "Transform"),
        ("A cached execution %d is used.", 7),
        ("Component %s is finished.", "Transform"),
        ("Component %s is running.", "Trainer"),
        ("Component %s is finished.", "Trainer"),
        capsys=capsys,
    )
    assert lines == ["run 1: Trainer, 5 s"]


def test_the_handler_is_gone_after_the_run(absl_logger, capsys):
    before = list(absl_logger.handlers)
    _shown(absl_logger, capsys=capsys)
    assert absl_logger.handlers == before


def test_output_of_children_and_of_c_code_goes_to_the_log(tmp_path, capfd):
    log = tmp_path / "log.txt"
    with progress.terminal_beside_log(str(log)) as console:
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        os.write(2, b"from C\n")
        console.print("for the user")
    os.write(1, b"afterwards\n")
    assert capfd.readouterr().out == "for the user\nafterwards\n"
    assert sorted(log.read_text().splitlines()) == ["from C", "from a child"]


def test_the_terminal_is_back_after_an_error(tmp_path, capfd):
    with pytest.raises(RuntimeError, match="broke"), progress.terminal_beside_log(str(tmp_path / "log.txt")):
        raise RuntimeError("broke")
    os.write(1, b"afterwards\n")
    assert capfd.readouterr().out == "afterwards\n"
