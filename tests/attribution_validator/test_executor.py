"""The gate's truth table, on files on disk, through `Do`."""

import dataclasses
import json
import logging
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.fixtures.artifacts import pins_of, write_attributions, write_model
from tests.fixtures.synthetic import HONEST, Additive, Part
from tfx.types import standard_artifacts

from tfx_explain.artifacts.manifest import Stage, read_manifest
from tfx_explain.artifacts.statistics import to_parquet
from tfx_explain.artifacts.types import AttributionAnomalies, AttributionReference, ModelAttributions
from tfx_explain.attribution_reference.store import read_reference
from tfx_explain.attribution_validator import anomalies as anomalies_module
from tfx_explain.attribution_validator import executor as executor_module
from tfx_explain.attribution_validator.executor import Executor
from tfx_explain.config import RequiredSlice, ValidationConfig

pytestmark = pytest.mark.tf

PAGE = Path(__file__).resolve().parents[2] / "docs" / "artifact.md"
FIRST_RUN = {"absolute_checks_decide": {"until": "2999-12-31"}}


@dataclasses.dataclass
class Case:
    """One run of the gate: everything right, until a test breaks something."""

    root: Path
    model: Additive = dataclasses.field(default_factory=lambda: Additive(HONEST, seed=1))
    config: dict = dataclasses.field(default_factory=dict)
    reference_uri: str | None = None
    reference: AttributionReference | None = None
    model_id: int = 7
    serial: int = 0
    exist_ok: bool = False
    context: Executor.Context | None = None

    def __post_init__(self):
        self.root.mkdir(parents=True, exist_ok=True)
        content = json.dumps([self.model.weights, self.model.seed])
        self.model_uri = write_model(self.root / "model", content)
        self.attributions_uri = write_attributions(self.root / "attributions", self.model, self.model_uri)
        self.blessing = self.evaluator_blessing()

    def evaluator_blessing(self, blessed: int = 1) -> standard_artifacts.ModelBlessing:
        blessing = standard_artifacts.ModelBlessing()
        blessing.uri = str(self.root / "evaluator")
        blessing.set_int_custom_property("blessed", blessed)
        blessing.set_string_custom_property("current_model", self.model_uri)
        blessing.set_int_custom_property("current_model_id", self.model_id)
        blessing.set_string_custom_property("baseline_model", "/somewhere")
        blessing.set_int_custom_property("baseline_model_id", 3)
        return blessing

    def run(self):
        """(blessed, blocking sentences, new reference's URI or None)."""
        self.serial += 1
        inputs = {"attributions": [ModelAttributions()], "model": [standard_artifacts.Model()]}
        inputs["attributions"][0].uri = self.attributions_uri
        inputs["model"][0].uri, inputs["model"][0].id = self.model_uri, self.model_id
        inputs["model_blessing"] = [self.blessing]
        if self.reference is not None:
            inputs["reference"] = [self.reference]
        elif self.reference_uri is not None:
            inputs["reference"] = [AttributionReference()]
            inputs["reference"][0].uri = self.reference_uri
        outputs = {
            "blessing": [standard_artifacts.ModelBlessing()],
            "anomalies": [AttributionAnomalies()],
            "new_reference": [AttributionReference()],
        }
        for name, artifacts in outputs.items():
            artifacts[0].uri = str(self.root / f"{name}-{self.serial}")
            Path(artifacts[0].uri).mkdir(parents=True, exist_ok=self.exist_ok)
        self.out = outputs
        config = ValidationConfig.make(self.config)
        Executor(self.context).Do(inputs, outputs, {"validation_config": config.to_json(), "engine_version": "test"})
        blessing, anomalies = outputs["blessing"][0], outputs["anomalies"][0]
        data = json.loads(read_manifest(anomalies.uri, "AttributionAnomalies").read("anomalies.json"))
        blessed = blessing.get_int_custom_property("blessed")
        # What Pusher reads, what a person reads and what a file says must be one.
        assert data["blessed"] == bool(blessed) == bool(anomalies.get_int_custom_property("blessed"))
        assert [p.name for p in Path(blessing.uri).iterdir()] == ["BLESSED" if blessed else "NOT_BLESSED"]
        assert bool(data["blocking"]) == (not blessed)
        self.results = data["results"]
        return blessed, data["blocking"], outputs["new_reference"][0].uri if outputs["new_reference"] else None


@pytest.fixture(scope="module")
def passed(tmp_path_factory):
    """A reference that a first, honest model made."""
    case = Case(tmp_path_factory.mktemp("first"), config={"without_reference": FIRST_RUN})
    blessed, blocking, reference = case.run()
    assert (blessed, blocking) == (1, [])
    return reference


@pytest.fixture
def case(tmp_path, passed):
    """An honest retrain with a reference: it passes unless something is broken."""
    return Case(tmp_path, Additive(HONEST | {"a": 1.05}, seed=2), reference_uri=passed)


def refused(case, *parts):
    """The gate refuses, with a sentence that holds the parts; the reference does not change."""
    blessed, blocking, reference = case.run()
    assert blessed == 0
    assert any(all(p in s for p in parts) for s in blocking), blocking
    assert reference is None
    return blocking


def test_an_honest_retrain_passes_and_becomes_the_reference(case, passed):
    blessed, blocking, reference = case.run()
    assert (blessed, blocking) == (1, [])
    history = read_reference(reference)
    assert len(history.models) == 2
    assert history.models[-1].model_uri == case.model_uri
    assert history.models[0].fingerprint == read_reference(passed).models[0].fingerprint
    blessing = case.out["blessing"][0]
    assert blessing.get_string_custom_property("current_model") == case.model_uri
    assert blessing.get_int_custom_property("current_model_id") == case.model_id
    assert blessing.get_string_custom_property("baseline_model") == "/somewhere"
    assert blessing.get_int_custom_property("baseline_model_id") == 3


