"""One model measured: the engine, its bound and the peers in turn, round by round."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.engine.bare import Bound
from benchmarks.engine.compare import Completeness, as_complete, completeness, difference, summed_absolute
from benchmarks.engine.environments import PeerUnavailableError
from benchmarks.engine.ours import BLOCK_ROWS, Engine
from benchmarks.engine.process import PeerProcess
from benchmarks.engine.rules import STEPS, gauss_legendre
from benchmarks.engine.subject import Subject

_REPAIR_BLOCKS, _REPAIR_SECONDS = 4, 2.0
_COSTLY = {"medium": 5, "cnn": 10}
OTHER_STEPS = (8, 16, 24, 32, 40, 56)
"""Nodes of the engine that are tried for a peer's completeness error."""
_MICRO = 1e6


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        blocks: of `BLOCK_ROWS` rows in a round, for the engine and its bound.
        peer_rows: in all rounds together, for each peer; at most one block.
        rounds: the engine, the bound and each peer in turn; the median round counts.
    """

    blocks: int
    peer_rows: int
    rounds: int

    @property
    def rows(self) -> int:
        """Rows of the engine and of the bound in all rounds."""
        return self.blocks * self.rounds * BLOCK_ROWS

    def for_model(self, name: str) -> Plan:
        """Fewer blocks for a model whose rows cost many times those of the others."""
        return dataclasses.replace(self, blocks=-(-self.blocks // _COSTLY.get(name, 1)))


def measure(
    subject: Subject, plan: Plan, peers: Mapping[str, PeerProcess | str], folder: pathlib.Path
) -> dict[str, Any]:
    """Measures one model.

    Args:
        subject: to explain.
        plan: how much.
        peers: the process of each, or why there is none.
        folder: for files that are exchanged.

    Returns:
        Plain data: times in CPU microseconds a row, largest differences, completeness errors; by peer, a `not_run`
        with its reason where it could not be measured.
    """
    rule = gauss_legendre(STEPS)
    engine = Engine(subject.path, subject.examples, subject.baseline)
    bound = Bound(subject.head, subject.encode(0, BLOCK_ROWS), subject.encoded_baseline, *rule)
    reasons = {name: process for name, process in peers.items() if isinstance(process, str)}
    loaded: dict[str, dict[str, Any]] = {}
    running = {name: process for name, process in peers.items() if isinstance(process, PeerProcess)}
    if subject.network is None:
        reasons.update(dict.fromkeys(running, "the model's own layers are rebuilt for the bound alone"))
        running = {}
    else:
        subject.network.save(folder / f"{subject.name}.npz")
        np.savez(folder / f"{subject.name}_rows.npz", columns=subject.columns[: plan.peer_rows])

    def attempt(name: str, do: str, **arguments: Any) -> dict[str, Any] | None:
        try:
            return running[name].ask(do, **arguments)
        except PeerUnavailableError as error:
            reasons[name] = str(error)
            del running[name]
            return None

    for name in list(running):
        paths = {
            "network": str(folder / f"{subject.name}.npz"),
            "rows": str(folder / f"{subject.name}_rows.npz"),
        }
        answer = attempt(name, "load", **paths)
        if answer is not None:
            loaded[name] = answer

    times: dict[str, list[float]] = collections.defaultdict(list)
    first_blocks = _warm(engine, subject)
    for number in range(plan.rounds):
        first, last = (n * plan.blocks * BLOCK_ROWS for n in (number, number + 1))
        blocks, encode_s = engine.blocks(subject.examples[first:last])
        inputs = subject.encode(first, last)
        times["encode"].append(_MICRO * encode_s / (last - first))
        times["ours"].append(_MICRO * engine.seconds(blocks) / (last - first))
        times["plain"].append(_MICRO * engine.seconds(blocks, plain=True) / (last - first))
        for steps in OTHER_STEPS:
            times[f"ours at {steps}"].append(_MICRO * engine.seconds(blocks[:1], steps=steps) / BLOCK_ROWS)
        times["bound"].append(_MICRO * bound.seconds(inputs) / (last - first))
        at, to = (n * plan.peer_rows // plan.rounds for n in (number, number + 1))
        for name in list(running):
            answer = attempt(name, "run", first=at, last=to)
            if answer is not None:
                times[name].append(_MICRO * answer["cpu_s"] / (to - at))
                times[f"{name} wall"].append(_MICRO * answer["wall_s"] / (to - at))

    rows = min(plan.peer_rows, len(subject.examples))
    ours = engine.integrate(first_blocks, rows, *rule)
    bare = bound.attribute(subject.encode(0, rows))
    flat = np.concatenate([part.reshape(rows, -1) for part in bare], axis=1)
    gap = ours.prediction.astype(np.float64) - ours.baseline_prediction
    scale = summed_absolute(flat)
    by_steps = {STEPS: completeness(ours.attributions, gap, scale)}
    for steps in OTHER_STEPS:
        other = engine.integrate(first_blocks, rows, *gauss_legendre(steps))
        by_steps[steps] = completeness(other.attributions, gap, scale)
    out = {
        "rows": plan.rows,
        "us": {key: statistics.median(times[key]) for key in ("ours", "plain", "bound", "encode")},
        "rounds_us": dict(times),
        "ratio_to_bound": statistics.median(b / o for b, o in zip(times["bound"], times["ours"], strict=True)),
        "bound": bound.settings,
        "compiled": engine.compiled,
        "completeness": {
            "ours": dataclasses.asdict(by_steps[STEPS]),
            "bound": dataclasses.asdict(completeness(flat, gap, scale)),
        },
        "completeness_by_steps": {steps: dataclasses.asdict(found) for steps, found in by_steps.items()},
        "repair": _repair(engine, subject, statistics.median(times["ours"])),
    }
    if subject.network is not None:
        columns = subject.columns[:rows]
        apart = difference(subject.network, columns, ours.attributions, flat, *rule)
        out["bound_difference"] = {**dataclasses.asdict(apart), "equal": apart.equal}
    out["peers"] = {name: {"not_run": reason} for name, reason in reasons.items()}
    for name in list(running):
        path = folder / f"{subject.name}_{name}.npz"
        if attempt(name, "write", path=str(path)) is None:
            out["peers"][name] = {"not_run": reasons[name]}
            continue
        nodes, weights = (np.array(loaded[name][key]) for key in ("nodes", "weights"))
        with np.load(path) as stored:
            timed, exact = stored["attributions"], stored["exact"]
        same_rule = engine.integrate(first_blocks, len(exact), nodes, weights)
        columns = subject.columns[: len(exact)]
        apart = difference(subject.network, columns, same_rule.attributions, exact, nodes, weights)
        error = completeness(timed, gap, scale)
        out["peers"][name] = {
            "settings": loaded[name]["settings"],
            "us": statistics.median(times[name]),
            "wall_us": statistics.median(times[f"{name} wall"]),
            "times_faster": statistics.median(t / o for t, o in zip(times[name], times["ours"], strict=True)),
            "at_its_error": _at_error(error, by_steps, times, times[name]),
            "difference": {**dataclasses.asdict(apart), "equal": apart.equal},
            "completeness": dataclasses.asdict(error),
        }
    return out


def _at_error(
    error: Completeness, by_steps: Mapping[int, Completeness], times: Mapping[str, list[float]], theirs: list[float]
) -> dict[str, Any] | None:
    """The least count of nodes at which the engine is as complete as a peer, and how many times faster it is then."""
    enough = [steps for steps, found in by_steps.items() if as_complete(found, error)]
    if not enough:
        return None
    steps = min(enough)
    own = times["ours" if steps == STEPS else f"ours at {steps}"]
    return {"steps": steps, "times_faster": statistics.median(t / o for t, o in zip(theirs, own, strict=True))}


def _warm(engine: Engine, subject: Subject) -> list[Any]:
    """The first block, which every comparison uses; computing it traces nothing later on."""
    blocks, _ = engine.blocks(subject.examples[:BLOCK_ROWS])
    engine.seconds(blocks)
    engine.seconds(blocks, plain=True)
    for steps in OTHER_STEPS:
        engine.seconds(blocks, steps=steps)
    return blocks


def _repair(engine: Engine, subject: Subject, us: float) -> dict[str, Any]:
    count = int(np.clip(_REPAIR_SECONDS * _MICRO / (us * BLOCK_ROWS), 1, _REPAIR_BLOCKS))
    blocks, _ = engine.blocks(subject.examples[: count * BLOCK_ROWS])
    found = engine.repair(blocks)
    per_row = _MICRO / found.rows
    return {
        "rows": found.rows,
        "us": found.repaired_s * per_row,
        "unconverged_at_first": found.unconverged_at_first,
        "unconverged": found.unconverged,
        "fixed_steps": found.fixed_steps,
        "fixed_us": None if found.fixed_s is None else found.fixed_s * per_row,
    }
