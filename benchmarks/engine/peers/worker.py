"""A peer's process: reads requests as lines of JSON, answers each with one, until its input ends.

    python -m benchmarks.engine.peers.worker <peer> <threads>

Requests: `load` a network and its rows, `run` rows timed, `write` attributions. What libraries print goes to stderr.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import sys
import time
from typing import Any

import numpy as np

from benchmarks.engine.networks import Network
from benchmarks.engine.peers.peer import Peer


class Worker:
    """One peer and the network that was loaded last."""

    def __init__(self, name: str, threads: int) -> None:
        self._module = importlib.import_module(f"benchmarks.engine.peers.{name}")
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
        self._peer: Peer | None = None
        self._rows = self._found = np.zeros((0, 0), np.float32)

    def hello(self) -> dict[str, Any]:
        """Versions."""
        versions = {package: importlib.metadata.version(package) for package in ("numpy", *self._module.PACKAGES)}
        return {"versions": {"python": platform.python_version(), **versions}}

    def load(self, network: str, rows: str) -> dict[str, Any]:
        """Builds the network and looks for the best settings on the first rows."""
        with np.load(rows) as stored:
            self._rows = stored["columns"]
        self._found = np.full_like(self._rows, np.nan)
        self._peer = self._module.load(Network.load(network), self._rows)
        self._peer.attribute(self._rows[:256])
        return {
            "settings": self._peer.settings,
            "nodes": self._peer.nodes.tolist(),
            "weights": self._peer.weights.tolist(),
        }

    def run(self, first: int, last: int) -> dict[str, Any]:
        """CPU and wall seconds of rows first to last."""
        rows = self._rows[first:last]
        cpu, wall = time.process_time(), time.perf_counter()
        found = self._peer.attribute(rows)
        spent = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
        self._found[first:last] = found
        return spent

    def write(self, path: str) -> dict[str, Any]:
        """What the timed runs found, not a number where none ran; and the attributions by the exact rule."""
        peer = self._peer
        exact = self._found if peer.exact is peer.attribute else peer.exact(self._rows[: peer.exact_rows])
        np.savez(path, attributions=self._found, exact=exact)
        return {}


def main() -> None:
    """Answers until the input ends; a request that fails is answered with its error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(reply: dict[str, Any]) -> None:
        answers.write(json.dumps(reply) + "\n")

    worker = Worker(sys.argv[1], int(sys.argv[2]))
    answer(worker.hello())
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(getattr(worker, request.pop("do"))(**request))
        except Exception as error:  # whatever a peer raises becomes its row of the table
            answer({"error": f"{type(error).__name__}: {error}"[:500]})


if __name__ == "__main__":
    main()
