import collections
import pickle
import random
import shutil
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.api import types
from tensorflow_model_analysis.extractors import slice_key_extractor, sql_slice_key_extractor, unbatch_extractor
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import model_util, util
from tests.explainer_gen.examples_data import BROKEN, serialise
from tfx_bsl.coders import example_coder

from tfx_explain.explainer_gen.columns import decode
from tfx_explain.explainer_gen.slicing import Memberships, SliceAssigner, Slicing

pytestmark = pytest.mark.tf

ROWS = 80
COUNTRIES = (b"US", b"DE", "Österreich".encode())


def draw_rows(count=ROWS, seed=0):
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        row = [
            ("a", "i", [rng.randrange(4)]),
            ("m", "i", [rng.randrange(3), rng.randrange(3)]),
            ("g", "f", [rng.choice([0.5, 1.0, 0.1])]),
            ("v", "i", [rng.randrange(3) for _ in range(rng.randrange(4))]),
            ("s", "b", [rng.choice([b"x", b"y", b"1"]) for _ in range(rng.randrange(3))]),
            ("d", "b", [rng.choice([b"1", b"2"])]),
        ]
        if rng.random() < 0.8:
            row.append(("c", "b", [rng.choice(COUNTRIES)]))
        rows.append(serialise(row))
    return rows


class Model(tf.Module):
    """Outputs: dense of one and of several values, one by the name of a raw feature, sparse, bool and rank one."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def transform(self, examples):
        parsed = tf.io.parse_example(
            examples,
            {
                "a": tf.io.FixedLenFeature([1], tf.int64, default_value=[7]),
                "m": tf.io.FixedLenFeature([2], tf.int64, default_value=[8, 8]),
                "g": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0]),
                "c": tf.io.FixedLenFeature([1], tf.string, default_value=[b"??"]),
                "s": tf.io.VarLenFeature(tf.string),
                "v": tf.io.VarLenFeature(tf.int64),
            },
        )
        return {
            "a": parsed["a"] % 2,
            "c_lower": tf.strings.lower(parsed["c"], encoding="utf-8"),
            "m_xf": tf.cast(parsed["m"], tf.float32) / 2,
            "big": parsed["g"][:, 0] > 0.7,
            "s_xf": parsed["s"],
            "v": parsed["v"],
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def strict(self, examples):
        parsed = tf.io.parse_example(examples, {"c": tf.io.FixedLenFeature([1], tf.string)})
        return {"c": tf.strings.lower(parsed["c"]), "c_strict": parsed["c"]}

    @tf.function(
        input_signature=[tf.TensorSpec([None, 1], tf.string, name="c"), tf.TensorSpec([None, 2], tf.int64, name="m")]
    )
    def named(self, c, m):
        return {"c_and_m": tf.strings.join([c[:, 0], tf.strings.as_string(m[:, 1])])}


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("model"))
    model = Model()
    signatures = {"transform": model.transform, "strict": model.strict, "named": model.named}
    tf.saved_model.save(model, path, signatures={**signatures, "transformed_features": model.transform})
    return path


def extracts_of(raw, sizes=None):
    """Batches of examples as TFMA has them after its FeaturesExtractor."""
    batches, start = [], 0
    for size in sizes or [len(raw)]:
        batch = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(raw[start : start + size])
        features = util.record_batch_to_tensor_values(batch)
        batches.append({constants.FEATURES_KEY: features, constants.INPUT_KEY: np.array(raw[start : start + size])})
        start += size
    return batches


def transformed(extracts, path, functions):
    """The extracts with TFMA's transformed features."""
    shared = types.EvalSharedModel(
        model_path=path,
        model_loader=types.ModelLoader(construct_fn=lambda: tf.saved_model.load(path), tags=["serve"]),
    )
    fn = model_util.ModelSignaturesDoFn(
        model_specs=[config_pb2.ModelSpec()],
        eval_shared_models={"": shared},
        output_keypath=[constants.TRANSFORMED_FEATURES_KEY],
        signature_names={"": list(functions)},
        default_signature_names=["transformed_features", "transformed_labels"],
    )
    fn.setup()
    return [out for e in extracts for out in fn._batch_reducible_process(e)]


def single_examples(batches):
    return [e for batch in batches for e in unbatch_extractor._extract_unbatched_inputs(batch)]


