"""A pipeline's life under the gate: real components, a toy Evaluator, no training.

The runs are made once, in the order of the fixtures; every test reads what they left in the metadata store.
"""

import datetime
import math
from pathlib import Path

import pytest
from tests.integration import small_pipeline as small
from tests.integration.small_task import EVAL_ROWS
from tests.report.page_reader import Page

from tfx_explain import GATE_NODE_ID, add_attribution_gate
from tfx_explain.artifacts import properties
from tfx_explain.artifacts.fingerprint import model_fingerprint
from tfx_explain.artifacts.manifest import read_manifest, verify

pytestmark = [pytest.mark.tf, pytest.mark.pipeline]

UNTIL = datetime.date.today() + datetime.timedelta(days=30)
POLICY = {
    "without_reference": {"absolute_checks_decide": {"until": UNTIL}},
    "checks": {"max_share": {"with_reference": "block"}},
}
STRICT = POLICY | {"checks": POLICY["checks"] | {"share_change": {"threshold": 1e-4}}}
OURS = ("ExplainerGen", GATE_NODE_ID)


@pytest.fixture(scope="module")
def runs(task, tmp_path_factory):
    """Name -> Run, in this order; each builds on the store that the ones before it left."""
    store = small.Store(tmp_path_factory.mktemp("store"))

    def run(model, policy=POLICY, **kwargs):
        return store.run(small.gated(task, model, store.serving, policy, **kwargs))

    done = {"first": run("honest_1"), "second": run("honest_2"), "leaky": run("leaky"), "leaky again": run("leaky")}
    done["pushed by hand"] = store.run(small.ungated(task, "leaky", store.serving))
    done["third"] = run("honest_3")
    done["third again"] = run("honest_3")
    done["third unchanged"] = run("honest_3")
    done["explained otherwise"] = run("honest_3", explain={"seed": 1})
    done["judged by a stricter policy"] = run("honest_3", STRICT)
    done["fourth"] = run("honest_4")

    def interrupted(name, model, policy, meanwhile):
        nodes = small.gated(task, model, store.serving, policy)
        small.interrupt(nodes, lambda: done.update({f"{name}, meanwhile": meanwhile()}))
        done[name] = store.run(nodes)

    interrupted("refused late", "leaky", POLICY, lambda: run("honest_5"))
    # Evaluator refuses it: also the cheapest run that shows what the next one finds.
    done["refused by Evaluator"] = run("honest_3", blesses=False)

    interrupted("known and refused late", "honest_5", STRICT, lambda: run("honest_6"))
    done["after a known model was refused late"] = run("leaky", blesses=False)
    interrupted("passed late", "honest_3", POLICY, lambda: run("honest_4", STRICT))
    done["after a model passed late"] = run("leaky", blesses=False)
    return done


@pytest.fixture(scope="module")
def inserted(task, tmp_path_factory):
    """A pass, a refusal and a look at what the next run finds, under a gate that was put into a plain list of nodes."""
    store = small.Store(tmp_path_factory.mktemp("store"))

    def run(model, blesses=True):
        nodes = small.ungated(task, model, store.serving, blesses)
        return store.run(add_attribution_gate(nodes, validation_config=POLICY))

    return run("honest_1"), run("leaky"), run("honest_2", blesses=False)


def test_the_first_model_passes_by_absolute_checks_and_is_pushed(runs):
    first = runs["first"]
    assert set(first.states.values()) == {"COMPLETE"}
    assert first.reference is None
    assert first.verdicts["reference"] == "NO_REFERENCE"
    assert first.passed and first.pushed
    assert first.new_reference == ["honest_1"]


def test_the_second_model_is_compared_with_the_first(runs):
    second = runs["second"]
    assert second.reference == ["honest_1"]
    (compared_with,) = second.anomalies["reference"]
    assert Path(compared_with["model_uri"]).name == "honest_1"
    assert second.verdicts["share_change"] == "PASS"
    assert "reference" not in second.verdicts
    assert second.passed and second.pushed
    assert second.new_reference == ["honest_1", "honest_2"]