def test_the_log_says_what_a_green_run_would_hide(case, caplog):
    """On TFX's own logger: a refusal as a warning, so that it is seen whatever the level; a pass as information."""
    caplog.set_level(logging.INFO, "absl")

    def said():
        report = Path(case.out["anomalies"][0].uri) / "report.html"
        assert report.exists()
        (record,) = [
            r for r in caplog.records if r.name == "absl" and r.getMessage().startswith("AttributionValidator")
        ]
        caplog.clear()
        return record.levelno, record.getMessage(), f"Report: {report}"

    blessed, *_ = case.run()
    level, line, report = said()
    assert (blessed, level) == (1, logging.INFO)
    assert line == f"AttributionValidator: {case.model_uri} is blessed. {report}"
    case.blessing = case.evaluator_blessing(blessed=0)
    blocking = refused(case, "Evaluator")
    level, line, report = said()
    assert (level, line) == (
        logging.WARNING,
        f"AttributionValidator: {case.model_uri} is not blessed: {blocking[0]} {report}",
    )
    case.config = {"evidence": {"min_effective_rows": 9e9, "min_num_steps": 99}}
    blocking = refused(case, "Evaluator")
    assert f"{blocking[0]} (and {len(blocking) - 1} more) Report:" in said()[1] and len(blocking) > 2


def test_a_model_in_the_reference_passes_again_and_changes_nothing(case):
    *_, reference = case.run()
    case.reference_uri = reference
    assert case.run() == (1, [], None)


def test_on_kubeflow_an_output_is_never_empty(case, monkeypatch):
    """There an unchanged reference is an artifact without files, which no reader takes for one."""
    case.blessing = case.evaluator_blessing(blessed=0)
    monkeypatch.setitem(sys.modules, executor_module._KUBEFLOW, object())
    blessed, _, uri = case.run()
    assert blessed == 0 and uri is not None
    assert not Path(uri).exists()


def test_a_model_in_the_reference_that_is_refused_later_leaves_it(case):
    *_, reference = case.run()
    case.reference_uri, case.config = (
        reference,
        {"checks": {"max_share": {"threshold": 0.1, "with_reference": "block"}}},
    )
    blessed, _, changed = case.run()
    assert blessed == 0
    assert [m.model_uri for m in read_reference(changed).models] == [read_reference(reference).models[0].model_uri]


def test_a_refused_stranger_does_not_touch_the_reference(case, passed):
    case.blessing = case.evaluator_blessing(blessed=0)
    refused(case, "Evaluator did not bless")


# What is wrong with the inputs.


def test_without_a_reference_the_policy_decides(tmp_path):
    case = Case(tmp_path)
    refused(case, "No model has passed this gate yet", "without_reference")
    case.config = {"without_reference": {"absolute_checks_decide": {"until": "2020-01-01"}}}
    refused(case, "ended on 2020-01-01")
    case.config = {"without_reference": FIRST_RUN}
    assert case.run()[0] == 1


def test_attributions_made_with_a_reference_claim_no_first_run(tmp_path):
    """Else a lost --reference, or an unwired input, would let a model pass that nothing was compared with."""
    case = Case(tmp_path, config={"without_reference": FIRST_RUN})
    assert case.run()[0]
    rewrite(
        case,
        "summary.json",
        lambda data: json.dumps(
            (old := json.loads(data)) | {"method": old["method"] | {"input_baseline_source": "reference"}}
        ).encode(),
    )
    refused(case, "a first run must not be claimed")


def test_an_empty_reference_counts_as_none(case):
    *_, reference = case.run()
    history = read_reference(reference)
    from tfx_explain.attribution_reference.store import write_reference

    empty = str(case.root / "emptied")
    write_reference(empty, dataclasses.replace(history, models=()))
    case.reference_uri = empty
    refused(case, "No model has passed this gate yet")


@pytest.mark.parametrize("key", ["current_model", "current_model_id"])
def test_a_blessing_without_a_verdict(case, key):
    blessing = standard_artifacts.ModelBlessing()
    full = case.evaluator_blessing()
    blessing.uri = full.uri
    for name in {"current_model", "current_model_id", "blessed"} - {key}:
        value = full.get_custom_property(name)
        (blessing.set_string_custom_property if isinstance(value, str) else blessing.set_int_custom_property)(
            name, value
        )
    case.blessing = blessing
    refused(case, "names no model", "threshold")


def test_a_blessing_whose_blessed_is_unset(case):
    case.blessing = standard_artifacts.ModelBlessing()
    case.blessing.uri = str(case.root)
    case.blessing.set_string_custom_property("current_model", case.model_uri)
    case.blessing.set_int_custom_property("current_model_id", case.model_id)
    refused(case, "Evaluator did not bless")


def test_a_blessing_for_another_model(case):
    case.blessing.set_string_custom_property("current_model", "/another")
    refused(case, "is for the model /another")


def test_a_blessing_for_another_id(case):
    case.blessing.set_int_custom_property("current_model_id", 8)
    refused(case, "is for the model", "id 8")


def test_an_id_that_came_back_as_a_double(case):
    del case.blessing._artifact.custom_properties["current_model_id"]
    case.blessing.set_float_custom_property("current_model_id", 7.0)
    assert case.run()[0] == 1


def test_an_id_that_is_a_resource_name(case):
    """Kubeflow: Evaluator writes the model's name, and TFX makes the artifact's id of it."""
    name = "projects/1/locations/x/metadataStores/default/artifacts/42"
    del case.blessing._artifact.custom_properties["current_model_id"]
    case.blessing.set_string_custom_property("current_model_id", name)
    refused(case, "is for the model")
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as kubeflow

    case.model_id = kubeflow._get_hashed_id(name, {})
    assert case.run()[0] == 1
    assert case.out["blessing"][0].get_string_custom_property("current_model_id") == name


def test_attributions_of_another_model(case, tmp_path):
    other = Case(tmp_path / "other", Additive(HONEST, seed=9))
    case.attributions_uri = other.attributions_uri
    refused(case, "made from other model files")


def test_findings_on_another_model_take_none_out_of_the_reference(tmp_path, case):
    *_, case.reference_uri = case.run()
    own = case.attributions_uri
    leaking = Case(tmp_path / "other", Additive(HONEST | {"leak": 3.0}, seed=3))
    case.attributions_uri = leaking.attributions_uri
    refused(case, "'leak' is new")
    case.blessing = case.evaluator_blessing(blessed=0)  # a finding on the model itself
    *_, reference = case.run()
    assert len(read_reference(reference).models) == 1
    case.attributions_uri, case.blessing = own, case.evaluator_blessing()
    assert case.run()[0] == 1