def by_tfma(config, examples):
    """{slice: rows} by TFMA's extractor, one example at a time; values keep their types."""
    extractor = slice_key_extractor.SliceKeyExtractor(eval_config=config)
    specs = extractor.ptransform._args[0]
    fn = slice_key_extractor.ExtractSliceKeysFn(config, False)
    out = collections.defaultdict(set)
    for i, example in enumerate(examples):
        (result,) = fn.process(example, specs)
        for key in result[constants.SLICE_KEY_TYPES_KEY]:
            out[repr(key)].add(i)
    return dict(out)


def as_sets(members: Memberships):
    out = collections.defaultdict(set)
    for row, place in zip(members.row.tolist(), members.slice.tolist(), strict=True):
        key = repr(members.keys[place])
        assert row not in out[key]
        out[key].add(row)
    return dict(out)


def assign(slicing, raw, path=""):
    return SliceAssigner(slicing, path).assign(raw, decode(raw))


RAW_VALUES = {
    "a": ["0", "1", "9"],
    "m": ["0", "2"],
    "g": ["0.5", "0.1", "1"],
    "v": ["2"],
    "s": ["x", "1"],
    "d": ["1"],
    "c": ["US", "Österreich"],
    "nowhere": ["1", "x"],
}
MODEL_VALUES = RAW_VALUES | {"c_lower": ["us", "österreich"], "m_xf": ["0.5", "1.0", "1"], "big": ["1"], "s_xf": ["y"]}


def random_spec(rng, values):
    names = rng.sample(sorted(values), rng.choice([0, 1, 1, 1, 2, 2, 3]))
    split = rng.randint(0, len(names))
    return config_pb2.SlicingSpec(
        feature_keys=names[:split], feature_values={n: rng.choice(values[n]) for n in names[split:]}
    )


def random_config(seed, with_model):
    rng = random.Random(seed)
    values = MODEL_VALUES if with_model else RAW_VALUES
    config = config_pb2.EvalConfig(model_specs=[config_pb2.ModelSpec()])
    if with_model:
        config.model_specs[0].preprocessing_function_names.append("transform")
    config.slicing_specs.extend(random_spec(rng, values) for _ in range(rng.randrange(5)))
    if rng.random() < 0.3:
        cross = config.cross_slicing_specs.add()
        cross.baseline_spec.CopyFrom(random_spec(rng, values))
        cross.slicing_specs.extend(random_spec(rng, values) for _ in range(rng.randint(1, 2)))
    return config


@pytest.fixture(scope="module")
def data():
    return draw_rows()


@pytest.fixture(scope="module")
def raw_examples(data):
    return single_examples(extracts_of(data))


@pytest.fixture(scope="module")
def model_examples(data, model_path):
    # Alone, since TFMA pads a sparse output to the longest row of its batch.
    alone = transformed(extracts_of(data, [1] * len(data)), model_path, ["transform"])
    return single_examples(alone)


@pytest.mark.parametrize("with_model", [False, True])
def test_slices_are_those_of_tfma(with_model, data, raw_examples, model_examples, model_path):
    columns = decode(data)
    path = model_path if with_model else ""
    kept = SliceAssigner(Slicing(((("a",), ()),)), path)  # holds the model for the others
    assert kept.assign(data, columns).keys
    identical, slices = 0, 0
    for seed in range(100):
        config = random_config(seed + 1000 * with_model, with_model)
        examples = model_examples if with_model else raw_examples
        expected = by_tfma(config, examples) | {"()": set(range(len(data)))}
        got = as_sets(SliceAssigner(Slicing.of_eval_config(config), path).assign(data, columns))
        assert got == expected, config
        identical, slices = identical + 1, slices + len(got) - 1
    assert identical == 100
    assert slices > 500


def test_dense_outputs_of_a_whole_batch_are_those_of_tfma(data, model_path):
    config = config_pb2.EvalConfig(model_specs=[config_pb2.ModelSpec(preprocessing_function_names=["transform"])])
    config.slicing_specs.add(feature_keys=["c_lower", "a"])
    config.slicing_specs.add(feature_keys=["m_xf"], feature_values={"a": "1"})
    expected = by_tfma(config, single_examples(transformed(extracts_of(data), model_path, ["transform"])))
    assert as_sets(assign(Slicing.of_eval_config(config), data, model_path)) == expected | {"()": set(range(ROWS))}