def test_what_evaluator_blessed_and_the_gate_refused_is_not_pushed(runs):
    leaky = runs["leaky"]
    (evaluator,) = leaky.wrote("Evaluator", "blessing")
    assert evaluator.custom_properties["blessed"].int_value == 1
    assert leaky.states["Pusher"] == "COMPLETE"
    assert not leaky.passed and not leaky.pushed
    assert leaky.blocked_by >= {"max_share", "new_features"}
    assert leaky.new_reference is None


def test_a_refusals_page_names_its_run_and_model_and_leads_to_the_attributions(runs, task):
    """As LocalDagRunner tells them; the links as a browser follows them."""
    leaky, second = runs["leaky"], runs["second"]
    (anomalies,), (attributions,) = leaky.wrote(GATE_NODE_ID, "anomalies"), leaky.wrote("ExplainerGen", "attributions")
    path = Path(anomalies.uri, "report.html")
    page = Page(path.read_text())
    execution = leaky.executions[GATE_NODE_ID].id
    run = f"Pipeline {small.PIPELINE_NAME} · run {leaky.id} · node {GATE_NODE_ID} · execution {execution}"
    assert f"{run} Model {task.model('leaky')} (id " in page.text
    assert f"the last model that passed: {task.model('honest_2')} (id " in page.text
    assert f"passed in run {second.id})" in page.text
    assert Path(attributions.uri, "report.html") in page.links_from(path)


def test_a_refused_model_run_again_is_taken_from_the_cache_and_stays_refused(runs):
    again = runs["leaky again"]
    assert {again.state(node) for node in OURS} == {"CACHED"}
    assert not again.passed and not again.pushed
    assert again.new_reference is None


def test_a_refused_model_run_again_or_pushed_by_hand_is_neither_reference_nor_baseline(runs):
    by_hand, after = runs["pushed by hand"], runs["third"]
    assert by_hand.pushed
    assert after.baseline == ["honest_2"]
    assert after.reference == ["honest_1", "honest_2"]
    assert after.passed and after.pushed
    assert after.new_reference == ["honest_1", "honest_2", "honest_3"]


def test_the_first_rerun_meets_its_own_reference_and_the_second_executes_nothing(runs):
    first, second = runs["third again"], runs["third unchanged"]
    assert first.reference == ["honest_1", "honest_2", "honest_3"]
    assert first.passed and first.new_reference is None
    assert second.states == dict.fromkeys(second.states, "CACHED")
    assert second.passed and second.pushed
    assert second.wrote(GATE_NODE_ID, "blessing") == first.wrote(GATE_NODE_ID, "blessing")


def test_another_explain_config_executes_both(runs):
    changed = runs["explained otherwise"]
    assert changed.read("ExplainerGen", "reference") == runs["third unchanged"].read("ExplainerGen", "reference")
    assert {changed.state(node) for node in OURS} == {"COMPLETE"}
    assert changed.passed and changed.new_reference is None


def test_another_policy_executes_the_validator_alone(runs):
    changed = runs["judged by a stricter policy"]
    assert changed.states["Evaluator"] == "CACHED"
    assert {node: changed.state(node) for node in OURS} == {"ExplainerGen": "CACHED", GATE_NODE_ID: "COMPLETE"}


def test_a_model_refused_later_stays_neither_reference_nor_baseline(runs):
    refused, after = runs["judged by a stricter policy"], runs["fourth"]
    assert refused.blocked_by == {"share_change"}
    assert not refused.pushed
    assert refused.new_reference == ["honest_1", "honest_2"]
    assert after.baseline == ["honest_2"]
    assert after.reference == ["honest_1", "honest_2"]
    assert after.passed
    assert after.new_reference == ["honest_1", "honest_2", "honest_4"]


def test_a_refused_run_leaves_the_reference_to_one_that_passed_meanwhile(runs):
    interrupted, meanwhile, after = _interrupted(runs, "refused late", "refused by Evaluator")
    assert meanwhile.passed and meanwhile.pushed
    assert interrupted.reference == meanwhile.reference == ["honest_1", "honest_2", "honest_4"]
    assert interrupted.blocked_by >= {"max_share", "new_features"}
    assert not interrupted.pushed
    assert interrupted.new_reference is None
    assert after.reference == ["honest_1", "honest_2", "honest_4", "honest_5"]
    assert after.baseline == ["honest_5"]