def test_a_model_rewritten_after_it_was_explained(case):
    Path(case.model_uri, "Format-Serving", "saved_model.pb").write_text("another network")
    refused(case, "made from other model files", "rewritten")


def test_a_missing_model(case):
    shutil.rmtree(case.model_uri)
    refused(case, "there is no model")


def test_a_reference_of_another_gate(case):
    case.config = {"gate_id": "fraud"}
    refused(case, "belongs to gate 'default'", "'fraud'")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("signature", "another_head"),
        ("preprocessing_function", "transform_features"),
        ("unit", "probability"),
        ("output", "other"),
        ("target", "2"),
        ("method", "saliency"),
        ("splits", ["train"]),
        ("example_weight_key", "w"),
    ],
)
def test_attributions_made_otherwise(case, setting, value):
    shutil.rmtree(case.attributions_uri)
    pins = pins_of(tuple(HONEST), **{setting: value})
    write_attributions(Path(case.attributions_uri), case.model, case.model_uri, pins=pins)
    refused(case, "cannot be compared", setting)


def test_rows_that_are_clustered_from_now_on_stay_clustered(case):
    """Given up, the key would leave intervals narrower than they should be, and a straddled threshold inside them."""
    clustered = pins_of(tuple(HONEST), cluster_key="user")
    shutil.rmtree(case.attributions_uri)
    write_attributions(Path(case.attributions_uri), case.model, case.model_uri, pins=clustered)
    blessed, _, reference = case.run()
    assert blessed == 1
    later = Case(case.root / "later", Additive(HONEST | {"a": 1.02}, seed=5), reference_uri=reference)
    refused(later, "cannot be compared", "cluster_key (None here, 'user' in the reference)")


@pytest.mark.parametrize("pinned", ["input_baseline", "cut_policies", "bins"])
def test_attributions_with_another_pin(case, pinned):
    pins = pins_of(tuple(HONEST))
    other = {
        "input_baseline": {**pins.input_baseline, "c": ("f", (1.0,))},
        "cut_policies": {**pins.cut_policies, "c": "latest"},
        "bins": {
            **pins.bins,
            "c": dataclasses.replace(pins.bins["c"], edges=tuple(e + 1 for e in pins.bins["c"].edges)),
        },
    }[pinned]
    shutil.rmtree(case.attributions_uri)
    write_attributions(
        Path(case.attributions_uri), case.model, case.model_uri, pins=dataclasses.replace(pins, **{pinned: other})
    )
    refused(case, "cannot be compared", "'c'")


ATTRIBUTION_FILES = (
    "summary.json",
    "bucket_statistics.parquet",
    "prediction_statistics.parquet",
    "group_statistics.parquet",
    "pins.json",
    "report.html",
)


@pytest.mark.parametrize("name", ATTRIBUTION_FILES)
@pytest.mark.parametrize("fault", ["missing", "truncated", "changed"])
def test_damaged_attributions(case, name, fault):
    damage(Path(case.attributions_uri) / name, fault)
    refused(case, "lacks files" if fault == "missing" else "changed or cut short", name)


@pytest.mark.parametrize("name", ["reference.json", "pins.json", "pinned_rows.parquet"])
@pytest.mark.parametrize("fault", ["missing", "truncated", "changed"])
def test_a_damaged_reference(case, name, fault, tmp_path, passed):
    case.reference_uri = str(shutil.copytree(passed, tmp_path / "reference"))
    damage(Path(case.reference_uri) / name, fault)
    refused(case, "lacks files" if fault == "missing" else "changed or cut short", name)


def otherwise(case, name: str, data: bytes | None) -> None:
    """Writes the attributions anew, one file with other bytes, or without it."""
    manifest = read_manifest(case.attributions_uri, "ModelAttributions")
    files = {path: manifest.read(path) for path in manifest.sha256} | {name: data}
    stage = Stage(case.attributions_uri)
    for path, content in files.items():
        if content is not None:
            stage.write(path, content)
    stage.finish("ModelAttributions")


@pytest.mark.parametrize(
    ("data", "part"),
    [(None, "lists no file"), (b"junk", "is damaged"), (to_parquet(pa.table({"role": ["background"]})), "is damaged")],
)
def test_pinned_rows_that_no_later_run_could_read(case, data, part):
    otherwise(case, "pinned_rows.parquet", data)
    refused(case, "pinned_rows.parquet", part)


def damage(path: Path, fault: str) -> None:
    data = path.read_bytes()
    if fault == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if fault == "truncated" else bytes([data[0] ^ 1]) + data[1:])


def test_an_extra_file(case):
    (Path(case.attributions_uri) / "attributions-copy.parquet").write_bytes(b"")
    refused(case, "does not list", "attributions-copy.parquet")


def test_unfinished_attributions(case):
    (Path(case.attributions_uri) / "manifest.json").unlink()
    refused(case, "never finished")


def test_a_newer_format(case):
    path = Path(case.attributions_uri) / "manifest.json"
    path.write_text(path.read_text().replace('"format_version": 3', '"format_version": 4'))
    refused(case, "format 4", "upgrade")


def test_a_manifest_that_is_no_json(case):
    (Path(case.attributions_uri) / "manifest.json").write_text("{")
    refused(case, "manifest.json", "damaged")


def test_swapped_inputs(case, passed):
    case.attributions_uri, case.reference_uri = passed, case.attributions_uri
    refused(case, "holds AttributionReference, where ModelAttributions is wanted")


def rewrite(case, name, change):
    """Writes another file content with a manifest that fits: what a bug upstream would leave."""
    import hashlib

    path, manifest = Path(case.attributions_uri) / name, Path(case.attributions_uri) / "manifest.json"
    path.write_bytes(change(path.read_bytes()))
    data = json.loads(manifest.read_text())
    for entry in data["files"]:
        if entry["path"] == name:
            entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("column", "value", "part"),
    [
        ("sum_absolute", np.nan, "finite"),
        ("sum_absolute", np.inf, "finite"),
        ("sum_absolute", -1.0, "negative"),
        ("sum", np.nan, "finite"),
        ("sum_row_share", np.nan, "finite"),
    ],
)
def test_statistics_that_are_not_numbers(case, column, value, part):
    def change(data):
        import pyarrow as pa
        import pyarrow.parquet as pq

        from tfx_explain.artifacts.statistics import to_parquet

        table = pq.read_table(pa.BufferReader(data))
        values = table[column].to_numpy().copy()
        values[5] = value
        return to_parquet(table.set_column(table.column_names.index(column), column, pa.array(values)))

    rewrite(case, "bucket_statistics.parquet", change)
    refused(case, column, part)


