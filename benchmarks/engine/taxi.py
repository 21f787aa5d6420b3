"""TFX's taxi example as the tests export it: the engine on the SavedModel, the bound on the bare Keras model."""

from __future__ import annotations

from tests.engine.feature_graph.keras_reference import reference
from tests.fixtures.exported_models.export import export

from benchmarks.engine.subject import Subject


def taxi(rows: int) -> Subject:
    """The model and its examples, repeated up to so many rows."""
    import tensorflow as tf

    exported = export("taxi")
    bare = reference(exported)
    whole = -(-rows // len(exported.examples))

    def encode(first: int, last: int) -> list[tf.Tensor]:
        picked = tf.range(first, last) % len(exported.examples)
        return [tf.gather(tensor, picked) for tensor in encoded]

    encoded = [tf.constant(tensor.numpy()) for tensor in bare.encode(exported.examples)]
    return Subject(
        name="taxi",
        path=exported.path,
        examples=(exported.examples * whole)[:rows],
        baseline=exported.input_baseline,
        head=lambda points: bare.head(points)[:, 0],
        encode=encode,
        encoded_baseline=bare.encode([exported.input_baseline]),
        network=None,
        columns=None,
    )
