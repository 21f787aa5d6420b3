"""SmoothGrad: the gradient, averaged over noisy copies of a row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from tfx_explain.engine.methods.attributions import Attributions
from tfx_explain.engine.methods.gradient import one_number_a_feature
from tfx_explain.engine.methods.model import GRADIENT_COST, Cuts, GradientModel, MappableRows
from tfx_explain.engine.methods.noise import normals

Spreads = Mapping[str, Sequence[np.ndarray]]
"""By feature, for each of its cut tensors the standard deviation of every element, or one number for all."""


def smoothgrad(
    model: GradientModel,
    encoded: MappableRows,
    target: int | np.ndarray,
    row_seeds: np.ndarray,
    spreads: Spreads,
    scalars: Collection[str],
    *,
    samples: int = 25,
    noise_level: float = 0.1,
    squared: bool = False,
) -> Attributions:
    """The mean of the gradient over copies x + noise_level * spread * z, z standard normal, one number a feature.

    As for `gradient`, a feature whose cut is one number has a signed derivative, any other the Euclidean norm of the
    mean gradient; the unit is that of the explained value per unit of the cut tensor. SmoothGrad^2 averages squares:
    a feature has the mean of the squared derivative, or of the squared norm, in the square of that unit.

    Args:
        model: for instance a `FeatureModel`.
        encoded: the rows to explain.
        target: output column, one for all rows or int [rows].
        row_seeds: uint64 [rows], derived from each row's content: noise is a row's own, whatever its batch.
        spreads: see `spreads_of`.
        scalars: features whose cut is one number.
        samples: noisy copies of each row.
        noise_level: standard deviation of the noise in parts of the spread.
        squared: SmoothGrad^2.

    Raises:
        ValueError: if an argument is out of its range.

    References:
        Smilkov, Thorat, Kim, Viegas, Wattenberg: SmoothGrad (2017), https://arxiv.org/abs/1706.03825
        Hooker, Erhan, Kindermans, Kim: A Benchmark for Interpretability Methods (2019): SmoothGrad^2.
    """
    target = np.broadcast_to(np.asarray(target, dtype=np.int32), (len(encoded),))
    mean = smooth_gradients(
        model, encoded, target, row_seeds, spreads, samples=samples, noise_level=noise_level, squared=squared
    )
    if squared:
        attributions = np.stack([mean[name].sum(axis=1) for name in model.features], axis=1)
    else:
        attributions = one_number_a_feature(mean, model.features, scalars)
    return Attributions.without_completeness(
        attributions,
        model.explained(encoded, target),
        num_steps=samples,
        forward_equivalents=len(encoded) * (GRADIENT_COST * samples + 1),
    )


def smooth_gradients(
    model: GradientModel,
    encoded: MappableRows,
    target: np.ndarray,
    row_seeds: np.ndarray,
    spreads: Spreads,
    *,
    samples: int,
    noise_level: float,
    squared: bool,
) -> dict[str, np.ndarray]:
    """By feature the mean gradient, or squared gradient, over noisy copies: float64 [rows, n]; see `smoothgrad`."""
    rows = len(encoded)
    if samples < 1:
        raise ValueError(f"samples must be >= 1. Received: samples={samples}")
    if not (np.isfinite(noise_level) and noise_level >= 0):
        raise ValueError(f"noise_level must be a number >= 0. Received: noise_level={noise_level}")
    if len(row_seeds) != rows:
        raise ValueError(f"row_seeds must be one a row, {rows}. Received: {len(row_seeds)}")
    total: dict[str, np.ndarray] = {}
    for sample in range(samples):
        noisy = encoded.mapped(_Noise(row_seeds, spreads, noise_level, sample))
        for name, values in model.gradients(noisy, target).items():
            values = np.asarray(values, np.float64)
            total[name] = total.get(name, 0.0) + (values**2 if squared else values)
    return {name: values / samples for name, values in total.items()}


def spreads_of(cuts: Cuts, varying: Collection[str] = ()) -> Spreads:
    """The spread of each cut element over a sample: its standard deviation, float64 shaped as one row.

    A feature whose rows have tensors of varying length has one number a tensor, the root mean square over its elements:
    an element further back than the sample reaches has a spread, too.

    Args:
        cuts: by feature its cut tensors over the sample, each [rows, ...].
        varying: features whose cut tensors are longer in some batches than in others.
    """
    out: dict[str, list[np.ndarray]] = {}
    for name, tensors in cuts.items():
        deviations = [np.asarray(tensor, np.float64).std(axis=0) for tensor in tensors]
        if name in varying:
            deviations = [np.sqrt(np.mean(d**2)) if d.size else np.zeros(()) for d in deviations]
        out[name] = deviations
    return out


class _Noise:
    """Cut tensors -> noisy cut tensors, for one number of a sample."""

    def __init__(self, row_seeds: np.ndarray, spreads: Spreads, noise_level: float, sample: int):
        self._row_seeds, self._spreads, self._level, self._sample = row_seeds, spreads, noise_level, sample

    def __call__(self, cuts: Cuts) -> Cuts:
        return {
            name: [self._noisy(name, i, np.asarray(tensor)) for i, tensor in enumerate(tensors)]
            for name, tensors in cuts.items()
        }

    def _noisy(self, name: str, number: int, tensor: np.ndarray) -> np.ndarray:
        spread = self._level * self._spreads[name][number]
        if not np.any(spread):
            return tensor
        noise = normals(self._row_seeds, tensor.shape[1:], name, str(number), str(self._sample))
        return (tensor.astype(np.float64) + spread * noise).astype(tensor.dtype)
