"""What a demo shows while TFX works: one line per node that ran, and everything else in a log file."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.status import Status

_WIDTH_OF_FILES = 140
_SHOWN_SECONDS = 1.0
_NODE_MESSAGE = re.compile(r"^Component (?P<node>\S+) is (?P<state>running|finished)\.$")
_CACHE_MESSAGE = re.compile(r"^A cached execution \d+ is used\.$")


@contextlib.contextmanager
def terminal_beside_log(log_path: str) -> Iterator[Console]:
    """Sends all that this process and its children print to a file, and yields a console on the terminal.

    File descriptors are swapped, not `sys.stdout`: TensorFlow and Beam write from C++.

    Args:
      log_path: file to append to.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    with open(log_path, "ab") as log, os.fdopen(os.dup(1), "w", encoding="utf-8") as terminal:
        for descriptor in saved:
            os.dup2(log.fileno(), descriptor)
        try:
            yield Console(file=terminal, highlight=False, width=None if terminal.isatty() else _WIDTH_OF_FILES)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, original in saved.items():
                os.dup2(original, descriptor)
                os.close(original)


class NodeProgress(logging.Handler):
    """Follows LocalDagRunner's log: a spinner names the node that runs, a line with its time stays when it has run."""

    def __init__(self, title: str, console: Console, status: Status):
        super().__init__(level=logging.INFO)
        self._title = title
        self._console = console
        self._status = status
        self._started = time.monotonic()
        self._cached = False

    def emit(self, record: logging.LogRecord) -> None:
        """Shows a node that starts or ends; one from the cache, or of less than a second, leaves no line."""
        message = record.getMessage()
        if _CACHE_MESSAGE.match(message):
            self._cached = True
        found = _NODE_MESSAGE.match(message)
        if not found:
            return
        line = f"{self._title}: {found['node']}"
        if found["state"] == "running":
            self._started, self._cached = time.monotonic(), False
            self._status.update(f"{line} ...")
            return
        seconds = time.monotonic() - self._started
        if not self._cached and seconds >= _SHOWN_SECONDS:
            self._console.print(f"{line}, {seconds:.0f} s")


@contextlib.contextmanager
def node_progress(title: str, console: Console) -> Iterator[None]:
    """Shows the nodes of one pipeline run.

    Args:
      title: stands before each node's name.
      console: where to show them.
    """
    logger = logging.getLogger("absl")
    with console.status(f"{title} ...") as status:
        handler = NodeProgress(title, console, status)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