def _interrupted(runs, name, after):
    """The run, the one that came and went while it was explaining, and the next one."""
    late, meanwhile = runs[name], runs[f"{name}, meanwhile"]
    verdict = meanwhile.executions[GATE_NODE_ID].id
    assert late.executions["ExplainerGen"].id < verdict < late.executions[GATE_NODE_ID].id
    return late, meanwhile, runs[after]


def test_refusing_a_known_model_late_keeps_the_baseline_that_passed_meanwhile(runs):
    late, meanwhile, after = _interrupted(runs, "known and refused late", "after a known model was refused late")
    assert "honest_5" in late.reference and not late.passed
    assert meanwhile.passed and meanwhile.new_reference[-1] == "honest_6"
    assert "honest_5" not in after.reference
    assert after.baseline == ["honest_6"]


def test_refusing_a_known_model_late_keeps_the_reference_that_passed_meanwhile(runs):
    assert runs["after a known model was refused late"].reference[-1] == "honest_6"


def test_a_model_that_passes_late_becomes_the_reference(runs):
    late, meanwhile, after = _interrupted(runs, "passed late", "after a model passed late")
    assert "honest_4" in late.reference and late.passed
    assert not meanwhile.passed and "honest_4" not in meanwhile.new_reference
    assert after.reference[-1] == late.new_reference[-1] == "honest_3"


def test_a_model_refused_while_another_passes_is_no_reference(runs):
    assert "honest_4" not in runs["after a model passed late"].reference


def test_a_model_that_evaluator_refused_is_not_explained(runs):
    refused = runs["refused by Evaluator"]
    (attributions,) = refused.wrote("ExplainerGen", "attributions")
    assert attributions.custom_properties[properties.STATUS].string_value == properties.STATUS_NOT_EXPLAINED
    assert attributions.custom_properties[properties.ROWS].int_value == 0
    manifest = read_manifest(attributions.uri, "ModelAttributions")
    verify(manifest)
    assert "Evaluator" in manifest.read_json("summary.json")["reason"]

    assert refused.blocked_by == {"evaluator", "attributions"}
    assert refused.verdicts["evaluator"] == "FAIL"
    (anomalies,) = refused.wrote(GATE_NODE_ID, "anomalies")
    assert anomalies.custom_properties[properties.FIRST_REASON].string_value.startswith("Evaluator did not bless")
    assert not refused.passed and not refused.pushed
    assert refused.new_reference is None


def test_an_inserted_gate_passes_what_a_hand_wired_one_passes(inserted, runs):
    passed, by_hand = inserted[0], runs["first"]
    assert set(passed.executions) == set(by_hand.executions)
    assert passed.passed and passed.pushed
    assert passed.new_reference == ["honest_1"]
    assert passed.anomalies["results"] == by_hand.anomalies["results"]


def test_an_inserted_gate_refuses_what_a_hand_wired_one_refuses(inserted, runs):
    _, refused, after = inserted
    assert refused.baseline == refused.reference == ["honest_1"]
    assert refused.blocked_by == runs["leaky"].blocked_by
    assert not refused.passed and not refused.pushed
    assert refused.new_reference is None
    assert after.baseline == after.reference == ["honest_1"]


def _properties(artifact):
    """Custom properties as Python values."""
    return {name: getattr(v, v.WhichOneof("value")) for name, v in artifact.custom_properties.items()}


def test_the_store_holds_our_types_without_declared_properties(runs):
    store = runs["first"].store.mlmd()
    for name in ("ModelAttributions", "AttributionAnomalies", "AttributionReference"):
        assert dict(store.get_artifact_type(f"tfx_explain.{name}").properties) == {}
        assert store.get_artifacts_by_type(f"tfx_explain.{name}")


