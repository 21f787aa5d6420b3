"""The demo's expectations, its policy, and its care for other people's folders."""

import dataclasses
import re

import demo
import pytest

from tfx_explain.config import ExplainConfig, ValidationConfig


@dataclasses.dataclass(frozen=True)
class _Outcome:
    run: str
    evaluator_blessed: bool
    gate_blessed: bool
    pushed: bool
    blocking_checks: frozenset
    model_id: int
    baseline_model_id: int | None
    reasons: tuple = ("A reason.",)
    profits: tuple = ()


@pytest.fixture
def expected():
    """What each run should come to: runs 1 to 5 make models 11 to 15."""
    compared_with = [None, 11, 12, 12, None]
    return [
        _Outcome(run.title, True, run.passes, run.passes, run.blocked_by, 11 + i, compared_with[i])
        for i, run in enumerate(demo.RUNS)
    ]


def test_the_expected_outcomes_are_no_mismatch(expected):
    assert demo.mismatches(expected) == []


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize(
    ("field", "phrase"),
    [("evaluator_blessed", "Evaluator blessed"), ("gate_blessed", "the gate blessed"), ("pushed", "pushed=")],
)
def test_another_verdict_is_named_with_its_run(expected, index, field, phrase):
    outcome = expected[index]
    expected[index] = dataclasses.replace(outcome, **{field: not getattr(outcome, field)})
    (sentence,) = demo.mismatches(expected)
    assert f"run {outcome.run}" in sentence
    assert phrase in sentence


def test_a_refusal_for_another_reason_is_a_mismatch(expected):
    expected[2] = dataclasses.replace(expected[2], blocking_checks=frozenset({"max_share", "completeness"}))
    (sentence,) = demo.mismatches(expected)
    assert "expected new_features to block" in sentence


def test_a_comparison_with_the_refused_model_is_a_mismatch(expected):
    expected[3] = dataclasses.replace(expected[3], baseline_model_id=13)
    (sentence,) = demo.mismatches(expected)
    assert "compare with 2 honest retrain (model 12), found model 13" in sentence


def test_runs_after_the_first_of_a_store_are_compared_with_the_last_that_passes():
    passed = {}
    for run in demo.RUNS:
        assert run.compared_with == passed.get(run.store)
        if run.passes:
            passed[run.store] = run.title


def test_the_tutorials_features_are_the_honest_ones_and_one_more():
    assert [*demo.HONEST_FEATURES, "payment_type"] == demo.TUTORIAL_FEATURES


def test_the_policy_names_no_feature():
    text = (demo.CONFIGS / "validation.yaml").read_text(encoding="utf-8")
    assert [feature for feature in demo.TUTORIAL_FEATURES if re.search(rf"\b{feature}\b", text)] == []


def test_each_line_of_the_policy_has_a_comment():
    lines = (demo.CONFIGS / "validation.yaml").read_text(encoding="utf-8").splitlines()
    setting = re.compile(r"^\s*[a-z_]+: *\S")
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if setting.match(line) and not before.lstrip().startswith("#")
    ]
    assert bare == []


def test_the_configs_are_taken():
    policy = ValidationConfig.load(demo.CONFIGS / "validation.yaml")
    assert policy.without_reference == "refuse"
    assert policy.checks.max_share.with_reference == "block"
    assert policy.approved_features == ()
    assert policy.dominant_features == {}
    assert ExplainConfig.load(demo.CONFIGS / "explain.yaml").label.key == "big_tip"


def test_a_folder_of_another_origin_is_not_emptied(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(SystemExit, match="--output must be a new folder, an empty one, or an earlier demo's"):
        demo._clear(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_an_earlier_demos_folder_is_emptied(tmp_path):
    output = tmp_path / "demo"
    demo._clear(output)
    (output / "verdicts.json").touch()
    demo._clear(output)
    assert [path.name for path in output.iterdir()] == [demo.MARKER]
