"""SHAP's GradientExplainer: expected gradients, here with the input baseline as its only background row."""

from __future__ import annotations

import numpy as np
import shap
import torch

from benchmarks.engine import rules
from benchmarks.engine.networks import Network
from benchmarks.engine.peers.peer import Peer
from benchmarks.engine.peers.torch_network import build

PACKAGES = ("shap", "torch")
_SEED = 7
_EXACT_ROWS = 64


def load(network: Network, rows: np.ndarray) -> Peer:
    """One gradient a node, as many as the others take.

    Nodes are drawn row by row. A call on one row alone begins at the seed: `exact` has the same nodes for every row.
    """
    background = torch.zeros(1, network.num_columns)
    explainer = shap.GradientExplainer(build(network), background, batch_size=rules.STEPS)

    def attribute(chunk: np.ndarray) -> np.ndarray:
        values = explainer.shap_values(torch.from_numpy(chunk), nsamples=rules.STEPS, rseed=_SEED)
        return np.asarray(values, np.float32).reshape(chunk.shape)

    def exact(chunk: np.ndarray) -> np.ndarray:
        return np.concatenate([attribute(row[None]) for row in chunk])

    rule = rules.uniform_draws(rules.STEPS, _SEED)
    return Peer(attribute, *rule, {"batch_size": rules.STEPS, "background_rows": 1}, exact, _EXACT_ROWS)