def test_default_functions_are_taken_where_none_is_named(data, model_path):
    config = config_pb2.EvalConfig(model_specs=[config_pb2.ModelSpec()])
    config.slicing_specs.add(feature_keys=["a"])
    expected = by_tfma(config, single_examples(transformed(extracts_of(data), model_path, [])))
    assert set(expected) == {"(('a', 0),)", "(('a', 1),)"}
    assert as_sets(assign(Slicing.of_eval_config(config), data, model_path)) == expected | {"()": set(range(ROWS))}


STATEMENTS = (
    "SELECT STRUCT(c) FROM example.c, example.a WHERE a = 2",
    "SELECT STRUCT(v AS second, c AS first) FROM example.v, example.c",
    "SELECT STRUCT(IF(g > 0.7, 'big', 'small') AS size) FROM example.g",
    "SELECT STRUCT(ARRAY_LENGTH(example.s) AS labels)",
    "SELECT STRUCT(s) FROM example.s",
    "SELECT STRUCT('all' AS everything)",
)


def sql_by_tfma(config, batches):
    fn = sql_slice_key_extractor.ExtractSqlSliceKeyFn(config)
    fn.setup()
    out = []
    for batch in batches:
        (result,) = fn.process(batch)
        out += single_examples([result])
    return by_tfma(config, out)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_statements_are_those_of_tfma(statement, data):
    config = config_pb2.EvalConfig(model_specs=[config_pb2.ModelSpec()])
    config.slicing_specs.add(slice_keys_sql=statement)
    config.slicing_specs.add(feature_keys=["a"])
    expected = sql_by_tfma(config, extracts_of(data))
    assert len(expected) > 5
    assert as_sets(assign(Slicing.of_eval_config(config), data)) == expected


def test_statements_see_transformed_features(data, model_path):
    config = config_pb2.EvalConfig(model_specs=[config_pb2.ModelSpec(preprocessing_function_names=["strict"])])
    config.slicing_specs.add(slice_keys_sql="SELECT STRUCT(c) FROM example.c WHERE c != b'de'")
    rows = [r for r in data if ("c", "b") in decode([r]).columns]
    expected = sql_by_tfma(config, transformed(extracts_of(rows), model_path, ["strict"]))
    assert "(('c', 'us'),)" in expected
    assert as_sets(assign(Slicing.of_eval_config(config), rows, model_path)) == expected


def test_a_feature_of_a_statement_that_no_row_has_is_empty():
    row = serialise([("a", "i", [1])])
    slicing = Slicing(
        sql=(
            "SELECT STRUCT(c) FROM example.c WHERE c = b'US'",
            "SELECT STRUCT(ARRAY_LENGTH(example.g) AS n, a) FROM example.a",
        )
    )
    assert as_sets(assign(slicing, [row])) == {"()": {0}, "(('n', '0'), ('a', '1'))": {0}}


@pytest.mark.parametrize("statement", ["SELEC x", "SELECT STRUCT(a > 1 AS big) FROM example.a", "SELECT nosuch(1)"])
def test_a_statement_that_cannot_be_run_is_named(statement):
    with pytest.raises(ValueError, match="slice_keys_sql must be") as caught:
        assign(Slicing(sql=(statement,)), [serialise([("a", "i", [1])])])
    assert statement in str(caught.value)


@pytest.mark.parametrize("instead", [None, mock.MagicMock()])
def test_without_sql_in_tfx_bsl_a_statement_is_refused(instead, monkeypatch):
    monkeypatch.setattr(sql_slice_key_extractor, "sql_util", instead)
    with pytest.raises(ValueError, match="slice_keys_sql needs a tfx-bsl with SQL.*Received: 'SELECT"):
        assign(Slicing(sql=(STATEMENTS[0],)), [serialise([("a", "i", [1])])])


def everything(functions=()):
    return Slicing.of_specs(
        [
            {"feature_keys": ["c"]},
            {"feature_keys": ["v", "s"]},
            {"feature_keys": ["m"], "feature_values": {"a": "1"}},
            {"feature_keys": ["g"], "feature_values": {"g2": "1"}},
            {"feature_keys": ["s_xf", "c_strict"]},
            {"slice_keys_sql": STATEMENTS[1]},
            {"slice_keys_sql": STATEMENTS[2]},
        ],
        functions,
    )


