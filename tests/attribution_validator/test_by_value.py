"""Named features by value, from artifacts on disk; what is drawn of them is in tests/report."""

import datetime
import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests.fixtures.artifacts import pins_of, write_attributions, write_model
from tests.fixtures.synthetic import HONEST, Additive, Part

from tfx_explain.attribution_reference.store import write_reference
from tfx_explain.attribution_validator.anomalies import read_anomalies, write_anomalies
from tfx_explain.attribution_validator.by_value import by_value
from tfx_explain.attribution_validator.evidence import changed_reference, judge_artifacts
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.bins import FeatureBins, quantile_bins

pytestmark = pytest.mark.tf

TODAY = datetime.date(2026, 1, 1)
FIRST_RUN = {"without_reference": {"absolute_checks_decide": {"until": "2999-12-31"}}}
DOCS = Path(__file__).resolve().parents[2] / "docs" / "artifact.md"


def judged(folder, model, references=(), policy=None, **written):
    uri = write_model(folder / "model", json.dumps([model.weights, model.seed]))
    attributions = write_attributions(folder / "attributions", model, uri, **written)
    return judge_artifacts(attributions, [str(r) for r in references], ValidationConfig.make(policy or {}), TODAY)


@pytest.fixture(scope="module")
def passed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    verdict = judged(folder, Additive(HONEST, seed=1), policy=FIRST_RUN)
    reference = changed_reference(verdict, ValidationConfig(), "/models/1", "1", verdict.candidate.fingerprint)
    write_reference(str(folder / "reference"), reference)
    return folder / "reference"


def test_each_bin_has_the_means_of_its_rows(tmp_path, passed):
    model = Additive(HONEST | {"b": -2.0}, seed=3)
    verdict = judged(tmp_path, model, [passed])
    (entry,) = [e for e in by_value(verdict) if e["feature"] == "b"]
    assert (entry["slice"], entry["model"], entry["reference"]) == ("overall", "measured", "measured")
    rows, before = model.explained(), Additive(HONEST, seed=1).explained()
    assert len(entry["values"]) == 10  # no value is missing
    for i, value in enumerate(entry["values"]):
        inside, then = rows.bin_index[:, 1] == i, before.bin_index[:, 1] == i
        assert value["rows"] == value["weight"] == inside.sum()
        assert value["reference_rows"] == then.sum()
        assert value["mean"] == pytest.approx(rows.attributions[inside, 1].mean(), rel=1e-5)
        assert value["reference_mean"] == pytest.approx(before.attributions[then, 1].mean(), rel=1e-5)
        assert value["label_mean"] is None  # these attributions have no metrics


def test_label_means(tmp_path):
    model = Additive({"leak": 6.0, **HONEST}, seed=3)
    verdict = judged(tmp_path, model)
    metrics = {"label_mean": {"value": 0.5, "low": 0.4, "high": 0.6}}
    verdict.candidate.summary["metrics"] = metrics
    (entry,) = by_value(verdict)
    rows = model.explained()
    wanted = [rows.label[rows.bin_index[:, 0] == i].mean() for i in range(10)]
    assert [v["label_mean"] for v in entry["values"]] == pytest.approx(wanted, rel=1e-5)
    verdict.candidate.statistics.scalars["labelled_weight"][:] -= 1
    assert {v["label_mean"] for v in by_value(verdict)[0]["values"]} == {None}


def test_new_and_removed_features(tmp_path, passed):
    weights = {"leak": 6.0, **HONEST}
    del weights["a"]
    entries = {e["feature"]: e for e in by_value(judged(tmp_path, Additive(weights, seed=3), [passed]))}
    assert (entries["leak"]["model"], entries["leak"]["reference"]) == ("measured", "not_used")
    assert (entries["a"]["model"], entries["a"]["reference"]) == ("not_used", "measured")
    assert all(v["rows"] is v["mean"] is None and v["reference_rows"] > 0 for v in entries["a"]["values"])


