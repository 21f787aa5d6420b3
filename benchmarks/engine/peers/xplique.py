"""Xplique's IntegratedGradients, which integrates by trapezoids."""

from __future__ import annotations

import numpy as np
from xplique.attributions import IntegratedGradients

from benchmarks.engine import rules
from benchmarks.engine.networks import Network
from benchmarks.engine.peers.peer import Attribute, Peer, by_rule, fastest, in_batches
from benchmarks.engine.peers.tf_network import build

PACKAGES = ("xplique", "tensorflow")
_CANDIDATES = [{"rows": 256, "batch_size": size} for size in (512, 2048, 4096, 12800)]


def load(network: Network, rows: np.ndarray) -> Peer:
    """At the best of a few batch sizes."""
    model = build(network)

    def make(rows: int, batch_size: int) -> Attribute:
        method = IntegratedGradients(model, steps=rules.STEPS, batch_size=batch_size, baseline_value=0.0)

        def attribute(chunk: np.ndarray) -> np.ndarray:
            found = method.explain(chunk, np.ones((len(chunk), 1), np.float32))
            return np.asarray(found).reshape(chunk.shape)

        return in_batches(attribute, rows)

    attribute, settings = fastest(_CANDIDATES, make, rows)
    return by_rule(attribute, rules.trapezoid(rules.STEPS), settings)
