"""Integrated gradients by a bare torch loop: no library in between."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.engine import rules
from benchmarks.engine.networks import Network
from benchmarks.engine.peers.peer import Attribute, Peer, by_rule, fastest, in_batches
from benchmarks.engine.peers.torch_network import build

PACKAGES = ("torch",)
_CANDIDATES = [
    {"rows": rows, "nodes_a_call": nodes}
    for rows, nodes in ((64, 10), (128, 10), (256, 1), (256, 5), (256, 50), (1024, 1))
]


def load(network: Network, rows: np.ndarray) -> Peer:
    """Gauss-Legendre, at the best of a few batch sizes."""
    model = build(network)
    nodes, weights = (torch.from_numpy(v.astype(np.float32)) for v in rules.gauss_legendre(rules.STEPS))

    def make(rows: int, nodes_a_call: int) -> Attribute:
        def attribute(chunk: np.ndarray) -> np.ndarray:
            x = torch.from_numpy(chunk)
            total = torch.zeros_like(x)
            for start in range(0, rules.STEPS, nodes_a_call):
                at, by = nodes[start : start + nodes_a_call], weights[start : start + nodes_a_call]
                points = (at[:, None, None] * x).reshape(-1, x.shape[1]).requires_grad_()  # [nodes * rows, columns]
                (gradient,) = torch.autograd.grad(model(points).sum(), points)
                total += torch.tensordot(by, gradient.reshape(len(at), *x.shape), 1)
            return (x * total).numpy()

        return in_batches(attribute, rows)

    attribute, settings = fastest(_CANDIDATES, make, rows)
    return by_rule(attribute, rules.gauss_legendre(rules.STEPS), settings)