def test_statistics_without_a_bucket(case):
    def change(data):
        import pyarrow as pa
        import pyarrow.parquet as pq

        from tfx_explain.artifacts.statistics import to_parquet

        return to_parquet(pq.read_table(pa.BufferReader(data)).slice(0, 63 * len(HONEST)))

    rewrite(case, "bucket_statistics.parquet", change)
    refused(case, "every bucket and feature once")


def test_a_model_that_was_not_explained(case):
    rewrite(
        case,
        "summary.json",
        lambda data: json.dumps(json.loads(data) | {"status": "not_explained", "reason": "no gradient"}).encode(),
    )
    refused(case, "not explained: no gradient")


def test_a_model_that_evaluator_judged_by_another_output_is_warned_of(case):
    """Both verdicts make one blessing, and each would be of another output."""
    assert case.run()[0] == 1 and all(r["check"] != "evaluator" or r["verdict"] == "PASS" for r in case.results)
    said = (
        "Evaluator's metrics are of another output than the attributions: its prediction key is 'b'; explained is 'a'."
    )
    rewrite(case, "summary.json", lambda data: json.dumps(json.loads(data) | {"evaluator_differs": [said]}).encode())
    assert case.run()[0] == 1
    (warned,) = [r for r in case.results if r["severity"] == "warn" and r["verdict"] != "PASS"]
    assert (warned["check"], warned["verdict"], warned["sentence"]) == ("evaluator", "INCONCLUSIVE", said)
    for damaged in (5, [5]):
        change = {"evaluator_differs": damaged}
        rewrite(case, "summary.json", lambda data, change=change: json.dumps(json.loads(data) | change).encode())
        refused(case, "is damaged")


def test_a_summary_without_its_facts(case):
    rewrite(case, "summary.json", lambda data: b'{"status": "explained"}')
    refused(case, "damaged")


@pytest.mark.parametrize(
    "change",
    [
        {"method": {"num_steps": "abc"}},
        {"method": {"num_steps": None}},
        {"features": None},
        {"features": []},
        {"model": {}},
        {"fingerprints": {"model": 3}},
        {"examples": {"rows": 0, "explained_rows": 4000, "splits": ["eval"]}},
        {"examples": {"rows": 4000, "explained_rows": "abc", "splits": ["eval"]}},
        {"examples": {"rows": 4000, "explained_rows": 3999, "splits": ["eval"]}},
        {"uncovered_features": 3},
    ],
)
def test_a_summary_that_its_statistics_belie(case, change):
    rewrite(case, "summary.json", lambda data: json.dumps(json.loads(data) | change).encode())
    assert case.run()[0] == 0


@pytest.mark.parametrize("change", [{"slices": [{"name": "x", "key": 5, "rows": 1}]}, {"slicing": {"missing": None}}])
def test_slices_of_another_form(case, change):
    """Told by name, whether or not the policy asks for a slice."""
    rewrite(case, "summary.json", lambda data: json.dumps(json.loads(data) | change).encode())
    for required in ([], [NIGHT]):
        case.config = {"required_slices": required}
        refused(case, "is damaged")


@pytest.mark.parametrize(
    "change",
    [
        {"bins": [1]},
        {"settings": None},
        {"histogram_unit": "x"},
        {"bins": {"a": {"kind": "new"}}},
        {"input_baseline": 1},
    ],
)
def test_pins_of_another_form(case, change):
    rewrite(case, "pins.json", lambda data: json.dumps(json.loads(data) | change).encode())
    assert case.run()[0] == 0


@pytest.mark.parametrize("column", ["bin_weight", "bin_rows"])
def test_value_bins_that_hold_no_rows(case, column):
    """Empty bins would make the checks of profile and direction pass without a look."""

    def change(data):
        import pyarrow as pa
        import pyarrow.parquet as pq

        from tfx_explain.artifacts.statistics import to_parquet

        table = pq.read_table(pa.BufferReader(data))
        empty = pa.array([[0.0] * len(v) for v in table[column].to_pylist()], pa.list_(pa.float64()))
        return to_parquet(table.set_column(table.column_names.index(column), column, empty))

    rewrite(case, "bucket_statistics.parquet", change)
    refused(case, column, "must add up")


def test_profiles_that_are_not_those_of_the_attributions(tmp_path):
    """Of 30 features none has a profile by which it alone is missed: all of them turned, and the model passed."""
    wide = {f"f{i:02d}": 0.3 for i in range(30)}
    first = Case(tmp_path / "first", Additive(wide, seed=1), config={"without_reference": FIRST_RUN})
    *_, reference = first.run()
    turned = Additive({f: -w for f, w in wide.items()}, seed=2)
    case = Case(tmp_path / "turned", turned, reference_uri=reference)
    refused(case, "30 features push predictions the other way")

    def empty(data):
        table = pq.read_table(pa.BufferReader(data))
        lists = pa.array([[0.0] * len(v) for v in table["bin_sum"].to_pylist()], pa.list_(pa.float64()))
        return to_parquet(table.set_column(table.column_names.index("bin_sum"), "bin_sum", lists))

    rewrite(case, "bucket_statistics.parquet", empty)
    refused(case, "bin_sum", "must add up to 'sum'")


def test_lack_of_evidence_empties_no_history(case):
    *_, reference = case.run()
    case.config = {"evidence": {"min_num_steps": 100}}
    refused(case, "50 nodes")


def test_an_attempt_after_another_leaves_one_verdict(case):
    """A container killed after its verdict, and run again under another policy."""
    case.run()
    case.serial -= 1
    for name in ("blessing", "anomalies", "new_reference"):
        (case.root / f"{name}-1").rename(case.root / "kept")
        shutil.copytree(case.root / "kept", case.root / f"{name}-9")
        shutil.rmtree(case.root / "kept")
    case.serial, case.config = 8, {"gate_id": "other"}
    case.exist_ok = True
    assert case.run()[0] == 0
    assert not (case.root / "new_reference-9").exists()


# What is wrong with the model.


