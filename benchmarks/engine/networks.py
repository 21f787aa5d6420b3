"""Networks as numpy weights and a small description: what the exported model and every peer are rebuilt from.

Knows numpy alone, since peers import it in environments of their own.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Literal

import numpy as np

NAMES = ("small", "medium", "wide", "cnn", "swish")
MODELS = (*NAMES, "taxi")
"""What the engine is measured on: the networks, and TFX's own example, which is none of them."""
WORDS, WORD_SIZE = 10_000, 16
_IMAGE = (28, 28, 1)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        kind: `log1p` and `flatten` have no weights; `conv` is without padding, with the stride below.
        activation: `relu`, `swish` or `linear`.
        stride: of a convolution, in both directions.
        kernel: `dense`: float32 [inputs, units]; `conv`: float32 [height, width, inputs, filters]; else empty.
        bias: float32 [units] or [filters]; else empty.
    """

    kind: Literal["dense", "conv", "flatten", "log1p"]
    activation: str = "linear"
    stride: int = 1
    kernel: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    bias: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))


@dataclasses.dataclass(frozen=True)
class Network:
    """A network from one vector of numbers to one logit; its input baseline is zero in every number.

    Attributes:
        name: one of `NAMES`.
        shape: of one row as the first layer reads it; its numbers, flat, are the columns of the inputs.
        layers: in order; the last has one unit, the logit.
        features: raw features, sorted by name.
        feature_of: the raw feature of each column, int [columns].
        words: float32 [words, dimensions]; row 0 is zero, the word of the input baseline. Empty without a word: the
            first columns of the inputs are the word's vector.
    """

    name: str
    shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    features: tuple[str, ...]
    feature_of: np.ndarray
    words: np.ndarray

    @property
    def num_columns(self) -> int:
        """Numbers that the first layer reads."""
        return int(np.prod(self.shape))

    def by_feature(self, attributions: np.ndarray) -> np.ndarray:
        """Attributions of columns [rows, columns] summed to raw features, float64 [rows, features]."""
        belongs = self.feature_of[:, None] == np.arange(len(self.features))  # [columns, features]
        return np.asarray(attributions, np.float64) @ belongs

    def save(self, path: pathlib.Path) -> None:
        """Writes one `.npz`."""
        described = {
            "name": self.name,
            "shape": self.shape,
            "features": self.features,
            "layers": [[layer.kind, layer.activation, layer.stride] for layer in self.layers],
        }
        arrays = {f"kernel{i}": layer.kernel for i, layer in enumerate(self.layers)}
        arrays |= {f"bias{i}": layer.bias for i, layer in enumerate(self.layers)}
        np.savez(path, description=json.dumps(described), feature_of=self.feature_of, words=self.words, **arrays)

    @classmethod
    def load(cls, path: pathlib.Path | str) -> Network:
        """Reads what `save` wrote."""
        with np.load(path) as stored:
            described = json.loads(str(stored["description"]))
            layers = tuple(
                Layer(kind, activation, stride, stored[f"kernel{i}"], stored[f"bias{i}"])
                for i, (kind, activation, stride) in enumerate(described["layers"])
            )
            shape, features = tuple(described["shape"]), tuple(described["features"])
            return cls(described["name"], shape, layers, features, stored["feature_of"], stored["words"])


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Rows for a network.

    Attributes:
        columns: float32 [rows, columns], what the first layer reads.
        word: int [rows], which word; None for a network without words.
    """

    columns: np.ndarray
    word: np.ndarray | None


def make(name: str) -> Network:
    """The network of that name, always with the same weights.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in NAMES:
        raise ValueError(f"a network must be one of {NAMES}. Received: {name!r}")
    generator = np.random.default_rng([20, NAMES.index(name)])
    no_words = np.zeros((0, 0), np.float32)

    def dense(inputs: int, *widths: int, activation: str = "relu") -> tuple[Layer, ...]:
        layers = []
        for i, width in enumerate((*widths, 1)):
            kernel = generator.normal(size=(inputs, width)) * np.sqrt(2 / inputs)
            bias = generator.normal(size=width) * 0.1
            applied = activation if i < len(widths) else "linear"
            layers.append(Layer("dense", applied, 1, kernel.astype(np.float32), bias.astype(np.float32)))
            inputs = width
        return tuple(layers)

    def conv(inputs: int, filters: int) -> Layer:
        kernel = generator.normal(size=(3, 3, inputs, filters)) * np.sqrt(2 / (9 * inputs))
        bias = generator.normal(size=filters) * 0.1
        return Layer("conv", "relu", 2, kernel.astype(np.float32), bias.astype(np.float32))

    def numbers(count: int, layers: tuple[Layer, ...]) -> Network:
        features = tuple(f"f{i:03d}" for i in range(count))
        return Network(name, (count,), layers, features, np.arange(count), no_words)

    if name == "small":
        return numbers(30, dense(30, 64, 64))
    if name == "medium":
        return numbers(200, dense(200, 256, 256, 256))
    if name == "swish":
        return numbers(30, (Layer("log1p"), *dense(30, 64, 64, activation="swish")))
    if name == "wide":
        words = generator.normal(size=(WORDS, WORD_SIZE)).astype(np.float32)
        words[0] = 0
        features = (*(f"f{i:03d}" for i in range(10)), "word")
        feature_of = np.concatenate([np.full(WORD_SIZE, 10), np.arange(10)])
        return Network(name, (WORD_SIZE + 10,), dense(WORD_SIZE + 10, 64), features, feature_of, words)
    layers = (conv(1, 8), conv(8, 16), Layer("flatten"), *dense(6 * 6 * 16))
    return Network(name, _IMAGE, layers, ("image",), np.zeros(int(np.prod(_IMAGE)), np.int64), no_words)


def rows_for(network: Network, rows: int) -> Inputs:
    """Rows of that network."""
    generator = np.random.default_rng([21, NAMES.index(network.name)])
    if network.name == "wide":
        word = generator.integers(1, WORDS, size=rows)
        numbers = generator.normal(size=(rows, network.num_columns - WORD_SIZE)).astype(np.float32)
        return Inputs(np.concatenate([network.words[word], numbers], axis=1), word)
    columns = generator.normal(size=(rows, network.num_columns)).astype(np.float32)
    if network.name == "swish":
        columns = np.exp(columns)  # log1p needs numbers above -1
    if network.name == "cnn":
        columns = np.clip(columns * 0.5, 0, 1)
    return Inputs(columns, None)
