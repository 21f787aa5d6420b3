"""The gradient at x, and its product with the input."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from tfx_explain.engine.methods.attributions import Attributions
from tfx_explain.engine.methods.model import GRADIENT_COST, GradientModel, PathModel, Rows

AT_X = np.ones(1), np.ones(1)
"""One node, at the end of the path: the gradient at x itself."""


def gradient(model: GradientModel, encoded: Rows, target: int | np.ndarray, scalars: Collection[str]) -> Attributions:
    """The gradient of the explained value at x, one number a feature (saliency).

    A feature whose cut is one number has its signed derivative. Any other has the Euclidean norm of the gradient over
    all its cut tensors. A sum over them would mean nothing: the entries of a one-hot vector or an embedding are not
    moved together, and derivatives of opposite sign would cancel where the model is most sensitive.

    The unit is that of the explained value per unit of the cut tensor, so that features of different scales do not
    compare, and nothing adds up.

    Args:
        model: for instance a `FeatureModel`.
        encoded: the rows to explain.
        target: output column, one for all rows or int [rows].
        scalars: features whose cut is one number.

    References:
        Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks (2014), https://arxiv.org/abs/1312.6034
    """
    rows = len(encoded)
    target = np.broadcast_to(np.asarray(target, dtype=np.int32), (rows,))
    found = model.gradients(encoded, target)
    return Attributions.without_completeness(
        one_number_a_feature(found, model.features, scalars),
        model.explained(encoded, target),
        num_steps=1,
        forward_equivalents=rows * (GRADIENT_COST + 1),
    )


def gradient_x_input(model: PathModel, encoded: Rows, input_baseline: Rows, target: int | np.ndarray) -> Attributions:
    """The first-order term of the explained value at x: sum over a feature's cut of (x - b) * df/dx(x).

    With a baseline of zeros it is the classic gradient times input. It adds up to the change of the explained value
    where the model is linear between the input baseline and x, and not in general.

    Args:
        model: for instance a `FeatureModel`.
        encoded: the rows to explain.
        input_baseline: one encoded row for all, or a row for each of `encoded`.
        target: output column, one for all rows or int [rows].

    Raises:
        ValueError: if the input baseline has another number of rows.

    References:
        Shrikumar, Greenside, Shcherbina, Kundaje: Not Just a Black Box (2016), https://arxiv.org/abs/1605.01713
    """
    rows = len(encoded)
    if len(input_baseline) not in (1, rows):
        raise ValueError(
            f"input_baseline must have one row, or as many as encoded ({rows}). Received: {len(input_baseline)}"
        )
    target = np.broadcast_to(np.asarray(target, dtype=np.int32), (rows,))
    found = model.path_gradients(encoded, input_baseline, target, *AT_X)
    return Attributions.without_completeness(
        found.attributions,
        found.prediction,
        num_steps=1,
        forward_equivalents=rows * (GRADIENT_COST + 1) + len(input_baseline),
    )


def one_number_a_feature(
    gradients: Mapping[str, np.ndarray], features: Sequence[str], scalars: Collection[str]
) -> np.ndarray:
    """Signed where the cut is one number, else the Euclidean norm: float64 [rows, features].

    Args:
        gradients: by feature [rows, n].
        features: the order of the result.
        scalars: features whose cut is one number.

    Raises:
        ValueError: if a feature among the scalars has several numbers.
    """
    columns = []
    for name in features:
        values = np.ascontiguousarray(gradients[name], np.float64)
        if name not in scalars:
            columns.append(np.sqrt(np.square(values).sum(axis=1)))
        elif values.shape[1] == 1:
            columns.append(values[:, 0])
        else:
            raise ValueError(f"the cut of a scalar feature must be one number. Received: {name!r}, {values.shape[1]}")
    return np.stack(columns, axis=1)