def judged(tmp_path, passed, model, **config):
    return Case(tmp_path / "candidate", model, config=config, reference_uri=passed)


def test_a_new_feature_that_leads_needs_approval(tmp_path, passed):
    case = judged(tmp_path, passed, Additive(HONEST | {"leak": 1.0}, seed=3))
    refused(case, "'leak' is new", "approved_features")
    assert {r["verdict"] for r in case.results if r["check"] == "new_features"} == {"NEEDS_APPROVAL"}
    case.config = {"approved_features": [{"name": "leak", "reason": "ticket 12", "until": "2020-01-01"}]}
    refused(case, "approval ended on 2020-01-01")
    case.config = {"approved_features": [{"name": "leak", "reason": "ticket 12", "until": "2999-01-01"}]}
    blessed, _, reference = case.run()
    assert blessed == 1
    assert "leak" in read_reference(reference).pins.cut_policies


def test_an_approval_that_was_taken_back_holds_no_more_for_the_model_that_passed_by_it(tmp_path, passed):
    case = judged(tmp_path, passed, Additive(HONEST | {"leak": 1.0}, seed=3))
    case.config = {"approved_features": [{"name": "leak", "reason": "ticket 12", "until": "2999-01-01"}]}
    *_, case.reference_uri = case.run()
    assert case.run()[0] == 1
    case.config = {}
    blessed, blocking, reference = case.run()
    assert blessed == 0 and "'leak' is new" in blocking[0]
    assert len(read_reference(reference).models) == 1


def test_a_removed_feature_needs_approval(tmp_path, passed):
    less = {f: w for f, w in HONEST.items() if f != "f"}
    case = judged(tmp_path, passed, Additive(less, seed=3))
    refused(case, "'f' has no path to the output any more")
    case.config = {"approved_features": [{"name": "f", "reason": "ticket 13", "until": "2999-01-01"}]}
    assert case.run()[0] == 1


def test_many_small_new_features_are_as_much_as_a_large_one(tmp_path, passed):
    many = {f"leak_{i:02d}": 0.2 for i in range(17)}
    refused(judged(tmp_path, passed, Additive(HONEST | many, seed=3)), "17 features", "together carry")


def test_many_small_removed_features_are_as_much_as_a_large_one(tmp_path):
    many = {f"small_{i:02d}": 0.2 for i in range(15)}
    first = Case(tmp_path / "first", Additive(HONEST | many, seed=3), config={"without_reference": FIRST_RUN})
    *_, reference = first.run()
    refused(judged(tmp_path, reference, Additive(HONEST, seed=4)), "15 features lost their path", "approved_features")


def test_a_feature_that_comes_back_larger_needs_approval(tmp_path, passed):
    """An earlier model that leaned on it a little does not make it known for ever."""
    small = judged(tmp_path / "1", passed, Additive(HONEST | {"leak": 0.15}, seed=3))
    *_, reference = small.run()
    without = judged(tmp_path / "2", reference, Additive(HONEST, seed=4))
    *_, reference = without.run()
    refused(judged(tmp_path / "3", reference, Additive(HONEST | {"leak": 3.3}, seed=5)), "'leak' is back", "approved")
    assert judged(tmp_path / "4", reference, Additive(HONEST | {"leak": 0.2}, seed=6)).run()[0] == 1


def test_a_feature_that_an_approval_let_go_comes_back_by_another(tmp_path):
    """Taken out since it leaks, and brought back by an old branch: models from before are no witness for it."""
    leaks, approved = HONEST | {"leak": 1.0}, {"name": "leak", "reason": "it leaks, ticket 13", "until": "2999-01-01"}
    first = Case(tmp_path / "first", Additive(leaks, seed=3), config={"without_reference": FIRST_RUN})
    *_, reference = first.run()
    *_, reference = judged(tmp_path / "1", reference, Additive(HONEST, seed=4), approved_features=[approved]).run()
    *_, reference = judged(tmp_path / "2", reference, Additive(HONEST, seed=5)).run()
    back = judged(tmp_path / "3", reference, Additive(leaks, seed=6))
    refused(back, "'leak' is back: an approval let it go", "approved_features")
    back.config = {"approved_features": [approved]}
    assert back.run()[0] == 1
    assert judged(tmp_path / "4", reference, Additive(HONEST | {"leak": 0.15}, seed=6)).run()[0] == 1


def test_a_model_alone_in_the_reference_is_capped_as_on_a_first_run(tmp_path):
    """Compared with itself it has no reference: a stricter cap blocks it."""
    case = Case(tmp_path, Additive({"a": 3.0, "b": 1.0, "c": 0.5}, seed=3))
    case.config = {"without_reference": FIRST_RUN, "checks": {"max_share": {"threshold": 0.95}}}
    *_, case.reference_uri = case.run()
    case.config = {"without_reference": FIRST_RUN, "checks": {"max_share": {"threshold": 0.4}}}
    blessed, blocking, reference = case.run()
    assert blessed == 0 and "'a' carries" in blocking[0]
    assert read_reference(reference).models == ()


def test_a_limit_that_nothing_has_is_told_and_refuses_nobody(tmp_path, passed):
    case = judged(tmp_path, passed, Additive(HONEST, seed=2))
    limit = {"max_share": 0.8, "reason": "by nature"}
    case.config["dominant_features"] = dict.fromkeys(("a", "aa", "a + b"), limit)
    assert case.run()[0] == 1
    told = [r for r in case.results if r["check"] == "policy"]
    assert [(r["feature"], r["verdict"], r["severity"]) for r in told] == [("aa", "INCONCLUSIVE", "warn")]


def test_a_dominant_feature_is_capped(tmp_path, passed):
    case = judged(tmp_path, passed, Additive(HONEST | {"a": 6.0}, seed=3))
    case.config = {"checks": {"max_share": {"with_reference": "block"}}}
    refused(case, "'a' carries", "dominant_features")
    first = Case(tmp_path / "alone", case.model, config={"without_reference": FIRST_RUN})
    refused(first, "'a' carries")
    first.config["dominant_features"] = {"a": {"max_share": 0.8, "reason": "by nature"}}
    assert first.run()[0] == 1


