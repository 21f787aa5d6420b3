"""PAIR's saliency: IntegratedGradients, one row a call as its interface wants it, gradients by torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from saliency.core import INPUT_OUTPUT_GRADIENTS, IntegratedGradients

from benchmarks.engine import rules
from benchmarks.engine.networks import Network
from benchmarks.engine.peers.peer import Peer, by_rule
from benchmarks.engine.peers.torch_network import build

PACKAGES = ("saliency", "torch")


def load(network: Network, rows: np.ndarray) -> Peer:
    """The mean over evenly spaced nodes, both ends among them."""
    model, method = build(network), IntegratedGradients()

    def call(points: np.ndarray, call_model_args: Any = None, expected_keys: Any = None) -> dict[str, np.ndarray]:
        at = torch.from_numpy(points.astype(np.float32)).requires_grad_()
        (gradient,) = torch.autograd.grad(model(at).sum(), at)
        return {INPUT_OUTPUT_GRADIENTS: gradient.numpy()}

    def attribute(chunk: np.ndarray) -> np.ndarray:
        found = [method.GetMask(x, call, x_steps=rules.STEPS, batch_size=rules.STEPS) for x in chunk]
        return np.stack(found)

    return by_rule(attribute, rules.mean_with_ends(rules.STEPS), {"batch_size": rules.STEPS})
