import dataclasses

import pyarrow as pa
import pytest
from tests.fixtures.artifacts import pins_of
from tests.fixtures.parquet import pinned_rows
from tests.fixtures.synthetic import HONEST, Additive

from tfx_explain.artifacts.manifest import ArtifactError
from tfx_explain.artifacts.statistics import to_parquet, write_statistics
from tfx_explain.attribution_reference.store import (
    MAX_MODELS,
    PassedModel,
    Reference,
    read_reference,
    read_references,
    write_reference,
)
from tfx_explain.attribution_reference.store import pinned_rows as read_pinned_rows
from tfx_explain.names import OVERALL

pytestmark = pytest.mark.tf


def model(name: str, seed: int = 0) -> PassedModel:
    files = write_statistics({OVERALL: Additive(HONEST, rows=50, seed=seed).statistics()}, "0")
    files |= {
        "summary.json": b'{"features": [{"name": "a"}], "uncovered_features": ["z"], "model": {}}',
        "pinned_rows.parquet": pinned_rows(),
    }
    return PassedModel(name * 8, f"/models/{name}", name, files)


@pytest.fixture
def reference():
    return Reference("default", pins_of(tuple(HONEST)), pinned_rows(), (model("a"), model("b", 1)), ("passed", "b" * 8))


def test_a_reference_survives_the_disk(reference, tmp_path):
    write_reference(str(tmp_path / "r"), reference)
    back = read_reference(str(tmp_path / "r"))
    assert back == reference
    assert back.models[1].statistics.total_weight == 50
    assert back.models[0].used_features == ("a", "z")
    assert [r[0] for r in back.rows()] == ["prediction"] * 3


def test_one_fingerprint_enters_history_once_and_becomes_the_newest(reference):
    again = reference.with_model(dataclasses.replace(model("a"), model_uri="/models/rerun"), reference.pins)
    assert [m.model_uri for m in again.models] == ["/models/b", "/models/rerun"]


def test_history_keeps_the_last_ten(reference):
    for i in range(20):
        reference = reference.with_model(model(chr(ord("c") + i)), reference.pins)
    assert len(reference.models) == MAX_MODELS
    assert reference.models[-1].model_uri == "/models/v"


def test_a_model_is_compared_with_the_newest_other(reference):
    a, b = reference.models
    assert reference.newest_other("unknown") is b
    assert reference.newest_other(b.fingerprint) is a
    assert reference.without_model(b.fingerprint).newest_other(a.fingerprint) is a
    assert reference.without_model(a.fingerprint).without_model(b.fingerprint).newest_other("x") is None


def test_a_model_makes_no_feature_known_to_itself(reference):
    a, b = (
        dataclasses.replace(m, files=m.files | {"summary.json": text})
        for m, text in zip(
            reference.models,
            (
                b'{"features": [{"name": "x", "share": 0.1}], "uncovered_features": []}',
                b'{"features": [{"name": "x", "share": 0.2}, {"name": "y", "share": 0.3}], "uncovered_features": []}',
            ),
            strict=True,
        )
    )
    reference = dataclasses.replace(reference, models=(a, b))
    assert reference.known_features("unknown") == {"x": 0.2, "y": 0.3}
    assert reference.known_features(b.fingerprint) == {"x": 0.1}


@pytest.mark.parametrize("values", [{"role": [1]}, {"id": [b"1"]}, {"example": ["x"]}, {"example": [None]}])
def test_pinned_rows_of_another_type_are_refused(values):
    columns = {"role": ["background"], "id": ["1"], "example": [b"x"]} | values
    with pytest.raises(ArtifactError, match=f"must hold a .* in each '{next(iter(values))}'"):
        read_pinned_rows(to_parquet(pa.table(columns)))


# Runs beside each other: each knows what stood when it began, and publishes that with its own verdict.


@pytest.fixture
def publish(tmp_path):
    """Writes references one after the other; gives their folders, oldest first."""
    folders = []

    def one(reference):
        folders.append(str(tmp_path / str(len(folders))))
        write_reference(folders[-1], reference)
        return folders

    return one


def names(folders):
    return [m.model_id for m in read_references(folders).models]


def test_no_reference_is_none():
    assert read_references([]) is None


def test_one_after_the_other_the_newest_holds_all(reference, publish):
    known = read_references(publish(reference))
    known = read_references(publish(known.with_model(model("c"), known.pins)))
    folders = publish(known.without_model("b" * 8))
    assert names(folders) == names(folders[-1:]) == ["a", "c"]


@pytest.mark.parametrize("late", ["refused", "passed"])
def test_a_pass_beside_a_late_verdict_is_not_lost(reference, publish, late):
    begun = read_references(publish(reference))
    publish(begun.with_model(model("c"), begun.pins))
    folders = publish(begun.without_model("a" * 8) if late == "refused" else begun.with_model(model("d"), begun.pins))
    assert names(folders[-1:]) == (["b"] if late == "refused" else ["a", "b", "d"])
    assert names(folders) == (["b", "c"] if late == "refused" else ["a", "b", "c", "d"])


def test_a_model_refused_beside_a_late_pass_does_not_come_back(reference, publish):
    begun = read_references(publish(reference))
    publish(begun.without_model("b" * 8))
    folders = publish(begun.with_model(model("d"), begun.pins))
    assert names(folders[-1:]) == ["a", "b", "d"]
    assert names(folders) == ["a", "d"]


def test_what_was_taken_over_stays_when_the_window_moves_on(reference, publish):
    begun = read_references(publish(reference))
    publish(begun.with_model(model("c"), begun.pins))
    known = read_references(publish(begun.without_model("a" * 8)))
    folders = publish(known.with_model(model("e"), known.pins))
    assert names(folders) == names(folders[-1:]) == ["b", "c", "e"]


def test_of_two_verdicts_on_one_model_the_newer_holds(reference, publish):
    begun = read_references(publish(reference))
    publish(begun.with_model(model("c"), begun.pins))
    assert names(publish(begun.with_model(model("c"), begun.pins).without_model("c" * 8))) == ["a", "b"]


def test_a_feature_that_a_pass_beside_brought_is_pinned(reference, publish):
    begun = read_references(publish(reference))
    publish(begun.with_model(model("c"), pins_of((*HONEST, "new"))))
    assert "new" in read_references(publish(begun.with_model(model("d"), begun.pins))).pins.cut_policies


def test_a_reference_of_another_gate_does_not_mix_in(reference, publish):
    publish(dataclasses.replace(reference.with_model(model("c"), reference.pins), gate_id="other"))
    assert names(publish(reference)) == ["a", "b"]


def test_a_refused_model_does_not_come_back_however_late_a_run_ends(reference, publish):
    begun = read_references(publish(reference))
    known = read_references(publish(begun.without_model("b" * 8)))
    for name in "cdefgh":
        known = read_references(publish(known.with_model(model(name), known.pins))[-5:])
    folders = publish(begun.with_model(model("z"), begun.pins))
    assert "b" not in names(folders[-5:])


def test_two_first_runs_over_other_data_do_not_mix(publish):
    """Their value bins differ: a record is worth nothing under another's."""
    pins = pins_of(tuple(HONEST))
    other = dataclasses.replace(pins, input_baseline=dict.fromkeys(HONEST, ("f", (1.0,))))
    publish(Reference("default", pins, pinned_rows(), (model("a"),), ("passed", "a" * 8)))
    assert names(publish(Reference("default", other, pinned_rows(), (model("b"),), ("passed", "b" * 8)))) == ["b"]
