"""What is upstream of two models and differs: stores written by hand, and a pipeline that ran."""

import json
import zipfile

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from tests.attribution_validator import toy_pipeline as toy
from tests.diagnosis.handmade import PIPELINE, Handmade

from tfx_explain.diagnosis.lineage import LineageError, find_model, lineage_diff, upstream

pytestmark = pytest.mark.tf


def taxi(made, number, *, span=3, fingerprint="a", features=("fare",), module="m@/gone/m-0.0+1.whl", tfx="1.16.0"):
    """CsvExampleGen -> Trainer; gives the model."""
    examples = made.run(
        "CsvExampleGen",
        {},
        {
            "examples": made.artifact(
                "Examples", f"/e/{number}", span=span, input_fingerprint=fingerprint, tfx_version=tfx
            )
        },
        span=span,
        input_fingerprint=fingerprint,
    )
    return made.run(
        "Trainer",
        {"examples": examples},
        {"model": made.artifact("Model", f"/m/{number}", tfx_version=tfx)},
        custom_config={"features": list(features), "epochs": 3},
        module_path=module,
    )


def test_equal_runs_differ_in_nothing_but_artifacts():
    made = Handmade()
    diff = lineage_diff(made.store, taxi(made, 2), taxi(made, 1))
    assert diff.nodes == ("Trainer", "CsvExampleGen")
    assert diff.causes == () and diff.sentences == ()
    (other,) = diff.differences
    assert (other.kind, other.node, other.name) == ("input", "Trainer", "examples")
    assert other.words.endswith("of CsvExampleGen")


def test_settings_data_code_and_version_are_told_by_node():
    made = Handmade()
    before = taxi(made, 1)
    after = taxi(
        made, 2, span=4, fingerprint="b", features=("fare", "payment_type"), module="m@/gone/m-0.0+2.whl", tfx="1.17.0"
    )
    diff = lineage_diff(made.store, after, before)
    assert diff.sentences == (
        "Trainer: custom_config changed: features + payment_type; "
        "module_path m@/gone/m-0.0+1.whl -> m@/gone/m-0.0+2.whl; TFX version 1.16.0 -> 1.17.0",
        "CsvExampleGen: input_fingerprint changed; span 3 -> 4; TFX version 1.16.0 -> 1.17.0",
    )
    kinds = [(d.node, d.kind) for d in diff.causes]
    assert kinds == [
        ("Trainer", "exec_property"), ("Trainer", "module"), ("Trainer", "tfx_version"),
        ("CsvExampleGen", "exec_property"), ("CsvExampleGen", "exec_property"), ("CsvExampleGen", "tfx_version"),
    ]  # fmt: skip
    backwards = lineage_diff(made.store, before, after)
    assert "features - payment_type" in backwards.sentences[0]
    json.dumps(diff.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, "config changed: a.c 2 -> 3"),
        ({"a": 1}, {"a": 1, "b": [1]}, "config changed: b + [1]"),
        ({"a": 1, "b": "x"}, {"a": 1}, "config changed: b - x"),
        ({"a": [1, 2]}, {"a": [2, 1]}, "config changed: a in another order, or with other repetitions"),
        ({"a": 1}, "text", 'config {"a": 1} -> text'),
    ],
)
def test_json_settings_are_told_key_by_key(before, after, words):
    made = Handmade()
    one, two = (
        made.run("Trainer", {}, {"model": made.artifact("Model", f"/m/{i}")}, config=config)
        for i, config in enumerate((before, after))
    )
    assert lineage_diff(made.store, two, one).sentences == (f"Trainer: {words}",)


def test_a_readable_module_is_compared_by_its_files(tmp_path):
    made = Handmade()

    def wheel(name, **files):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file, text in files.items():
                archive.writestr(f"{file}.py", text)
            archive.writestr("x.dist-info/RECORD", name)
        return f"trainer@{tmp_path / name}"

    one, same, other = (
        taxi(made, i, module=module)
        for i, module in enumerate(
            [
                wheel("a.whl", trainer="1", shared="2"),
                wheel("b.whl", trainer="1", shared="2"),
                wheel("c.whl", trainer="9", shared="2"),
            ]  # fmt: skip
        )
    )
    assert lineage_diff(made.store, same, one).sentences == ()
    assert lineage_diff(made.store, other, one).sentences == ("Trainer: module_path changed: trainer.py",)