def test_a_cap_that_is_off_on_a_first_run_alone_blocks_where_the_policy_says_so(tmp_path, passed):
    case = judged(tmp_path, passed, Additive(HONEST | {"a": 1.4}, seed=3))
    case.config = {"checks": {"max_share": {"threshold": 0.2, "severity": "off"}}}
    assert case.run()[0] == 1 and all(r["check"] != "max_share" for r in case.results)
    case.config["checks"]["max_share"]["with_reference"] = "block"
    refused(case, "'a' carries", "dominant_features")


def test_a_new_feature_that_no_row_shows_is_told(tmp_path, passed):
    """Constant in the sample, as where a join found nothing: a share of 0 asks for no approval."""
    case = judged(tmp_path, passed, Additive(HONEST | {"leak": 0.0}, seed=3))
    at = {"all_features": 0.0, "features": dict.fromkeys(HONEST, 0.1) | {"leak": 1.0}}
    rewrite(case, "summary.json", lambda data: json.dumps(json.loads(data) | {"at_input_baseline": at}).encode())
    assert case.run()[0] == 1
    (warned,) = [r for r in case.results if r["severity"] == "warn" and r["verdict"] != "PASS"]
    assert (warned["check"], warned["feature"]) == ("evidence_floor", "leak")
    rewrite(case, "summary.json", lambda d: json.dumps(json.loads(d) | {"at_input_baseline": {"features": 5}}).encode())
    refused(case, "is damaged")


def test_a_share_that_moved(tmp_path, passed):
    refused(judged(tmp_path, passed, Additive(HONEST | {"b": -3.0}, seed=3)), "'b' carries", "allowed are 18")


def test_a_flipped_feature(tmp_path, passed):
    refused(judged(tmp_path, passed, Additive(HONEST | {"a": -1.0}, seed=3)), "'a' pushes predictions the other way")


def test_a_feature_that_left_its_bins_cannot_be_compared(tmp_path, passed):
    """Turned round where no model was measured: nothing to compare is no pass."""
    model = Additive(HONEST | {"a": -0.083}, seed=3, shift={"a": 12.0})
    config = {"checks": {"share_change": {"threshold": 1.0}, "total_scale": {"threshold": 9.0}}}
    refused(judged(tmp_path, passed, model, **config), "cannot be compared", "look at the data first")


def test_an_approval_reaches_to_the_cap(tmp_path, passed):
    approval = {"name": "leak", "reason": "ticket", "until": "2999-01-01"}
    case = judged(tmp_path, passed, Additive(HONEST | {"leak": 9.0}, seed=3))
    case.config = {"approved_features": [approval], "checks": {"total_scale": {"threshold": 9.0}}}
    refused(case, "Its approval reaches to")
    case.config["approved_features"] = [approval | {"max_share": 0.9}]
    assert case.run()[0] == 1


def test_a_tenfold_model(tmp_path, passed):
    tenfold = {f: 10 * w for f, w in HONEST.items()}
    refused(judged(tmp_path, passed, Additive(tenfold, seed=3)), "The total attribution is 1", "times that of")


def test_a_feature_that_died(tmp_path, passed):
    refused(judged(tmp_path, passed, Additive(HONEST | {"f": 0.0}, seed=3)), "'f' carried", "unplugged")


def test_moved_inputs_are_said(tmp_path, passed):
    model = Additive(HONEST, seed=3, shift={"b": 4.0})
    refused(judged(tmp_path, passed, model), "'b' carries", "look at the data first")


def test_a_dead_model(tmp_path, passed):
    refused(judged(tmp_path, passed, Additive(dict.fromkeys(HONEST, 0.0), seed=3)), "could not be measured")


def test_too_few_rows(tmp_path, passed):
    refused(judged(tmp_path, passed, Additive(HONEST, rows=999, seed=3)), "Only 999 effective rows")


def test_too_many_failed_rows(tmp_path, passed):
    refused(judged(tmp_path, passed, Additive(HONEST, failed=5, seed=3)), "could not be explained")
    assert judged(tmp_path / "few", passed, Additive(HONEST, failed=4, seed=3)).run()[0] == 1


def test_unconverged_rows(tmp_path, passed):
    refused(judged(tmp_path, passed, Additive(HONEST, unconverged=0.05, seed=3)), "did not converge")
    assert judged(tmp_path / "few", passed, Additive(HONEST, unconverged=0.002, seed=3)).run()[0] == 1


@pytest.mark.parametrize(("options", "part"), [({"num_steps": 49}, "49 nodes"), ({"uncovered": ("g",)}, "'g' reaches")])
def test_too_thin_evidence(case, options, part):
    shutil.rmtree(case.attributions_uri)
    write_attributions(Path(case.attributions_uri), case.model, case.model_uri, **options)
    refused(case, part)


# Required slices and groups of features, as they lie on disk.

NIGHT = {"feature_values": {"hour": 3}}
NIGHTLY = {(("hour", 3),): Part(500)}


@pytest.fixture(scope="module")
def passed_nightly(tmp_path_factory):
    """A reference that a first, honest model made, of which a slice was required."""
    config = {"without_reference": FIRST_RUN, "required_slices": [NIGHT]}
    case = Case(tmp_path_factory.mktemp("nightly"), Additive(HONEST, seed=1, slices=NIGHTLY), config=config)
    blessed, blocking, reference = case.run()
    assert (blessed, blocking) == (1, [])
    return reference


def by_slice(case, check):
    return {r["slice"]: r["verdict"] for r in case.results if r["check"] == check}


def test_a_required_slice_is_judged_and_goes_into_the_reference(tmp_path, passed_nightly):
    case = judged(tmp_path, passed_nightly, Additive(HONEST, seed=2, slices=NIGHTLY), required_slices=[NIGHT])
    *_, reference = case.run()
    assert by_slice(case, "share_change") == {"overall": "PASS", "hour=3": "PASS"}
    assert list(read_reference(reference).models[-1].slices) == ["overall", "hour=3"]
    leaky = {(("hour", 3),): Part(500, {"c": 6.0})}
    case = judged(tmp_path / "leaky", reference, Additive(HONEST, seed=3, slices=leaky), required_slices=[NIGHT])
    refused(case, "In slice hour=3: 'c' carries", "allowed are 18")


def test_a_slice_that_is_explained_and_not_required_is_not_judged(tmp_path, passed_nightly):
    case = judged(tmp_path, passed_nightly, Additive(HONEST, seed=2, slices=NIGHTLY))
    assert case.run()[0] == 1
    assert by_slice(case, "share_change") == {"overall": "PASS"}


