"""Gradients of a network in float64 numpy, and what a flipped ReLU changes: what decides between rounding and fault.

Knows numpy alone.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from benchmarks.engine.networks import Layer, Network

# Half a unit in the last place for each operation of a sum, some hundreds of them and mostly of both signs.
_ROUNDING = 32 * float(np.finfo(np.float32).eps)
_COPIES = 512


@dataclasses.dataclass(frozen=True)
class Forward:
    """Values of points.

    Attributes:
        logits: float64 [points].
        before: what each activation reads, by layer; None for a layer without weights.
        inputs: what each layer reads, by layer.
        near: bool, by layer as `before`: a ReLU's input within float32's rounding of its kink.
    """

    logits: np.ndarray
    before: list[np.ndarray | None]
    inputs: list[np.ndarray]
    near: list[np.ndarray | None]


def forward(network: Network, points: np.ndarray) -> Forward:
    """Runs points [points, columns]."""
    value = np.asarray(points, np.float64).reshape(-1, *network.shape)
    before: list[np.ndarray | None] = []
    inputs, near = [], []
    for layer in network.layers:
        inputs.append(value)
        if layer.kind in ("log1p", "flatten"):
            value = np.log1p(value) if layer.kind == "log1p" else value.reshape(len(value), -1)
            before.append(None)
            near.append(None)
            continue
        kernel, bias = layer.kernel.astype(np.float64), layer.bias.astype(np.float64)
        summed = _linear(layer, value, kernel) + bias
        size = _linear(layer, np.abs(value), np.abs(kernel)) + np.abs(bias)
        before.append(summed)
        near.append(np.abs(summed) <= _ROUNDING * size if layer.activation == "relu" else None)
        value = _activated(layer, summed)
    return Forward(value[:, 0], before, inputs, near)


def gradients(network: Network, found: Forward, gates: list[np.ndarray | None] | None = None) -> np.ndarray:
    """Gradient of the logits at the points, float64 [points, columns]; `gates` replace the ReLUs' own, by layer."""
    slope = np.ones((len(found.logits), 1))
    for i in reversed(range(len(network.layers))):
        layer, before, value = network.layers[i], found.before[i], found.inputs[i]
        if layer.kind == "log1p":
            slope = slope / (1 + value)
            continue
        if layer.kind == "flatten":
            slope = slope.reshape(value.shape)
            continue
        gate = gates[i] if gates is not None else None
        slope = slope * (_slope(layer, before) if gate is None else gate)
        slope = _transposed(layer, slope, value.shape)
    return slope.reshape(len(found.logits), -1)


def kink_allowance(network: Network, row: np.ndarray, nodes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """By how much ReLUs within rounding of their kink may move a row's attributions, float64 [features].

    Each such ReLU is flipped alone; the absolute changes are added up.
    """
    x = np.asarray(row, np.float64)
    points = np.asarray(nodes)[:, None] * x  # [nodes, columns]
    found = forward(network, points)
    flips = [(i, *at) for i, near in enumerate(found.near) if near is not None for at in np.argwhere(near)]
    base = gradients(network, found)
    allowed = np.zeros(len(network.features))
    for first in range(0, len(flips), _COPIES):
        part = flips[first : first + _COPIES]
        at_node = np.array([flip[1] for flip in part])
        copies = Forward(
            found.logits[at_node],
            [None if b is None else b[at_node] for b in found.before],
            [value[at_node] for value in found.inputs],
            [],
        )
        gates: list[np.ndarray | None] = [
            _slope(layer, before) if layer.activation == "relu" else None
            for layer, before in zip(network.layers, copies.before, strict=True)
        ]
        for copy, (layer, _, *place) in enumerate(part):
            gates[layer][(copy, *place)] = 1 - gates[layer][(copy, *place)]
        change = (gradients(network, copies, gates) - base[at_node]) * x * np.asarray(weights)[at_node, None]
        allowed += np.abs(network.by_feature(change)).sum(axis=0)
    return allowed


def _activated(layer: Layer, summed: np.ndarray) -> np.ndarray:
    if layer.activation == "relu":
        return np.maximum(summed, 0)
    return summed / (1 + np.exp(-summed)) if layer.activation == "swish" else summed


def _slope(layer: Layer, summed: np.ndarray) -> np.ndarray:
    if layer.activation == "relu":
        return (summed > 0).astype(np.float64)
    if layer.activation == "swish":
        gate = 1 / (1 + np.exp(-summed))
        return gate * (1 + summed * (1 - gate))
    return np.ones_like(summed)


def _linear(layer: Layer, value: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    if layer.kind == "dense":
        return value @ kernel
    height, width = kernel.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(value, (height, width), axis=(1, 2))
    windows = windows[:, :: layer.stride, :: layer.stride]  # [points, y, x, inputs, height, width]
    return np.einsum("nyxihw,hwif->nyxf", windows, kernel, optimize=True)


def _transposed(layer: Layer, slope: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    kernel = layer.kernel.astype(np.float64)
    if layer.kind == "dense":
        return slope @ kernel.T
    out = np.zeros(shape)
    rows, columns = (n * layer.stride for n in slope.shape[1:3])
    for y, x in np.ndindex(*kernel.shape[:2]):
        out[:, y : y + rows : layer.stride, x : x + columns : layer.stride] += slope @ kernel[y, x].T
    return out