def test_code_at_one_path_leaves_no_trace_and_that_is_said():
    made = Handmade()
    one, two = (taxi(made, i, module="/code/module.py") for i in range(2))
    diff = lineage_diff(made.store, two, one)
    assert diff.sentences == ()
    assert diff.unknown == (
        "Trainer: module_path /code/module.py was read by both; what the file held then is not recorded",
    )


def test_nodes_come_and_go():
    made = Handmade()
    before = taxi(made, 1)
    facts = {"span": 3, "input_fingerprint": "a"}
    written = {"examples": made.artifact("Examples", "/e/2", tfx_version="1.16.0", **facts)}
    examples = made.run("CsvExampleGen", {}, written, **facts)
    graph = made.run("Transform", {"examples": examples}, {"transform_graph": made.artifact("TransformGraph", "/g")})
    after = made.run(
        "Trainer",
        {"examples": examples, "transform_graph": graph},
        {"model": made.artifact("Model", "/m/2", tfx_version="1.16.0")},
        custom_config={"features": ["fare"], "epochs": 3},
        module_path="m@/gone/m-0.0+1.whl",
    )
    assert lineage_diff(made.store, after, before).sentences == (
        "Trainer: input transform_graph is new",
        "Transform: is new in the pipeline",
    )
    assert "Transform: was taken out" in lineage_diff(made.store, before, after).sentences


def test_an_input_that_nothing_made_is_a_cause():
    made = Handmade()
    models = []
    for number in (1, 2):
        schema = made.artifact("Schema", f"/schema/{number}", version=number)
        models.append(made.run("Trainer", {"schema": schema}, {"model": made.artifact("Model", f"/m/{number}")}))
    (sentence,) = lineage_diff(made.store, models[1], models[0]).sentences
    assert "input schema is another artifact" in sentence
    assert "version 1 -> 2" in sentence and "/schema/1 -> /schema/2" in sentence


def test_warm_starts_are_walked_to_the_nearest_trainer_alone():
    made = Handmade()
    first = taxi(made, 1)
    second = made.run("Trainer", {"base_model": first}, {"model": made.artifact("Model", "/m/2")}, epochs=2)
    third = made.run("Trainer", {"base_model": second}, {"model": made.artifact("Model", "/m/3")}, epochs=9)
    steps = upstream(made.store, third)
    assert {n: s.properties.get("epochs") for n, s in steps.items()} == {"Trainer": 9}
    assert lineage_diff(made.store, third, second).sentences == ("Trainer: epochs 2 -> 9",)


def test_the_maker_is_who_ran_not_the_cache():
    made = Handmade()
    model = taxi(made, 1)
    made.run("Trainer", {}, {"model": model}, state=pb.Execution.CACHED, custom_config={"features": []})
    assert upstream(made.store, model)["Trainer"].properties["custom_config"]["features"] == ["fare"]


def test_models_are_found_by_uri():
    made = Handmade()
    model = taxi(made, 1)
    for uri in ("/m/1", "/m/1/", "/m/1/Format-Serving"):
        assert find_model(made.store, uri).id == model.id
    assert find_model(made.store, "/m/1", PIPELINE).id == model.id
    with pytest.raises(LineageError, match="pipeline 'other' .* must hold a Model artifact with the URI /m/1"):
        find_model(made.store, "/m/1", "other")
    with pytest.raises(LineageError, match="must hold a Model"):
        find_model(made.store, "/e/1")


def test_two_runs_of_a_pipeline(tmp_path):
    store = toy.Store(tmp_path)
    models = []
    for share in (0.2, 0.9):
        store.run(toy.ungated(share))
        (model,) = store.wrote("Trainer", "model")
        models.append(model)
    diff = lineage_diff(store.mlmd(), models[1], models[0])
    assert diff.nodes == ("Trainer",)
    assert diff.sentences == ("Trainer: share 0.2 -> 0.9",)
    # A run from the cache hands on the same model.
    store.run(toy.ungated(0.9))
    (cached,) = store.wrote("Trainer", "model")
    assert lineage_diff(store.mlmd(), cached, models[1]).sentences == ()
    assert lineage_diff(store.mlmd(), cached, models[0]).sentences == ("Trainer: share 0.2 -> 0.9",)
