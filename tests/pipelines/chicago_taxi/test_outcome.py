"""What the demo reads back: the newest run's artifacts, by node, and the candidate's AUC."""

import json

import pytest

pytestmark = [pytest.mark.tf, pytest.mark.pipeline]

PIPELINE = "taxi"


@pytest.fixture(scope="module")
def outcome_module():
    import outcome

    return outcome


@pytest.fixture(scope="module")
def evaluation(outcome_module, tmp_path_factory):
    """An eval result of two models: the candidate ranks all four rows rightly, the baseline model half of the pairs."""
    import pandas as pd
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.proto import config_pb2

    folder = str(tmp_path_factory.mktemp("evaluation"))
    rows = pd.DataFrame({"y": [0.0, 0.0, 1.0, 1.0], "new": [0.1, 0.2, 0.8, 0.9], "old": [0.1, 0.9, 0.2, 0.8]})
    tfma.analyze_raw_data(
        rows,
        config_pb2.EvalConfig(
            model_specs=[
                config_pb2.ModelSpec(name="baseline", label_key="y", prediction_key="old", is_baseline=True),
                config_pb2.ModelSpec(name="candidate", label_key="y", prediction_key="new"),
            ],
            slicing_specs=[config_pb2.SlicingSpec()],
            metrics_specs=[config_pb2.MetricsSpec(metrics=[config_pb2.MetricConfig(class_name="AUC")])],
        ),
        output_path=folder,
    )
    return folder


class _Store:
    """A metadata store with runs as LocalDagRunner records them."""

    def __init__(self, path):
        import ml_metadata as mlmd
        from ml_metadata.proto import metadata_store_pb2 as pb

        self._pb = pb
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = str(path)
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self._store = mlmd.MetadataStore(config)
        self._artifact_type = self._store.put_artifact_type(pb.ArtifactType(name="Any"))
        self._execution_type = self._store.put_execution_type(pb.ExecutionType(name="Any"))
        self._types = {
            name: self._store.put_context_type(pb.ContextType(name=name))
            for name in ("pipeline", "pipeline_run", "node")
        }
        self._pipeline = self._context("pipeline", PIPELINE)

    def _context(self, type_name, name):
        found = self._store.get_context_by_type_and_name(type_name, name)
        if found is not None:
            return found.id
        return self._store.put_contexts([self._pb.Context(type_id=self._types[type_name], name=name)])[0]

    def put_run(self, name, outputs):
        """Records a run; `outputs` holds node -> key -> (uri, custom properties)."""
        pb = self._pb
        run = self._context("pipeline_run", name)
        self._store.put_parent_contexts([pb.ParentContext(child_id=run, parent_id=self._pipeline)])
        for node, artifacts in outputs.items():
            (execution,) = self._store.put_executions([pb.Execution(type_id=self._execution_type)])
            node_context = self._context("node", f"{PIPELINE}.{node}")
            self._store.put_attributions_and_associations(
                [], [pb.Association(execution_id=execution, context_id=c) for c in (self._pipeline, run, node_context)]
            )
            for key, (uri, properties) in artifacts.items():
                artifact = pb.Artifact(type_id=self._artifact_type, uri=str(uri))
                for property_name, value in properties.items():
                    field = "int_value" if isinstance(value, int) else "string_value"
                    setattr(artifact.custom_properties[property_name], field, value)
                (artifact_id,) = self._store.put_artifacts([artifact])
                step = pb.Event.Path.Step(key=key)
                event = pb.Event(artifact_id=artifact_id, execution_id=execution, type=pb.Event.OUTPUT)
                event.path.steps.append(step)
                self._store.put_events([event])


