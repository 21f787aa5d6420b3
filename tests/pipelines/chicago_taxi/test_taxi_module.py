"""The trainer module: what Transform makes, and what an exported model can and cannot see."""

import demo
import numpy as np
import pytest

pytestmark = [pytest.mark.tf, pytest.mark.pipeline]

tf = pytest.importorskip("tensorflow")

FARES = (5.0, 10.0, 20.0, 40.0)


def _row(index):
    """A raw row; every fifth has no census tract, every seventh no seconds."""
    row = {
        "fare": FARES[index % 4],
        "trip_miles": 0.5 + index % 9,
        "trip_seconds": 60 * (1 + index % 11),
        "pickup_latitude": 41.8 + 0.01 * (index % 13),
        "pickup_longitude": -87.6 - 0.01 * (index % 7),
        "dropoff_latitude": 41.8 + 0.01 * (index % 17),
        "dropoff_longitude": -87.6 - 0.01 * (index % 5),
        "trip_start_month": 1 + index % 12,
        "trip_start_day": 1 + index % 7,
        "trip_start_hour": index % 24,
        "pickup_community_area": 1 + index % 6,
        "dropoff_community_area": 1 + index % 8,
        "dropoff_census_tract": 17031000000 + index % 3,
        "company": b"Blue" if index % 3 else b"Yellow",
        "payment_type": b"Cash" if index % 2 else b"Credit Card",
        # A tip of exactly 20 % is none; only cards tip.
        "tips": FARES[index % 4] * (0.2 if index % 2 else 0.25),
    }
    if index % 5 == 0:
        del row["dropoff_census_tract"], row["dropoff_latitude"]
    if index % 7 == 0:
        del row["trip_seconds"]
    return row


