"""Where each row's own class is explained, what a class means is read off the rows that the reference keeps."""

import datetime
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from tests.attribution_validator.checks.passed_models import evidence_of
from tests.attribution_validator.test_executor import FIRST_RUN, Case, otherwise
from tests.fixtures.synthetic import HONEST, Additive

from tfx_explain.artifacts.statistics import to_parquet
from tfx_explain.attribution_validator.checks.base import Result
from tfx_explain.attribution_validator.next_steps import next_steps
from tfx_explain.attribution_validator.verdict import judge_model
from tfx_explain.config import ValidationConfig

pytestmark = pytest.mark.tf

TODAY = datetime.date(2026, 11, 1)
ROWS = [f"{number:02x}{number:030x}" for number in range(256)] + [
    f"{number:02x}f{number:029x}" for number in range(256)
]


def classes(parts, seed=0):
    """A class of each row, by the classes' parts of them."""
    return np.random.default_rng(seed).choice(len(parts), len(ROWS), p=parts)


def retrained(before, seed, moved=0.2):
    """Honest: a fifth of the rows get a class at random."""
    rng = np.random.default_rng([seed, 1])
    return np.where(rng.random(len(before)) < moved, rng.permutation(before), before)


def verdict_of(before, now, **settings):
    """What the check says of classes by row, honest attributions beside them."""
    given = [dict(zip(ROWS, (int(c) for c in model), strict=False)) for model in (before, now)]
    passed, candidate = (
        evidence_of(Additive(HONEST, seed=seed), classes=by_row, class_names=("cat", "dog", "owl"))
        for seed, by_row in zip((1, 2), given, strict=True)
    )
    config = ValidationConfig.make({"checks": {"predicted_classes": settings}} if settings else {})
    verdict = judge_model(candidate, passed, {}, config, TODAY)
    return verdict, [r for r in verdict.results if r.check == "predicted_classes"]


BALANCED = classes([0.3, 0.3, 0.4])


@pytest.mark.parametrize(
    ("before", "now", "part"),
    [
        (classes([0.5, 0.5]), 1 - classes([0.5, 0.5]), "'cat'"),
        (classes([0.97, 0.03]), 1 - classes([0.97, 0.03]), "'cat'"),
        (BALANCED, (BALANCED + 1) % 3, "goes to 0.0 % of these"),
        (BALANCED, np.where(BALANCED == 1, 0, BALANCED), "'dog'"),
        (BALANCED, np.zeros(len(ROWS), int), "is lost of it is 1.000"),
        (classes([0.02] * 50), (classes([0.02] * 50) + 1) % 50, "rarer classes"),
    ],
)
def test_classes_that_go_to_other_rows_are_found(before, now, part):
    verdict, (result,) = verdict_of(before, retrained(now, 3, 0.0))
    assert not verdict.blessed and [r.check for r in verdict.blocking] == ["predicted_classes"]
    assert (
        result.verdict in ("FAIL", "INCONCLUSIVE")
        and part in result.sentence
        and "numbered otherwise" in result.sentence
    )


@pytest.mark.parametrize("parts", [[0.5, 0.5], [0.88, 0.12], [0.99, 0.01], [1.0], [0.3, 0.3, 0.4], [0.02] * 50])
def test_honest_retrains_pass(parts):
    for seed in range(20):
        before = classes(parts, seed)
        for moved in (0.2, 0.6):
            verdict, (result,) = verdict_of(before, retrained(before, seed, moved))
            assert result.verdict == "PASS" and verdict.blessed, result.sentence


def test_rare_positives_that_a_retrain_no_longer_gives_are_no_finding():
    before = classes([0.95, 0.05])
    verdict, (result,) = verdict_of(before, np.zeros(len(ROWS), int))
    assert verdict.blessed and result.verdict == "PASS"


def test_rows_that_the_model_cannot_run_are_told_and_do_not_block():
    verdict, (result,) = verdict_of(BALANCED, BALANCED[:100])
    assert verdict.blessed and result.severity == "warn" and "Of 512 rows" in result.sentence


def test_severity_and_threshold_are_the_policys():
    inverted = classes([0.5, 0.5]), 1 - classes([0.5, 0.5])
    assert verdict_of(*inverted, threshold=0.95, severity="warn")[0].blessed
    assert verdict_of(*inverted, threshold=0.95, severity="off")[1] == []
    assert not verdict_of(BALANCED, retrained(BALANCED, 1), threshold=0.01)[0].blessed


def pinned(scores):
    """pinned_rows.parquet with scores of two columns; None where the model could not run the row."""
    return to_parquet(
        pa.table(
            {
                "role": pa.array(["prediction"] * len(ROWS)),
                "id": pa.array(ROWS),
                "example": pa.array([b"x"] * len(ROWS), pa.binary()),
                "prediction": pa.array(scores, pa.list_(pa.float64())),
            }
        )
    )


def case_of(folder, seed, scores, target, **fields):
    case = Case(folder, Additive(HONEST, seed=seed), **fields)
    otherwise(case, "pinned_rows.parquet", pinned(scores))
    summary = json.loads((Path(case.attributions_uri) / "summary.json").read_text())
    summary["model"]["target"] = target
    otherwise(case, "summary.json", json.dumps(summary).encode())
    return case


def test_an_inverted_label_is_found_through_the_files(tmp_path):
    """Of two softmax columns the attributions of an inverted model are, row by row, those of the honest one."""
    first = [[0.2, 0.8] if i % 3 else [0.7, 0.3] for i in range(len(ROWS))]
    inverted = [None if i < 9 else score[::-1] for i, score in enumerate(first)]
    *_, reference = case_of(tmp_path / "1", 1, first, "predicted", config={"without_reference": FIRST_RUN}).run()
    assert case_of(tmp_path / "2", 2, first, "predicted", reference_uri=reference).run()[0] == 1
    blessed, blocking, _ = case_of(tmp_path / "3", 3, inverted, "predicted", reference_uri=reference).run()
    assert blessed == 0 and "goes to 0.0 % of these by this model, and 100.0 % of the other rows" in blocking[0]
    # One column for all rows: directions tell.
    assert case_of(tmp_path / "4", 4, inverted, "0", reference_uri=reference).run()[0] == 1


def test_predictions_of_another_form_are_refused_by_name(tmp_path):
    case = case_of(tmp_path, 1, [[0.2, 0.8]] * len(ROWS), "predicted", config={"without_reference": FIRST_RUN})
    columns = {"role": ["prediction"], "id": ["00"], "example": [b"x"], "prediction": [1.5]}
    otherwise(case, "pinned_rows.parquet", to_parquet(pa.table(columns)))
    blessed, blocking, _ = case.run()
    assert blessed == 0 and "pinned_rows.parquet is damaged" in blocking[0]


def test_classes_that_are_meant_to_differ_may_warn_once():
    verdict, _ = verdict_of(BALANCED, (BALANCED + 1) % 3)
    look, paste, _ = next_steps(verdict.results)
    assert "vocabulary" in look["what"] and "until this model has passed" in paste["what"]
    settings = yaml.safe_load(paste["policy"])["checks"]["predicted_classes"]
    assert verdict_of(BALANCED, (BALANCED + 1) % 3, **settings)[0].blessed
    too_far = Result("share_change", "FAIL", "block", "", value=0.3, high=0.4)
    assert set(yaml.safe_load(next_steps([*verdict.results, too_far])[1]["policy"])["checks"]) == {
        "share_change", "predicted_classes",
    }  # fmt: skip
