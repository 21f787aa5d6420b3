import dataclasses

import pytest
from tests.fixtures.artifacts import pins_of
from tests.fixtures.parquet import pinned_rows
from tests.fixtures.synthetic import HONEST, Additive

from tfx_explain.artifacts.statistics import write_statistics
from tfx_explain.attribution_reference.store import (
    MAX_MODELS,
    PassedModel,
    Reference,
    read_reference,
    write_reference,
)

pytestmark = pytest.mark.tf


def model(name: str, seed: int = 0) -> PassedModel:
    files = write_statistics(Additive(HONEST, rows=50, seed=seed).statistics(), "0")
    files |= {
        "summary.json": b'{"features": [{"name": "a"}], "uncovered_features": ["z"]}',
        "pinned_rows.parquet": pinned_rows(),
    }
    return PassedModel(name * 8, f"/models/{name}", name, files)


@pytest.fixture
def reference():
    return Reference("default", pins_of(tuple(HONEST)), pinned_rows(), (model("a"), model("b", 1)))


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
