"""Small SavedModels written by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tests.fixtures.exported_models.examples import serialise

NAMES = ("a", "b", "c")
SPEC = {name: tf.io.FixedLenFeature([1], tf.float32) for name in NAMES}


def save(path: Path, function: Callable, spec: Mapping[str, Any] = SPEC, module: tf.Module | None = None) -> str:
    """Exports function(parsed features, serialised examples) -> outputs as `serving_default`."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        return function(tf.io.parse_example(examples, dict(spec)), examples)

    module = module or tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    return str(path)


def columns(parsed: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """The three numbers, [rows, 3]."""
    return tf.concat([parsed[name] for name in NAMES], 1)


def numbers(matrix: np.ndarray) -> list[bytes]:
    """Serialised tf.Examples of a matrix [rows, 3]."""
    return [serialise({name: [float(v)] for name, v in zip(NAMES, row, strict=True)}) for row in matrix]


def random_matrix(rows: int, seed: int = 0) -> np.ndarray:
    """Normal numbers, float32 [rows, 3]."""
    return np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)


def network(width: int = 3, targets: int = 1, activation: str = "tanh") -> keras.Model:
    """A small network with fixed weights."""
    keras.utils.set_random_seed(2)
    layers = [keras.layers.Dense(16, activation=activation) for _ in range(2)]
    return keras.Sequential([keras.Input((width,)), *layers, keras.layers.Dense(targets)])