def test_blocking_findings_come_first_and_three_are_enough(tmp_path, passed):
    weights = HONEST | dict.fromkeys(("n1", "n2", "n3", "n4"), 0.9)
    verdict = judged(tmp_path, Additive(weights, seed=3), [passed], {"checks": {"max_share": {"threshold": 0.01}}})
    warned = [r.feature for r in verdict.verdict.results if r.check == "max_share"]
    assert warned == ["a"]  # it stands before new_features, and warns only
    assert [e["feature"] for e in by_value(verdict)] == ["n1", "n2", "n3"]


def test_a_group_is_told_by_its_members(tmp_path):
    model = Additive({"leak": 1.25, "copy": 1.25, **HONEST}, seed=3, copies={"copy": "leak"})
    verdict = judged(tmp_path, model, policy=FIRST_RUN | {"checks": {"max_share": {"threshold": 0.35}}})
    assert [e["feature"] for e in by_value(verdict)] == ["copy", "leak"]


def test_a_finding_on_a_slice_shows_the_slice(tmp_path):
    key = (("hour", 3),)
    model = Additive(HONEST, seed=3, slices={key: Part(rows=600, weights={"f": 9.0})})
    policy = FIRST_RUN | {"required_slices": [{"feature_values": {"hour": 3}}]}
    (entry,) = by_value(judged(tmp_path, model, policy=policy))
    assert (entry["feature"], entry["slice"], sum(v["rows"] for v in entry["values"])) == ("f", "hour=3", 600)


def test_other_bins_are_not_set_beside_each_other(tmp_path, passed):
    features = tuple({"leak": 6.0, **HONEST})
    other = pins_of(features)
    other.bins["b"] = quantile_bins(np.random.default_rng(5).normal(size=1000) + 1, np.ones(1000))
    model = Additive(HONEST | {"b": -2.0}, seed=3)
    verdict = judged(tmp_path, model, [passed], pins=other)
    assert [r.check for r in verdict.verdict.results] == ["comparability"]
    assert by_value(verdict) == []


def test_categories_have_their_names_and_numbers_are_told_in_words(tmp_path):
    verdict = judged(tmp_path, Additive({"leak": 6.0, **HONEST}, seed=3))
    size = verdict.candidate.pins.bins["leak"].size
    edges = (-1.0, 0.25, 17031242100.0)
    verdict.candidate.pins.bins["leak"] = FeatureBins(edges=edges)
    assert by_value(verdict) == []  # of another number than the sums have
    edges += tuple(range(17031242101, 17031242101 + size - len(edges) - 2))
    verdict.candidate.pins.bins["leak"] = FeatureBins(edges=edges)
    words = [v["value"] for v in by_value(verdict)[0]["values"]]
    assert words[:3] == ["below -1", "-1 to below 0.25", "0.25 to below 17031242100"]
    assert words[-1].endswith(" and more")
    names = tuple(f"k{i}".encode() for i in range(size - 2))
    verdict.candidate.pins.bins["leak"] = FeatureBins(categories=names)
    assert [v["value"] for v in by_value(verdict)[0]["values"]][:2] == ["k0", "k1"]


def test_what_is_written_is_documented(tmp_path, passed):
    verdict = judged(tmp_path, Additive({"leak": 6.0, **HONEST}, seed=3), [passed])
    write_anomalies(str(tmp_path / "anomalies"), verdict, ValidationConfig())
    entries = read_anomalies(str(tmp_path / "anomalies"))["by_value"]
    assert entries == by_value(verdict)
    for title, written in (("by_value", entries), ("values", entries[0]["values"])):
        section = DOCS.read_text().split("## AttributionAnomalies")[1].split(f"**`{title}`**")[1].split("**")[0]
        keys = {
            k
            for line in section.splitlines()
            if line.startswith("| `")
            for k in re.findall("`(.+?)`", line.split(" | ")[0])
        }
        assert all(set(one) == keys for one in written)


def test_nothing_to_show(tmp_path, passed):
    assert by_value(judged(tmp_path, Additive(HONEST | {"a": 1.05}, seed=2), [passed])) == []
    assert by_value(judge_artifacts(str(tmp_path / "none"), [], ValidationConfig(), TODAY)) == []