def test_cutting_rows_into_batches_changes_nothing(data, model_path):
    rows = [*data[:20], BROKEN, serialise([]), *data[20:40], serialise([("c", "i", [3])]), *data[40:]]
    assigner = SliceAssigner(everything(["transform", "strict"]), model_path)
    whole = as_sets(assigner.assign(rows, decode(rows)))
    rng = random.Random(1)
    for sizes in ([1] * len(rows), [3, 7, 17], [50, 1, 2]):
        got, start = collections.defaultdict(set), 0
        order = list(range(len(rows)))
        rng.shuffle(order)
        while start < len(rows):
            part = order[start : start + sizes[0]]
            sizes = [*sizes[1:], sizes[0]]
            raw = [rows[i] for i in part]
            for key, members in as_sets(assigner.assign(raw, decode(raw))).items():
                got[key] |= {part[i] for i in members}
            start += len(part)
        assert got == whole


def test_keys_are_sorted_and_pairs_come_once(data):
    slicing = Slicing.of_specs([{"feature_keys": ["v"]}, {"feature_keys": ["c"]}, {"feature_values": {"v": "2"}}])
    members = assign(slicing, data)
    assert members.keys == (
        (),
        (("c", "DE"),),
        (("c", "US"),),
        (("c", "Österreich"),),
        (("v", 0),),
        (("v", 1),),
        (("v", 2),),
    )
    assert all(type(value) in (int, str) for key in members.keys for _, value in key)
    assert members.row.dtype == members.slice.dtype == np.int64
    pairs = list(zip(members.row.tolist(), members.slice.tolist(), strict=True))
    assert pairs == sorted(set(pairs))


def test_unreadable_rows_are_in_the_overall_slice_alone():
    rows = [BROKEN, serialise([("c", "b", [b"US"])]), BROKEN]
    slicing = Slicing.of_specs([{"feature_keys": ["c"]}, {"slice_keys_sql": STATEMENTS[-1]}])
    assert as_sets(assign(slicing, rows)) == {
        "()": {0, 1, 2},
        "(('c', 'US'),)": {1},
        "(('everything', 'all'),)": {1},
    }
    assert as_sets(assign(slicing, [BROKEN])) == {"()": {0}}
    assert assign(slicing, []).keys == ((),)


def test_refused_rows_keep_the_slices_of_other_features(model_path):
    with_c = [serialise([("a", "i", [i % 2]), ("c", "b", [b"US"])]) for i in range(5)]
    without = serialise([("a", "i", [1])])
    wrong = serialise([("a", "i", [0]), ("c", "i", [3])])  # refused, though it has a raw `c`
    rows = [with_c[0], without, *with_c[1:3], wrong, *with_c[3:]]
    slicing = Slicing.of_specs([{"feature_keys": ["c"]}, {"feature_keys": ["a"]}], ["strict"])
    assert as_sets(assign(slicing, rows, model_path)) == {
        "()": set(range(7)),
        "(('c', 'us'),)": {0, 2, 3, 5, 6},
        "(('a', 0),)": {0, 3, 4, 6},
        "(('a', 1),)": {1, 2, 5},
    }


def test_a_function_of_named_features(model_path):
    rows = [
        serialise([("c", "b", [b"US"]), ("m", "i", [1, 2])]),
        serialise([("c", "b", [b"DE"]), ("m", "i", [1])]),  # refused: not two values
        serialise([("c", "b", [b"DE"]), ("m", "i", [3, 4])]),
    ]
    slicing = Slicing.of_specs([{"feature_keys": ["c_and_m"]}], ["named"])
    assert as_sets(assign(slicing, rows, model_path)) == {
        "()": {0, 1, 2},
        "(('c_and_m', 'US2'),)": {0},
        "(('c_and_m', 'DE4'),)": {2},
    }


def test_the_model_is_loaded_only_for_outputs_that_are_needed(model_path, monkeypatch, tmp_path):
    model_path = shutil.copytree(model_path, tmp_path / "of_its_own").as_posix()
    loaded = []
    load = tf.saved_model.load
    monkeypatch.setattr(tf.saved_model, "load", lambda path: loaded.append(path) or load(path))
    SliceAssigner(Slicing.of_specs([{"feature_keys": ["d"]}], ["transform"]), model_path)
    assert loaded == []
    slicing = Slicing.of_specs([{"feature_keys": ["a"]}], ["transform"])
    first, second = SliceAssigner(slicing, model_path), SliceAssigner(slicing, model_path)
    assert loaded == [model_path]
    row = [serialise([("a", "i", [3])])]
    assert first.assign(row, decode(row)).keys == second.assign(row, decode(row)).keys == ((), (("a", 1),))


