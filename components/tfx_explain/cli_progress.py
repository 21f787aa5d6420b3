"""What the command line says while a job runs: its steps, bars of its rows, and no noise of dependencies."""

from __future__ import annotations

import logging

import rich.console
import rich.progress

_NOISY = ("absl", "tensorflow")


def is_news(record: logging.LogRecord) -> bool:
    """A filter: False for what a user of the command line can do nothing about, or is told by it otherwise.

    TensorFlow warns of its functions that other packages call, in this form and no other; and what ExplainerGen logs
    is printed with the results.
    """
    text = str(record.msg)
    if record.name == "tensorflow":
        return not text.startswith("From %s: %s (from %s) is deprecated and will be removed")
    return not text.startswith("ExplainerGen: ")


class ProgressBar(logging.Handler):
    """Listens to the job's records; prints a line for each step, and draws a bar of the rows of each stage.

    Elapsed is the time since the command began.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.fields[stage]}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            "rows",
            rich.progress.TimeElapsedColumn(),
            "left",
            rich.progress.TimeRemainingColumn(),
            console=rich.console.Console(stderr=True),
        )
        self._started = self._bar.get_time()
        self._tasks: dict[str, rich.progress.Task] = {}

    def say(self, step: str) -> None:
        """Prints what comes next."""
        self._bar.console.print(f"{step} ...", markup=False, highlight=False, soft_wrap=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Moves a bar, or says what comes next."""
        done, total = getattr(record, "rows_done", None), getattr(record, "rows_total", None)
        if done is None:
            self.say(record.getMessage())
            return
        stage = getattr(record, "stage", "explained")
        if stage not in self._tasks:
            place = self._bar.add_task("", total=None, stage=stage)
            self._tasks[stage] = next(task for task in self._bar.tasks if task.id == place)
            self._tasks[stage].start_time = self._started
        self._bar.update(self._tasks[stage].id, completed=done, total=total)
        if done == total:
            self.say(f"all rows {stage}; adding up")

    def __enter__(self) -> ProgressBar:
        logger = logging.getLogger("tfx_explain.progress")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(self)
        for name in _NOISY:
            logging.getLogger(name).addFilter(is_news)
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        logger = logging.getLogger("tfx_explain.progress")
        logger.removeHandler(self)
        logger.propagate = True
        for name in _NOISY:
            logging.getLogger(name).removeFilter(is_news)
