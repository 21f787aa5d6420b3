"""alibi's IntegratedGradients, Gauss-Legendre; 0.9.4 is the last open release."""

from __future__ import annotations

import numpy as np
from alibi.explainers import IntegratedGradients

from benchmarks.engine import rules
from benchmarks.engine.networks import Network
from benchmarks.engine.peers.peer import Attribute, Peer, by_rule, fastest, in_batches
from benchmarks.engine.peers.tf_network import build

PACKAGES = ("alibi", "tensorflow-cpu")
_CANDIDATES = [
    {"rows": rows, "internal_batch_size": size} for rows, size in ((256, 512), (256, 2048), (256, 4096), (256, 12800))
]


def load(network: Network, rows: np.ndarray) -> Peer:
    """At the best of a few batch sizes."""
    model = build(network)

    def make(rows: int, internal_batch_size: int) -> Attribute:
        method = IntegratedGradients(
            model, n_steps=rules.STEPS, method="gausslegendre", internal_batch_size=internal_batch_size
        )

        def attribute(chunk: np.ndarray) -> np.ndarray:
            return np.asarray(method.explain(chunk, baselines=None, target=None).attributions[0])

        return in_batches(attribute, rows)

    attribute, settings = fastest(_CANDIDATES, make, rows)
    return by_rule(attribute, rules.gauss_legendre(rules.STEPS), settings)
