"""Preprocessing and training of the Chicago Taxi model: will the tip exceed 20 % of the fare?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx import v1 as tfx
from tfx_bsl.public import tfxio

# pickup_census_tract is left out: the file holds it in one row of 15,002.
NUMERIC_FEATURES = ("fare", "trip_miles", "trip_seconds")
BUCKETISED_FEATURES = ("pickup_latitude", "pickup_longitude", "dropoff_latitude", "dropoff_longitude")
CATEGORICAL_FEATURES = (
    "trip_start_month",
    "trip_start_day",
    "trip_start_hour",
    "pickup_community_area",
    "dropoff_community_area",
    "dropoff_census_tract",
    "company",
    "payment_type",
)
ALL_FEATURES = NUMERIC_FEATURES + BUCKETISED_FEATURES + CATEGORICAL_FEATURES
TIPS_COLUMN = "tips"
LABEL = "big_tip"

NUM_BUCKETS = 10
MAX_VOCABULARY_SIZE = 60
# Transform's id for a missing value: its one-hot row is all zeros.
MISSING_ID = -1

# Few epochs and a weight penalty keep the network well fitted: attributions of an overfit one are mostly noise,
# and honest retrains of it differ as much as faulty ones.
HIDDEN_UNITS = (64, 64)
L2_PENALTY = 2e-3
LEARNING_RATE = 1e-3
BATCH_SIZE = 128
EPOCHS = 4


def transformed_name(feature: str) -> str:
    """Name of a feature behind Transform."""
    return f"{feature}_xf"


def preprocessing_fn(inputs: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Makes every feature and the label; which features are used is the trainer's choice.

    Args:
      inputs: raw columns by name, dense [batch, 1] where every row has a value, else sparse.

    Returns:
      `<feature>_xf`: float32 [batch, 1] for numeric features, int64 ids [batch, 1] for the others;
      `big_tip`: int64 [batch, 1].
    """
    outputs = {}
    for feature in NUMERIC_FEATURES:
        # Fares, miles and seconds have long tails; after log1p and the z-score a missing value is the mean, 0.
        scaled = tft.scale_to_z_score(_map_values(tf.math.log1p, inputs[feature]))
        outputs[transformed_name(feature)] = _densify(scaled, 0.0)
    for feature in BUCKETISED_FEATURES:
        outputs[transformed_name(feature)] = _densify(tft.bucketize(inputs[feature], NUM_BUCKETS), MISSING_ID)
    for feature in CATEGORICAL_FEATURES:
        ids = tft.compute_and_apply_vocabulary(
            inputs[feature], top_k=MAX_VOCABULARY_SIZE, num_oov_buckets=1, vocab_filename=feature
        )
        outputs[transformed_name(feature)] = _densify(ids, MISSING_ID)
    outputs[LABEL] = tf.cast(inputs[TIPS_COLUMN] > 0.2 * inputs["fare"], tf.int64)
    return outputs


def _map_values(function: Callable[[tf.Tensor], tf.Tensor], column: Any) -> Any:
    """Applies `function` to a dense column, or to the values of a sparse one, as float32."""
    if isinstance(column, tf.SparseTensor):
        return tf.SparseTensor(column.indices, function(tf.cast(column.values, tf.float32)), column.dense_shape)
    return function(tf.cast(column, tf.float32))


def _densify(column: Any, missing: float) -> tf.Tensor:
    """A column as dense [batch, 1]."""
    if isinstance(column, tf.SparseTensor):
        single = tf.SparseTensor(column.indices, column.values, [column.dense_shape[0], 1])
        return tf.sparse.to_dense(single, default_value=missing)
    return column


def run_fn(fn_args: tfx.components.FnArgs) -> None:
    """Trains on the listed features and exports the model with its Transform graph.

    The same transformed rows and seed give the same weights, bit for bit.

    Args:
      fn_args: TFX's arguments. `custom_config` holds `features` (raw names), `seed`, and `resample`: True draws the
        training rows anew, with replacement, as a retrain on fresh data would.

    Raises:
      ValueError: a feature is not among those that Transform makes.
    """
    features: list[str] = fn_args.custom_config["features"]
    seed: int = fn_args.custom_config["seed"]
    unknown = sorted(set(features) - set(ALL_FEATURES))
    if unknown or not features:
        raise ValueError(
            f"features must be some of {sorted(ALL_FEATURES)}. Received: {features}, of which unknown: {unknown}"
        )

    transform_output = tft.TFTransformOutput(fn_args.transform_output)
    inputs, labels = _read_rows(fn_args.train_files, fn_args.data_accessor, transform_output, features)
    if fn_args.custom_config["resample"]:
        drawn = np.random.default_rng(seed).integers(0, len(labels), len(labels))
        inputs, labels = {name: column[drawn] for name, column in inputs.items()}, labels[drawn]
    rows = tf.data.Dataset.from_tensor_slices((inputs, labels))

    model = build_model(transform_output, features, seed)
    model.fit(rows.shuffle(len(labels), seed=seed).batch(BATCH_SIZE), epochs=EPOCHS, verbose=2)
    tf.saved_model.save(
        model,
        fn_args.serving_model_dir,
        signatures={
            "serving_default": _serving_signature(model, transform_output, features),
            # Evaluator and ExplainerGen read the label from here.
            "transform_features": _transform_signature(model, transform_output),
        },
    )


