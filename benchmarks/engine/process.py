"""A peer's process, as the command sees it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import select
import subprocess
import time
from typing import Any

from benchmarks.engine.environments import PeerUnavailableError

_ROOT = pathlib.Path(__file__).parents[2]
_SECONDS = 600
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def thread_variables(threads: int) -> dict[str, str]:
    """What holds every library to so many threads."""
    return dict.fromkeys(_THREAD_VARIABLES, str(threads))


class PeerProcess:
    """One peer in its environment, for all networks in turn.

    Attributes:
        name: of its module in `peers`.
        versions: by package.
    """

    def __init__(self, name: str, python: pathlib.Path, threads: int, log: pathlib.Path) -> None:
        self.name = name
        variables = {
            **{k: v for k, v in os.environ.items() if k not in ("TF_USE_LEGACY_KERAS", "VIRTUAL_ENV")},
            **thread_variables(threads),
            "PYTHONPATH": str(_ROOT),
            "PYTHONWARNINGS": "ignore",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        self._log = log
        with open(log, "wb") as errors:
            self._process = subprocess.Popen(
                [str(python), "-m", "benchmarks.engine.peers.worker", name, str(threads)],
                cwd=_ROOT,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._buffer = b""
        self.versions = self._answer()["versions"]

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The answer to one request.

        Raises:
            PeerUnavailableError: if the peer fails, ends or is too slow.
        """
        line = json.dumps({"do": do, **arguments}) + "\n"
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError as error:
            raise PeerUnavailableError(self._ended()) from error
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(OSError):  # it may have ended by itself
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> dict[str, Any]:
        until = time.monotonic() + _SECONDS
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                self._process.kill()
                raise PeerUnavailableError(f"no answer within {_SECONDS} s")
            part = os.read(self._process.stdout.fileno(), 65536)
            if not part:
                raise PeerUnavailableError(self._ended())
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerUnavailableError(answer["error"])
        return answer

    def _ended(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return f"its process ended: {lines[-1][:200] if lines else 'without a word'}"