@pytest.fixture
def refused(tmp_path, evaluation):
    """Outputs of a run that Evaluator blessed and the gate refused."""
    anomalies = tmp_path / "anomalies"
    anomalies.mkdir()
    results = [
        {"check": "max_share", "verdict": "FAIL", "severity": "block", "sentence": "Too much.", "feature": "tip"},
        {"check": "share_change", "verdict": "FAIL", "severity": "warn", "sentence": "It moved.", "feature": "fare"},
        {"check": "completeness", "verdict": "PASS", "severity": "block", "sentence": "It adds up.", "feature": None},
    ]
    (anomalies / "anomalies.json").write_text(json.dumps({"results": results, "blocking": ["Too much."]}))
    attributions = tmp_path / "attributions"
    attributions.mkdir()
    profiting = [
        {"slice": name, "feature": feature, "drop": {"value": drop}, "overall_drop": {"value": 0.25}}
        for feature, name, drop in [("tip", "hour=3", 0.5), ("tip", "hour=4", 0.125), ("fare", "hour=3", 0.75)]
    ]
    (attributions / "summary.json").write_text(json.dumps({"profiting_slices": profiting}))
    return {
        "ExplainerGen": {"attributions": (attributions, {})},
        "Trainer": {"model": (tmp_path / "model", {})},
        "Evaluator": {
            "evaluation": (evaluation, {}),
            "blessing": (tmp_path / "e", {"blessed": 1, "baseline_model_id": 77}),
        },
        "AttributionValidator": {
            "blessing": (tmp_path / "g", {"blessed": 0}),
            "anomalies": (anomalies, {}),
        },
        "Pusher": {"pushed_model": (tmp_path / "p", {"pushed": 0})},
    }


def _read(outcome_module, tmp_path):
    return outcome_module.read_outcome("1 honest", str(tmp_path / "metadata.db"), PIPELINE)


def test_a_refused_run_is_read_as_it_stands(outcome_module, refused, tmp_path):
    _Store(tmp_path / "metadata.db").put_run("a", refused)
    found = _read(outcome_module, tmp_path)
    assert found.auc == pytest.approx(1.0, abs=1e-6)
    assert (found.evaluator_blessed, found.gate_blessed, found.pushed) == (True, False, False)
    assert found.blocking_checks == {"max_share"}
    assert found.baseline_model_id == 77
    assert found.verdict() == {
        "run": "1 honest",
        "auc": found.auc,
        "evaluator_blessed": True,
        "gate_blessed": False,
        "pushed": False,
        "reasons": ("Too much.",),
        "profits": (
            "Without 'tip' the loss would be larger by 0.25 over all rows, most in: hour=3 (0.50), hour=4 (0.12).",
        ),
        "report": str(tmp_path / "anomalies" / "report.html"),
    }


def test_the_newest_run_counts(outcome_module, refused, tmp_path):
    store = _Store(tmp_path / "metadata.db")
    store.put_run("a", refused)
    pushed = tmp_path / "serving"
    pushed.mkdir()
    (pushed / "saved_model.pb").touch()
    refused["AttributionValidator"]["blessing"] = (tmp_path / "g", {"blessed": 1})
    refused["Pusher"]["pushed_model"] = (tmp_path / "p", {"pushed": 1, "pushed_destination": str(pushed)})
    store.put_run("b", refused)
    found = _read(outcome_module, tmp_path)
    assert found.gate_blessed
    assert found.pushed


def test_a_push_that_left_no_model_is_an_error(outcome_module, refused, tmp_path):
    refused["Pusher"]["pushed_model"] = (tmp_path / "p", {"pushed": 1, "pushed_destination": str(tmp_path / "gone")})
    _Store(tmp_path / "metadata.db").put_run("a", refused)
    with pytest.raises(LookupError, match="Pusher says that it pushed a model, but none is there"):
        _read(outcome_module, tmp_path)


def test_an_unset_blessing_is_none(outcome_module, refused, tmp_path):
    refused["AttributionValidator"]["blessing"] = (tmp_path / "g", {})
    _Store(tmp_path / "metadata.db").put_run("a", refused)
    assert not _read(outcome_module, tmp_path).gate_blessed


@pytest.mark.parametrize(
    ("node", "key", "message"),
    [
        ("Pusher", None, "the run must have executed Pusher"),
        ("AttributionValidator", "anomalies", "AttributionValidator must have written one 'anomalies' artifact"),
    ],
)
def test_what_is_missing_is_named(outcome_module, refused, tmp_path, node, key, message):
    if key is None:
        del refused[node]
    else:
        del refused[node][key]
    _Store(tmp_path / "metadata.db").put_run("a", refused)
    with pytest.raises(LookupError, match=message):
        _read(outcome_module, tmp_path)


def test_a_pipeline_that_never_ran_is_named(outcome_module, refused, tmp_path):
    _Store(tmp_path / "metadata.db").put_run("a", refused)
    with pytest.raises(LookupError, match="pipeline_name='other'"):
        outcome_module.read_outcome("1", str(tmp_path / "metadata.db"), "other")
