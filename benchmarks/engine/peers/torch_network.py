"""A network in torch."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.engine.networks import Layer, Network

_ACTIVATIONS = {"relu": torch.nn.ReLU, "swish": torch.nn.SiLU}


class _Log1p(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log1p(x)


class _Permute(torch.nn.Module):
    def __init__(self, *order: int) -> None:
        super().__init__()
        self._order = order

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(*self._order)


def build(network: Network) -> torch.nn.Module:
    """Rows float32 [rows, columns] -> logits [rows, 1]."""
    modules: list[torch.nn.Module] = []
    if len(network.shape) > 1:
        modules += [torch.nn.Unflatten(1, network.shape), _Permute(0, 3, 1, 2)]  # [rows, channels, height, width]
    for layer in network.layers:
        modules += _modules(layer)
    model = torch.nn.Sequential(*modules).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def _modules(layer: Layer) -> list[torch.nn.Module]:
    if layer.kind == "log1p":
        return [_Log1p()]
    if layer.kind == "flatten":
        return [_Permute(0, 2, 3, 1), torch.nn.Flatten()]  # the order of [height, width, channels]
    if layer.kind == "dense":
        inputs, units = layer.kernel.shape
        module: torch.nn.Module = torch.nn.Linear(inputs, units)
        weight = layer.kernel.T
    else:
        height, width, inputs, filters = layer.kernel.shape
        module = torch.nn.Conv2d(inputs, filters, (height, width), stride=layer.stride)
        weight = layer.kernel.transpose(3, 2, 0, 1)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        module.bias.copy_(torch.from_numpy(layer.bias))
    applied = _ACTIVATIONS.get(layer.activation)
    return [module, applied()] if applied else [module]
