"""The engine on one exported model, timed: encoding, path integrals, and the repair of unconverged rows."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.engine.rules import STEPS, gauss_legendre
from tfx_explain.engine.feature_graph import CompiledModel, Encoded, FeatureModel, PathIntegral
from tfx_explain.engine.methods.attributions import Attributions
from tfx_explain.engine.methods.convergence import converged, rounding_error
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients

BLOCK_ROWS = 2048
_ROUNDS = 3
FIXED_STEPS = (50, 64, 100, 128, 200, 256, 400)


@dataclasses.dataclass(frozen=True)
class Repair:
    """Rows that have not converged, with the repair and with one count of nodes for all rows.

    Attributes:
        rows: measured.
        repaired_s: CPU seconds of integrated gradients with the repair.
        unconverged: share of rows after it.
        unconverged_at_first: share of rows that it was given.
        fixed_steps: the least count of nodes, of a few, that leaves no more rows unconverged; None if none does.
        fixed_s: CPU seconds of that.
    """

    rows: int
    repaired_s: float
    unconverged: float
    unconverged_at_first: float
    fixed_steps: int | None
    fixed_s: float | None


class Engine:
    """A `FeatureModel` and its input baseline, integrated as in a large job: compiled where XLA suits the model."""

    def __init__(self, path: str, examples: Sequence[bytes], baseline: bytes) -> None:
        self.model = FeatureModel.load(path, sample=list(examples[:16]))
        self.paths = CompiledModel(self.model)
        self._baseline = self.model.encode([baseline])

    @property
    def compiled(self) -> bool:
        """Whether XLA suits the model, and gives on its sample what the plain graph does."""
        return self.paths.compiles

    def blocks(self, examples: Sequence[bytes]) -> tuple[list[Encoded], float]:
        """Encoded blocks of one shape, the last filled up with its first rows, and their CPU seconds."""
        parts = [list(examples[first : first + BLOCK_ROWS]) for first in range(0, len(examples), BLOCK_ROWS)]
        parts = [[part[i % len(part)] for i in range(BLOCK_ROWS)] for part in parts]
        start = time.process_time()
        encoded = [self.model.encode(part) for part in parts]
        return encoded, time.process_time() - start

    def seconds(self, blocks: Sequence[Encoded], plain: bool = False, steps: int = STEPS) -> float:
        """CPU seconds of path integrals of blocks; `plain`: as in a small job, uncompiled."""
        rule = gauss_legendre(steps)
        paths = self.model if plain else self.paths
        start = time.process_time()
        for block in blocks:
            paths.path_gradients(block, self._baseline, 0, *rule)
        return time.process_time() - start

    def integrate(self, blocks: Sequence[Encoded], rows: int, nodes: np.ndarray, weights: np.ndarray) -> PathIntegral:
        """The first rows of blocks, by any rule."""
        parts = [self.paths.path_gradients(block, self._baseline, 0, nodes, weights) for block in blocks]
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])[:rows]
            for name in ("attributions", "prediction", "baseline_prediction")
        }
        return PathIntegral(**joined)

    def repair(self, blocks: Sequence[Encoded]) -> Repair:
        """The default repair, beside the fixed count of nodes that does as much."""
        rows = sum(map(len, blocks))

        def repaired() -> list[Attributions]:
            return [integrated_gradients(self.paths, block, self._baseline, 0, num_steps=STEPS) for block in blocks]

        found = repaired()
        left = 1 - float(np.mean(np.concatenate([part.converged for part in found])))
        at_first = float(np.mean(np.concatenate([part.num_steps for part in found]) > STEPS))
        # More nodes leave fewer rows: the least count is found by halving.
        low, high = 0, len(FIXED_STEPS)
        while low < high:
            middle = (low + high) // 2
            unconverged = self._unconverged(self.integrate(blocks, rows, *gauss_legendre(FIXED_STEPS[middle])))
            low, high = (low, middle) if unconverged <= left else (middle + 1, high)
        steps = None if low == len(FIXED_STEPS) else FIXED_STEPS[low]
        spent: dict[str, list[float]] = {"repaired": [], "fixed": []}
        for _ in range(_ROUNDS):  # in turn; what both compile, they have compiled above
            start = time.process_time()
            repaired()
            spent["repaired"].append(time.process_time() - start)
            if steps is not None:
                spent["fixed"].append(self.seconds(blocks, steps=steps))
        fixed_s = statistics.median(spent["fixed"]) if steps is not None else None
        return Repair(rows, statistics.median(spent["repaired"]), left, at_first, steps, fixed_s)

    @staticmethod
    def _unconverged(found: PathIntegral) -> float:
        exact = found.attributions.astype(np.float64)
        gap = found.prediction.astype(np.float64) - found.baseline_prediction
        rounding = rounding_error(found.prediction, found.baseline_prediction)
        good = converged(exact.sum(axis=1) - gap, gap, np.abs(exact).sum(axis=1), rounding=rounding)
        return 1 - float(np.mean(good))
