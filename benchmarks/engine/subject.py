"""What is explained: an exported model and its examples for the engine, the same network bare for the bound."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmarks.engine.bare import Head
from benchmarks.engine.exported import baseline, export, serialise
from benchmarks.engine.networks import Inputs, Network, make, rows_for


@dataclasses.dataclass(frozen=True)
class Subject:
    """One model.

    Attributes:
        name: of the model.
        path: folder of the SavedModel.
        examples: serialised tf.Examples.
        baseline: the input baseline, one serialised tf.Example.
        head: the bare network behind its encoded inputs.
        encode: (first, last) -> the bare network's inputs of these rows.
        encoded_baseline: the same of the input baseline, one row.
        network: for the peers; None where they cannot follow.
        columns: the network's inputs, float32 [rows, columns]; None without a network.
    """

    name: str
    path: str
    examples: list[bytes]
    baseline: bytes
    head: Head
    encode: Callable[[int, int], list[tf.Tensor]]
    encoded_baseline: list[tf.Tensor]
    network: Network | None
    columns: np.ndarray | None


def built(name: str, rows: int, folder: pathlib.Path) -> Subject:
    """One of `networks.NAMES`, exported below the folder."""
    network = make(name)
    inputs: Inputs = rows_for(network, rows)
    model = export(network, folder / name)
    return Subject(
        name=name,
        path=str(folder / name),
        examples=serialise(network, inputs),
        baseline=baseline(network)[0],
        head=lambda points: model(points[0])[:, 0],
        encode=lambda first, last: [tf.constant(inputs.columns[first:last])],
        encoded_baseline=[tf.zeros([1, network.num_columns])],
        network=network,
        columns=inputs.columns,
    )


def subject_of(name: str, rows: int, folder: pathlib.Path) -> Subject:
    """One of `networks.MODELS`."""
    from benchmarks.engine.taxi import taxi

    return taxi(rows) if name == "taxi" else built(name, rows, folder)