def test_a_feature_that_comes_back_is_known_by_what_it_carried_in_a_slice(tmp_path, passed_nightly):
    """It led by day alone before; what it is allowed there it is not at night."""

    def run(name, reference, weights, night, config=None):
        model = Additive(weights, seed=len(name), rows=12_000, slices={(("hour", 3),): Part(500, night)})
        case = judged(tmp_path / name, reference, model, required_slices=[NIGHT], **(config or {}))
        return case, case.run()

    approval = {"name": "zone", "reason": "asked for", "until": "2999-01-01"}
    by_day = HONEST | {"zone": 1.0}
    _, (blessed, _, reference) = run(
        "approved", passed_nightly, by_day, {"zone": 0.01}, {"approved_features": [approval]}
    )
    assert blessed == 1
    nobodys_word = {"checks": {"removed_features": {"threshold": 0.05, "severity": "warn"}}}
    _, (blessed, _, reference) = run("without", reference, HONEST, {}, nobodys_word)
    assert blessed == 1
    assert run("as it was", reference, by_day, {"zone": 0.01})[1][0] == 1
    at_night, (blessed, blocking, _) = run("other", reference, by_day, {"zone": 1.0})
    assert blessed == 0 and "In slice hour=3: 'zone' is back" in blocking[0]
    assert by_slice(at_night, "new_features") == {"overall": "PASS", "hour=3": "NEEDS_APPROVAL"}


def test_a_newly_required_slice_meets_an_older_reference(tmp_path, passed):
    case = judged(tmp_path, passed, Additive(HONEST, seed=2, slices=NIGHTLY), required_slices=[NIGHT])
    refused(case, "no evidence on the slice hour=3", "without_reference")
    case.config["without_reference"] = FIRST_RUN
    *_, reference = case.run()
    assert by_slice(case, "share_change") == {"overall": "PASS"}
    later = judged(tmp_path / "later", reference, Additive(HONEST, seed=3, slices=NIGHTLY), required_slices=[NIGHT])
    assert later.run()[0] == 1


def test_a_required_slice_that_was_not_explained_or_has_no_row(case):
    case.config = {"required_slices": [NIGHT]}
    refused(case, "do not hold the required slice hour=3", "ExplainConfig")
    shown = {"name": "hour=3", "key": [["hour", 3]], "rows": 500, "explained_rows": 500}
    rewrite(case, "summary.json", lambda data: json.dumps(json.loads(data) | {"slices": [shown]}).encode())
    refused(case, "required slice hour=3 was measured as an ordinary one", "ExplainConfig")
    shutil.rmtree(case.attributions_uri)
    missing = (RequiredSlice.make(NIGHT),)
    write_attributions(Path(case.attributions_uri), case.model, case.model_uri, missing=missing)
    refused(case, "no row of the required slice hour=3")


def test_two_required_slices_of_one_name_are_both_asked_for(tmp_path):
    """A value may read like the rest of another slice: one that is there must not stand for one that is not."""
    there = {(("company", "Flash, hour=3"),): Part(500)}
    required = [{"feature_values": {"company": "Flash", "hour": 3}}, {"feature_values": {"company": "Flash, hour=3"}}]
    config = {"without_reference": FIRST_RUN, "required_slices": required}
    case = Case(tmp_path, Additive(HONEST, seed=2, slices=there), config=config)
    refused(case, "do not hold the required slice company=Flash, hour=3")


def test_a_summary_that_the_statistics_of_a_slice_belie(tmp_path, passed_nightly):
    case = judged(tmp_path, passed_nightly, Additive(HONEST, seed=2, slices=NIGHTLY), required_slices=[NIGHT])
    rewrite(case, "summary.json", lambda data: data.replace(b'"explained_rows": 500', b'"explained_rows": 501'))
    refused(case, "count different rows in hour=3")
    rewrite(case, "summary.json", lambda data: json.dumps(json.loads(data) | {"slices": []}).encode())
    refused(case, "does not name the slices ['hour=3']")


def two_copies(tmp_path, config):
    model = Additive({"leak": 1.25, "leak_copy": 1.25} | HONEST, seed=3, copies={"leak_copy": "leak"})
    return Case(tmp_path / "copies", model, config={"without_reference": FIRST_RUN} | config)


def test_a_leak_in_two_copies(tmp_path):
    case = two_copies(tmp_path, {"checks": {"max_share": {"threshold": 0.35}}})
    refused(case, "'leak', 'leak_copy', whose attributions move together")
    case.config["dominant_features"] = {"leak + leak_copy": {"max_share": 0.5, "reason": "by nature"}}
    *_, reference = case.run()
    assert "group_statistics.parquet" in read_reference(reference).models[-1].files


def test_a_group_with_a_cap_that_is_measured_no_more_is_missed(tmp_path):
    """Leaving it out of ExplainerGen's configuration must not take the policy's cap away."""
    config = {
        "without_reference": FIRST_RUN,
        "checks": {"max_share": {"with_reference": "block"}},
        "dominant_features": {"protected": {"max_share": 0.34, "reason": "agreed upon"}},
    }
    group = (("protected", ("a", "c")),)

    def case(name, model, groups, reference=None):
        made = Case(tmp_path / name, model, config=config, reference_uri=reference)
        shutil.rmtree(made.attributions_uri)
        write_attributions(Path(made.attributions_uri), model, made.model_uri, groups=groups)
        return made

    blessed, _, reference = case("first", Additive(HONEST, seed=1), group).run()
    assert blessed == 1
    leaning = Additive(HONEST | {"a": 1.4, "c": 1.1}, seed=2)
    refused(case("measured", leaning, group, reference), "The group 'protected'")
    refused(case("left out", leaning, (), reference), "'protected'", "uses 'a', 'c'", "feature_groups")
    without = Additive({f: w for f, w in HONEST.items() if f not in "ac"}, seed=3)
    config |= {"approved_features": [{"name": f, "reason": "went", "until": "2999-01-01"} for f in "ac"]}
    config["checks"] |= {"share_change": {"threshold": 1}, "total_scale": {"threshold": 1}}
    gone = case("gone", without, (), reference)
    assert gone.run()[0] == 1
    assert all(r["check"] != "policy" for r in gone.results)