def test_an_unknown_function_is_named(model_path):
    with pytest.raises(ValueError, match="'nosuch'") as caught:
        SliceAssigner(Slicing.of_specs([{"feature_keys": ["a"]}], ["nosuch"]), model_path)
    assert "strict" in str(caught.value)


def test_nan_makes_no_slice_and_zero_has_no_sign():
    rows = [serialise([("g", "f", [x])]) for x in (float("nan"), -0.0, 0.0, float("inf"))]
    rows.append(serialise([("g", "f", [float("nan"), 0.0])]))
    expected = {"()": set(range(5)), "(('g', 0.0),)": {1, 2, 4}, "(('g', inf),)": {3}}
    assert as_sets(assign(Slicing.of_specs([{"feature_keys": ["g"]}]), rows)) == expected
    alone = assign(Slicing.of_specs([{"feature_keys": ["g"]}]), rows[1:2])
    assert repr(alone.keys[1]) == "(('g', 0.0),)"


def test_values_that_are_no_text_are_refused_by_name():
    with pytest.raises(ValueError, match='UTF-8.*"c"'):
        assign(Slicing.of_specs([{"feature_keys": ["c"]}]), [serialise([("c", "b", [b"\xff"])])])


def test_a_full_memo_starts_again(data, monkeypatch):
    whole = assign(Slicing.of_specs([{"feature_keys": ["v", "c"]}]), data)
    monkeypatch.setattr("tfx_explain.explainer_gen.slicing._MEMO_SIZE", 2)
    assigner = SliceAssigner(Slicing.of_specs([{"feature_keys": ["v", "c"]}]), "")
    again = assigner.assign(data, decode(data))
    assert again.keys == whole.keys
    np.testing.assert_array_equal(again.slice, whole.slice)
    assert len(assigner._memo) <= 2


def test_a_slicing_can_be_pickled():
    slicing = everything(["transform"])
    assert pickle.loads(pickle.dumps(slicing)) == slicing
    assert hash(slicing) == hash(everything(["transform"]))


def test_specs_in_two_spellings_are_one():
    specs = [
        {"feature_keys": ["b", "a"], "feature_values": {"z": 1, "y": "2"}},
        {"feature_keys": ("a", "b"), "feature_values": {"y": "2", "z": "1"}, "slice_keys_sql": ""},
        {},
    ]
    assert Slicing.of_specs(specs) == Slicing(specs=((("a", "b"), (("y", "2"), ("z", "1"))),))
    assert Slicing.of_specs(specs).columns == ("a", "b", "y", "z")


def test_bad_specs_are_refused():
    with pytest.raises(ValueError, match=r"\['a'\] in both"):
        Slicing.of_specs([{"feature_keys": ["a"], "feature_values": {"a": "1"}}])
    with pytest.raises(ValueError, match="feature_key'"):
        Slicing.of_specs([{"feature_key": ["a"]}])


def test_only_the_candidates_functions_are_taken():
    config = config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(name="baseline", is_baseline=True, preprocessing_function_names=["old"]),
            config_pb2.ModelSpec(name="candidate", preprocessing_function_names=["new"]),
        ]
    )
    cross = config.cross_slicing_specs.add()
    cross.baseline_spec.feature_values["a"] = "1"
    cross.slicing_specs.add(feature_keys=["b"], slice_keys_sql="SELECT 1")
    assert Slicing.of_eval_config(config) == Slicing(
        specs=(((), (("a", "1"),)), (("b",), ())), preprocessing_functions=("new",)
    )


def test_a_feature_of_two_kinds_has_slices_of_both():
    rows = [serialise([("c", "b", [b"US"])]), serialise([("c", "i", [3])]), serialise([("c", "b", [b"3"])])]
    slicing = Slicing(specs=((("c",), ()),), sql=("SELECT STRUCT(c AS of_sql) FROM example.c",))
    assert as_sets(assign(slicing, rows)) == {
        "()": {0, 1, 2},
        "(('c', 'US'),)": {0},
        "(('c', 3),)": {1},
        "(('c', '3'),)": {2},
        "(('of_sql', 'US'),)": {0},
        "(('of_sql', '3'),)": {1, 2},
    }
