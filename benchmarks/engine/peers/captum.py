"""Captum's IntegratedGradients, Gauss-Legendre."""

from __future__ import annotations

import numpy as np
import torch
from captum.attr import IntegratedGradients

from benchmarks.engine import rules
from benchmarks.engine.networks import Network
from benchmarks.engine.peers.peer import Attribute, Peer, by_rule, fastest, in_batches
from benchmarks.engine.peers.torch_network import build

PACKAGES = ("captum", "torch")
_CANDIDATES = [
    {"rows": rows, "internal_batch_size": size}
    for rows, size in ((4, None), (16, None), (64, None), (64, 128), (256, 256), (256, 1024))
]


def load(network: Network, rows: np.ndarray) -> Peer:
    """At the best of a few batch sizes."""
    method = IntegratedGradients(build(network))

    def make(rows: int, internal_batch_size: int | None) -> Attribute:
        def attribute(chunk: np.ndarray) -> np.ndarray:
            found = method.attribute(
                torch.from_numpy(chunk),
                target=0,
                n_steps=rules.STEPS,
                method="gausslegendre",
                internal_batch_size=internal_batch_size,
            )
            return found.detach().numpy()

        return in_batches(attribute, rows)

    attribute, settings = fastest(_CANDIDATES, make, rows)
    return by_rule(attribute, rules.gauss_legendre(rules.STEPS), settings)