def test_groups_that_the_statistics_lack_are_missed(tmp_path):
    weights = {"a": 0.7, "b": -0.6, "c": 0.5, "d": 0.4, "leak": 1.25, "leak_copy": 1.25}
    case = Case(
        tmp_path, Additive(weights, seed=1, copies={"leak_copy": "leak"}), config={"without_reference": FIRST_RUN}
    )
    refused(case, "move together")
    groups = pq.read_table(Path(case.attributions_uri) / "group_statistics.parquet")
    otherwise(case, "group_statistics.parquet", to_parquet(groups.slice(0, 0)))
    refused(case, "hold different groups")


def test_attributions_of_an_earlier_release_hold_no_groups(tmp_path):
    case = two_copies(tmp_path, {"checks": {"max_share": {"threshold": 0.35}}})
    (Path(case.attributions_uri) / "group_statistics.parquet").unlink()
    manifest = Path(case.attributions_uri) / "manifest.json"
    data = json.loads(manifest.read_text())
    data["files"] = [f for f in data["files"] if f["path"] != "group_statistics.parquet"]
    manifest.write_text(json.dumps(data))
    refused(case, "group_statistics.parquet")  # what this release writes it must not lack
    manifest.write_text(json.dumps(data | {"format_version": 1}))
    blessed, _, reference = case.run()
    assert blessed == 1
    assert "group_statistics.parquet" not in read_reference(reference).models[-1].files


def test_an_interval_that_straddles_the_threshold_is_no_pass(case, passed):
    case.run()
    share = next(r["value"] for r in case.results if r["check"] == "max_share")
    case.config = {"checks": {"max_share": {"threshold": share, "with_reference": "block"}}}
    case.reference_uri = str(passed)
    refused(case, "straddles the threshold")
    assert {r["verdict"] for r in case.results if r["check"] == "max_share"} == {"INCONCLUSIVE"}


def test_a_warning_does_not_block(tmp_path, passed):
    case = judged(tmp_path, passed, Additive(HONEST | {"b": -3.0}, seed=3))
    case.config = {
        "checks": {
            name: {"threshold": 0.18, "severity": "warn"} for name in ("share_change", "profile_change", "total_scale")
        }
    }
    assert case.run()[0] == 1
    assert any(r["check"] == "share_change" and r["verdict"] == "FAIL" for r in case.results)


def test_a_check_switched_off_says_nothing(case):
    case.config = {"checks": {"share_change": {"threshold": 0.18, "severity": "off"}}}
    case.run()
    assert all(r["check"] != "share_change" for r in case.results)


def test_faults_of_reading_raise(case, monkeypatch):
    """A storage that cannot be read is no verdict: nothing may be cached from it."""
    from tfx_explain.artifacts import manifest

    def broken(*_):
        raise PermissionError("no access")

    monkeypatch.setattr(manifest.fileio, "open", broken)
    with pytest.raises(PermissionError):
        case.run()


def test_a_thousand_honest_cases_pass(tmp_path, passed, monkeypatch):
    """Varied data, scale and feature order: refusing everything is not safe, it is useless."""
    monkeypatch.setattr(anomalies_module, "render_anomalies", lambda *_: "")
    rng = np.random.default_rng(0)
    blessed = 0
    for i in range(1000):
        order = rng.permutation(list(HONEST))
        weights = {str(f): HONEST[str(f)] * rng.uniform(0.9, 1.1) for f in order}
        case = Case(tmp_path / str(i), Additive(weights, rows=int(rng.integers(1500, 4000)), seed=100 + i))
        case.reference_uri = passed
        blessed += case.run()[0]
        shutil.rmtree(case.root)
    assert blessed == 1000


def documented():
    """{(section, title of the table): names in its first column} of docs/artifact.md."""
    found: dict[tuple[str, str], set[str]] = {}
    section = title = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("**"):
            title = re.sub(r"[*`]", "", line)
        elif line.startswith("| `"):
            found.setdefault((section, title), set()).update(re.findall("`([^`]+)`", line.split(" | ")[0]))
    return found


def properties_of(artifact):
    return {*artifact.mlmd_artifact.custom_properties} - {"name"}


# Both ways: what is written is documented, and what is documented is written.
def test_the_documentation_names_every_file_and_key(case):
    said = documented()
    anomalies, blessing, reference = "AttributionAnomalies", "ModelBlessing", "AttributionReference"
    _, _, new = case.run()
    passed = {name: artifacts[0] for name, artifacts in case.out.items()}
    case.blessing.set_int_custom_property("blessed", 0)
    blocking = refused(case, "Evaluator")
    assert blocking
    written = json.loads((Path(case.out["anomalies"][0].uri) / "anomalies.json").read_text())
    assert said[anomalies, "anomalies.json"] == set(written)
    without = json.loads((Path(passed["anomalies"].uri) / "anomalies.json").read_text())
    assert set(written) - set(without) == {"diagnose"}
    assert all(said[anomalies, "results"] == set(result) for result in written["results"])
    assert all(said[anomalies, "reference of anomalies.json"] == set(model) for model in written["reference"])
    assert set(read_manifest(passed["anomalies"].uri, anomalies).sha256) == {"anomalies.json", "report.html"}
    assert said[anomalies, "Custom properties of AttributionAnomalies"] == properties_of(passed["anomalies"])
    assert said[blessing, "Custom properties of ModelBlessing"] == properties_of(passed["blessing"])

    manifest = read_manifest(new, reference)
    data = manifest.read_json("reference.json")
    assert said[reference, "reference.json"] == set(data)
    assert len(data["models"]) == 2
    assert all(said[reference, "models"] == set(model) for model in data["models"])
    assert said[reference, "event"] == set(data["event"])
    held = {f"{model['folder']}/{name}" for model in data["models"] for name in model["files"]}
    assert held | {"reference.json", "pins.json", "pinned_rows.parquet"} == set(manifest.sha256)
    assert all(
        model["folder"] == f"models/{i:02d}-{model['fingerprint'][:16]}" for i, model in enumerate(data["models"])
    )
    assert said[reference, "Files of a model"] == {name for model in data["models"] for name in model["files"]}
    assert said[reference, "Custom properties of AttributionReference"] == properties_of(passed["new_reference"])
