"""A model that stands alone in the history is judged beside itself: what a person let pass needs a word that holds."""

import json
from pathlib import Path

import pytest
from tests.attribution_validator.test_executor import FIRST_RUN, Case
from tests.fixtures.synthetic import HONEST, Additive

from tfx_explain.artifacts.manifest import Stage, read_manifest
from tfx_explain.attribution_reference.store import read_reference

pytestmark = pytest.mark.tf

WITHOUT = {f: w for f, w in HONEST.items() if f != "f"}
APPROVED = {name: {"name": name, "reason": "ticket 12", "until": "2999-01-01"} for name in ("zone", "f", "x", "y")}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """An honest first model, passed."""
    case = Case(tmp_path_factory.mktemp("first"), config={"without_reference": FIRST_RUN})
    *_, case.reference_uri = case.run()
    return case


def alone(tmp_path, first, weights, *approved, seed=3):
    """A model that passed by approvals, and from whose history the model before it was refused later."""
    case = Case(tmp_path / "approved", Additive(weights, seed=seed), reference_uri=first.reference_uri)
    case.config = {"approved_features": [APPROVED[name] for name in approved]}
    blessed, blocking, reference = case.run()
    assert (blessed, blocking) == (1, [])
    case.reference_uri = without_the_first(tmp_path, first, reference)
    return case


def without_the_first(tmp_path, first, reference):
    before = Case(tmp_path / "before", first.model, reference_uri=reference)
    before.blessing = before.evaluator_blessing(blessed=0)
    *_, left = before.run()
    assert len(read_reference(left).models) == len(read_reference(reference).models) - 1
    return left


@pytest.mark.parametrize(
    ("weights", "approved", "part"),
    [
        (HONEST | {"zone": 1.0}, ["zone"], "'zone' came by an approval"),
        (HONEST | {"x": 0.15, "y": 0.15}, ["x", "y"], "2 features that came by approvals ('x', 'y')"),
        (WITHOUT, ["f"], "'f' has no path to the output any more; it carried 10"),
    ],
)
def test_an_approval_that_was_taken_back_holds_no_more_where_no_other_model_stands_passed(
    tmp_path, first, weights, approved, part
):
    case = alone(tmp_path, first, weights, *approved)
    assert case.run() == (1, [], None)
    case.config = {}
    blessed, blocking, reference = case.run()
    assert blessed == 0 and len(blocking) == 1 and part in blocking[0] and "approved_features" in blocking[0]
    # The history keeps it, or the next run would be a first one, that compares with nothing.
    assert reference is None
    case.config = {"without_reference": FIRST_RUN}
    assert case.run()[0] == 0


def test_an_approval_that_ended_is_told_with_its_date(tmp_path, first):
    case = alone(tmp_path, first, HONEST | {"zone": 1.0}, "zone")
    case.config = {"approved_features": [APPROVED["zone"] | {"until": "2020-01-01"}]}
    blessed, blocking, _ = case.run()
    assert blessed == 0 and "Its approval ended on 2020-01-01" in blocking[0]


def test_a_retrain_hands_on_what_the_model_before_it_rested_on(tmp_path, first):
    """No approval was asked of it: the approved one knew the feature, and has left."""
    approved = Case(tmp_path / "1", Additive(HONEST | {"zone": 1.0}, seed=3), reference_uri=first.reference_uri)
    approved.config = {"approved_features": [APPROVED["zone"]]}
    *_, reference = approved.run()
    case = Case(tmp_path / "2", Additive(HONEST | {"zone": 0.95}, seed=4), reference_uri=reference)
    blessed, _, reference = case.run()
    assert blessed == 1
    reference = without_the_first(tmp_path, first, reference)
    case.reference_uri = without_the_first(tmp_path / "then", approved, reference)
    blessed, blocking, _ = case.run()
    assert blessed == 0 and "'zone' came by an approval" in blocking[0]
    case.config = {"approved_features": [APPROVED["zone"]]}
    assert case.run()[0] == 1


def test_a_retrain_still_passes_beside_a_model_whose_approval_has_ended(tmp_path, first):
    case = alone(tmp_path, first, HONEST | {"zone": 1.0}, "zone")
    later = Case(tmp_path / "later", Additive(HONEST | {"zone": 0.95}, seed=5), reference_uri=case.reference_uri)
    assert later.run()[0] == 1


def test_honest_models_alone_pass_again_and_again(tmp_path):
    for seed in range(20):
        case = Case(tmp_path / str(seed), Additive(HONEST, seed=seed), config={"without_reference": FIRST_RUN})
        *_, case.reference_uri = case.run()
        case.config = {}
        assert case.run() == (1, [], None)


def test_a_refusal_beside_itself_does_not_make_the_next_run_a_first_one(tmp_path, first):
    """The same files on data that changed: refused once, the model passed when the run was only started again."""
    case = Case(tmp_path, first.model, config={"without_reference": FIRST_RUN}, reference_uri=first.reference_uri)
    moved = Case(tmp_path / "moved", Additive(HONEST | {"a": -1.0}, seed=1))
    attributions_of(case, moved)
    for _ in range(2):
        blessed, blocking, reference = case.run()
        assert blessed == 0 and any("'a' pushes predictions the other way" in s for s in blocking)
        case.reference_uri = reference or case.reference_uri


def attributions_of(case, other):
    """Gives a model's files the attributions of another one."""
    manifest = read_manifest(other.attributions_uri, "ModelAttributions")
    files = {path: manifest.read(path) for path in manifest.sha256}
    own = json.loads((Path(case.attributions_uri) / "summary.json").read_text())
    summary = json.loads(files["summary.json"]) | {"fingerprints": own["fingerprints"], "model": own["model"]}
    stage = Stage(case.attributions_uri)
    for path, content in (files | {"summary.json": json.dumps(summary).encode()}).items():
        stage.write(path, content)
    stage.finish("ModelAttributions")


def test_references_from_before_approvals_were_recorded_are_read(tmp_path, first):
    case = alone(tmp_path, first, HONEST | {"zone": 1.0}, "zone")
    manifest = read_manifest(case.reference_uri, "AttributionReference")
    files = {path: manifest.read(path) for path in manifest.sha256}
    data = json.loads(files["reference.json"])
    assert data["models"][0].pop("approved") == {"new": ["zone"], "removed": {}}
    stage = Stage(str(tmp_path / "older"))
    for path, content in (files | {"reference.json": json.dumps(data).encode()}).items():
        stage.write(path, content)
    stage.finish("AttributionReference")
    case.reference_uri, case.config = str(tmp_path / "older"), {}
    assert case.run()[0] == 1