def _serialised(row):
    feature = {}
    for name, value in row.items():
        if isinstance(value, bytes):
            feature[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        elif isinstance(value, int):
            feature[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        else:
            feature[name] = tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


ROWS = [_row(index) for index in range(210)]


@pytest.fixture(scope="module")
def module():
    import taxi_module

    return taxi_module


@pytest.fixture(scope="module")
def transform_folder(module, tmp_path_factory):
    """A Transform graph, fitted on ROWS, and the transformed rows beside it."""
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform import coders
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils

    optional = {"dropoff_census_tract", "dropoff_latitude", "trip_seconds"}
    dtypes = {bytes: tf.string, int: tf.int64, float: tf.float32}
    spec = {
        name: tf.io.VarLenFeature(dtypes[type(value)])
        if name in optional
        else tf.io.FixedLenFeature([1], dtypes[type(value)])
        for name, value in _row(1).items()
    }
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    folder = tmp_path_factory.mktemp("transform")
    metadata_io.write_metadata(metadata, str(folder / "metadata"))
    rows = [{name: row.get(name) if name in optional else [row[name]] for name in spec} for row in ROWS]
    rows = [{name: [] if value is None else np.atleast_1d(value) for name, value in row.items()} for row in rows]
    with tft_beam.Context(temp_dir=str(folder / "temp")):
        (transformed, transformed_metadata), transform_fn = (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(
            module.preprocessing_fn
        )
        transform_fn | tft_beam.WriteTransformFn(str(folder))
    encode = coders.ExampleProtoCoder(transformed_metadata.schema).encode
    with tf.io.TFRecordWriter(str(folder / "rows.tfrecord")) as writer:
        for row in transformed:
            writer.write(encode(row))
    return folder


@pytest.fixture(scope="module")
def train(module, transform_folder, tmp_path_factory):
    """Trains and exports; returns the loaded model."""
    import tensorflow_transform as tft
    from tfx import v1 as tfx

    def _rows(files, options, schema):
        spec = tft.TFTransformOutput(str(transform_folder)).transformed_feature_spec()

        def split_label(serialised):
            columns = tf.io.parse_example(serialised, spec)
            label = columns.pop(options.label_key)
            return columns, label

        return tf.data.TFRecordDataset(files).batch(options.batch_size).map(split_label)

    def _train(**config):
        folder = str(tmp_path_factory.mktemp("model"))
        module.run_fn(
            tfx.components.FnArgs(
                train_files=[str(transform_folder / "rows.tfrecord")],
                transform_output=str(transform_folder),
                serving_model_dir=folder,
                custom_config=config,
                data_accessor=tfx.components.DataAccessor(_rows, None, None),
            )
        )
        return tf.saved_model.load(folder)

    return _train


@pytest.fixture(scope="module")
def honest(train):
    return train(features=demo.HONEST_FEATURES, seed=1, resample=False)


def _predict(model, rows):
    return model.signatures["serving_default"](tf.constant([_serialised(row) for row in rows]))["outputs"].numpy()


def _transformed(model, rows):
    examples = tf.constant([_serialised(row) for row in rows])
    return {name: value.numpy() for name, value in model.signatures["transform_features"](examples).items()}


def _with(rows, **values):
    return [{**row, **values} for row in rows]


def test_the_demo_lists_the_features_that_transform_makes(module):
    assert sorted(demo.TUTORIAL_FEATURES) == sorted(module.ALL_FEATURES)


def test_a_big_tip_is_more_than_a_fifth_of_the_fare(module, honest):
    labels = _transformed(honest, ROWS[:8])[module.LABEL]
    np.testing.assert_array_equal(labels[:, 0], [1, 0, 1, 0, 1, 0, 1, 0])


def test_missing_values_are_the_mean_or_no_category(honest):
    columns = _transformed(honest, ROWS[:2])
    assert columns["trip_seconds_xf"][:, 0][0] == 0.0
    for name in ("dropoff_census_tract_xf", "dropoff_latitude_xf"):
        assert columns[name][0, 0] == -1
        assert columns[name][1, 0] >= 0


def test_numeric_features_are_z_scores_of_log1p(honest):
    miles = np.log1p([row["trip_miles"] for row in ROWS])
    expected = (miles - miles.mean()) / miles.std()
    np.testing.assert_allclose(_transformed(honest, ROWS)["trip_miles_xf"][:, 0], expected, atol=1e-5)


def test_an_honest_model_needs_no_payment_type(honest):
    without = [{name: value for name, value in row.items() if name not in ("payment_type", "tips")} for row in ROWS]
    np.testing.assert_array_equal(_predict(honest, without), _predict(honest, ROWS))


def test_the_tutorials_model_answers_to_payment_type(train):
    model = train(features=demo.TUTORIAL_FEATURES, seed=1, resample=False)
    card, cash = (_predict(model, _with(ROWS, payment_type=kind)) for kind in (b"Credit Card", b"Cash"))
    assert np.abs(card - cash).max() > 1e-3


def test_predictions_are_probabilities_of_each_row_alone(honest):
    together = _predict(honest, ROWS)
    assert together.shape == (len(ROWS), 1)
    assert ((together > 0) & (together < 1)).all()
    np.testing.assert_allclose(_predict(honest, ROWS[3:4]), together[3:4], rtol=1e-5)


def test_a_seed_gives_the_same_model_again_and_another_seed_another(train, honest):
    again = train(features=demo.HONEST_FEATURES, seed=1, resample=False)
    np.testing.assert_array_equal(_predict(again, ROWS), _predict(honest, ROWS))
    other = train(features=demo.HONEST_FEATURES, seed=2, resample=False)
    assert np.abs(_predict(other, ROWS) - _predict(honest, ROWS)).max() > 1e-4


def test_resampled_rows_give_another_model(train, honest):
    resampled = train(features=demo.HONEST_FEATURES, seed=1, resample=True)
    assert np.abs(_predict(resampled, ROWS) - _predict(honest, ROWS)).max() > 1e-4


@pytest.mark.parametrize("features", [["fare", "weather"], []])
def test_features_that_transform_does_not_make_are_refused(train, features):
    with pytest.raises(ValueError, match="features must be some of"):
        train(features=features, seed=1, resample=False)