def _read_rows(
    files: list[str],
    data_accessor: tfx.components.DataAccessor,
    transform_output: tft.TFTransformOutput,
    features: Sequence[str],
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Reads transformed rows into memory (here a few MB): columns of the listed features and labels, each [rows, 1]."""
    batches = data_accessor.tf_dataset_factory(
        files,
        tfxio.TensorFlowDatasetOptions(batch_size=4096, num_epochs=1, shuffle=False, label_key=LABEL),
        transform_output.transformed_metadata.schema,
    ).as_numpy_iterator()
    columns, labels = zip(*batches, strict=True)
    # Keras 3 binds a dictionary by position when it holds more than the model's keys: give exactly those.
    names = [transformed_name(feature) for feature in features]
    return {name: np.concatenate([batch[name] for batch in columns]) for name in names}, np.concatenate(labels)


def build_model(transform_output: tft.TFTransformOutput, features: Sequence[str], seed: int) -> keras.Model:
    """A two-layer ReLU network on z-scores and one-hot rows.

    Args:
      transform_output: where the vocabularies' sizes are read.
      features: raw names of the features to use.
      seed: of the initial weights. A layer that draws random numbers (Dropout) needs a seed of its own too:
        without one Keras 3 takes it from Python's global generator, which Beam uses as well.

    Returns:
      A compiled model from `<feature>_xf` [batch, 1] to the probability of a big tip, [batch, 1].
    """
    inputs, columns = {}, []
    for feature in features:
        name = transformed_name(feature)
        if feature in NUMERIC_FEATURES:
            inputs[name] = keras.Input((1,), name=name, dtype="float32")
            columns.append(inputs[name])
            continue
        inputs[name] = keras.Input((1,), name=name, dtype="int64")
        # One more than the vocabulary: the bucket of values that it does not hold.
        size = NUM_BUCKETS if feature in BUCKETISED_FEATURES else transform_output.vocabulary_size_by_name(feature) + 1
        columns.append(keras.ops.one_hot(keras.ops.squeeze(inputs[name], axis=1), size))  # [batch, size]
    hidden = keras.layers.Concatenate()(columns)
    for layer, units in enumerate(HIDDEN_UNITS):
        hidden = keras.layers.Dense(
            units,
            activation="relu",
            kernel_initializer=keras.initializers.GlorotUniform(seed=_derived_seed(seed, layer)),
            kernel_regularizer=keras.regularizers.L2(L2_PENALTY),
        )(hidden)
    output = keras.layers.Dense(
        1,
        activation="sigmoid",
        kernel_initializer=keras.initializers.GlorotUniform(seed=_derived_seed(seed, len(HIDDEN_UNITS))),
        kernel_regularizer=keras.regularizers.L2(L2_PENALTY),
    )(hidden)
    model = keras.Model(inputs, output)
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss="binary_crossentropy")
    return model


def _derived_seed(seed: int, layer: int) -> int:
    """A seed for one layer, unrelated to those of other layers and other seeds."""
    return int(np.random.SeedSequence([seed, layer]).generate_state(1)[0])


def _serving_signature(
    model: keras.Model, transform_output: tft.TFTransformOutput, features: Sequence[str]
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Serialised examples to `outputs`: probabilities [batch, 1]. Parses the listed features and nothing else."""
    model.serving_transform = transform_output.transform_features_layer()  # tracked, so that it is saved
    raw_spec = transform_output.raw_feature_spec()
    used_spec = {feature: raw_spec[feature] for feature in features}
    names = [transformed_name(feature) for feature in features]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        transformed = model.serving_transform(tf.io.parse_example(examples, used_spec))
        return {"outputs": model({name: transformed[name] for name in names}, training=False)}

    return serve


def _transform_signature(
    model: keras.Model, transform_output: tft.TFTransformOutput
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Serialised examples to everything that Transform makes, the label included."""
    model.evaluation_transform = transform_output.transform_features_layer()
    raw_spec = transform_output.raw_feature_spec()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def transform_features(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return model.evaluation_transform(tf.io.parse_example(examples, raw_spec))

    return transform_features