def test_attributions_have_their_custom_properties(runs, task):
    (artifact,) = runs["second"].wrote("ExplainerGen", "attributions")
    found = _properties(artifact)
    assert set(properties.MODEL_ATTRIBUTIONS) <= set(found)
    assert found["status"] == "explained"
    assert found["method"] == "integrated_gradients"
    assert (found["num_steps"], found["rows"], found["features"]) == (50, EVAL_ROWS, 4)
    assert found["model_fingerprint"] == model_fingerprint(f"{task.model('honest_2')}/Format-Serving")
    (first,) = runs["first"].wrote("ExplainerGen", "attributions")
    before = _properties(first)
    same = {name for name in properties.MODEL_ATTRIBUTIONS if found[name] == before[name]}
    assert set(properties.MODEL_ATTRIBUTIONS) - same == {"model_fingerprint"}
    assert all(len(found[name]) >= 32 for name in found if name.endswith("_fingerprint"))


def test_what_the_gate_writes_has_its_custom_properties(runs, task):
    second, leaky = runs["second"], runs["leaky"]
    ((passed,), (refused,)) = (run.wrote(GATE_NODE_ID, "anomalies") for run in (second, leaky))
    wanted = {"blessed": 1, "blocking": 0, "first_reason": "", "gate_id": "default"}
    assert set(wanted) == set(properties.ATTRIBUTION_ANOMALIES)
    assert _properties(passed).items() >= wanted.items()
    found = _properties(refused)
    assert (found["blessed"], found["blocking"]) == (0, len(leaky.anomalies["blocking"]))
    assert found["first_reason"] == leaky.anomalies["blocking"][0]

    (reference,) = second.wrote(GATE_NODE_ID, "new_reference")
    wanted = {
        "gate_id": "default",
        "models": 2,
        "newest_model": task.model("honest_2"),
        "newest_fingerprint": model_fingerprint(f"{task.model('honest_2')}/Format-Serving"),
        "newest_run": second.id,
    }
    assert set(wanted) == set(properties.ATTRIBUTION_REFERENCE)
    assert _properties(reference).items() >= wanted.items()


def test_the_blessing_says_all_that_evaluators_says(runs, task):
    second, leaky = runs["second"], runs["leaky"]
    (evaluator,), (ours,) = (second.wrote(node, "blessing") for node in ("Evaluator", GATE_NODE_ID))
    found, wanted = _properties(ours), _properties(evaluator)
    named = ("blessed", "current_model", "current_model_id", "baseline_model", "baseline_model_id")
    assert {name: found[name] for name in named} == {name: wanted[name] for name in named}
    assert found["baseline_model"] == task.model("honest_1")
    assert set(properties.MODEL_BLESSING) <= set(found)
    assert found["gate_reason"] == "passed"
    assert Path(ours.uri, "BLESSED").exists()

    (refused,) = leaky.wrote(GATE_NODE_ID, "blessing")
    assert _properties(refused)["gate_reason"] == leaky.anomalies["blocking"][0]
    assert Path(refused.uri, "NOT_BLESSED").exists() and not Path(refused.uri, "BLESSED").exists()


def test_no_custom_property_exceeds_a_kilobyte_or_is_not_finite(runs):
    store = runs["first"].store.mlmd()
    for artifact in store.get_artifacts():
        for name, value in _properties(artifact).items():
            if isinstance(value, str):
                assert len(value.encode()) <= 1024, (artifact.type, name)
            else:
                assert math.isfinite(value), (artifact.type, name)


def test_the_lineage_of_a_pushed_model_reaches_all_that_it_rests_on(runs):
    first, second = runs["first"], runs["second"]
    (pushed,) = second.wrote("Pusher", "pushed_model")
    ancestors = second.store.ancestors(pushed)
    for run, node, key in (
        (second, "Trainer", "result"),
        (second, "ExampleGen", "result"),
        (second, "Evaluator", "blessing"),
        (second, "ExplainerGen", "attributions"),
        (second, GATE_NODE_ID, "blessing"),
        (first, GATE_NODE_ID, "new_reference"),
        # What the reference rests on in its turn.
        (first, "ExplainerGen", "attributions"),
        (first, "Trainer", "result"),
    ):
        (artifact,) = run.wrote(node, key)
        assert artifact.id in ancestors, (node, key)
    (later,) = runs["leaky"].wrote("ExplainerGen", "attributions")
    assert later.id not in ancestors
