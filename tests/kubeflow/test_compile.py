import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

pytestmark = [pytest.mark.tf, pytest.mark.pipeline]

COMPILE = pathlib.Path(__file__).parents[2] / "kubeflow" / "compile.py"
OURS = {"tfx_explain.ModelAttributions", "tfx_explain.AttributionAnomalies", "tfx_explain.AttributionReference"}


@pytest.fixture(scope="module")
def compiler():
    module_spec = importlib.util.spec_from_file_location("compile_to_kubeflow", COMPILE)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def spec(compiler, tmp_path_factory):
    path = tmp_path_factory.mktemp("compile") / "specs" / "pipeline.yaml"
    compiler.main(["--output", str(path)])
    with open(path) as file:
        return next(yaml.safe_load_all(file))


def artifact_types(spec):
    """(component, direction, key) -> title of the artifact's type."""
    result = {}
    for name, component in spec["components"].items():
        for direction in ("inputDefinitions", "outputDefinitions"):
            for key, value in component.get(direction, {}).get("artifacts", {}).items():
                schema = value["artifactType"]
                title = schema.get("schemaTitle") or yaml.safe_load(schema["instanceSchema"])["title"]
                result[name, direction, key] = title
    return result


def test_the_gate_stands_between_evaluator_and_pusher(spec):
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks) == {
        "CsvExampleGen",
        "StatisticsGen",
        "SchemaGen",
        "Transform",
        "Trainer",
        "Evaluator",
        "ExplainerGen",
        "AttributionValidator",
        "Pusher",
    }

    def producer(task, key):
        return tasks[task]["inputs"]["artifacts"][key]["taskOutputArtifact"]["producerTask"]

    assert producer("Pusher", "model_blessing") == "AttributionValidator"
    assert producer("AttributionValidator", "model_blessing") == "Evaluator"
    assert producer("AttributionValidator", "attributions") == "ExplainerGen"
    assert producer("ExplainerGen", "examples") == "CsvExampleGen"
    assert producer("ExplainerGen", "model") == producer("Pusher", "model") == "Trainer"
    assert "baseline_model" not in tasks["Evaluator"]["inputs"]["artifacts"]
    assert tasks["ExplainerGen"]["inputs"]["parameters"]["max_examples"] == {"componentInputParameter": "max_examples"}
    assert spec["root"]["inputDefinitions"]["parameters"]["max_examples"]["parameterType"] == "NUMBER_INTEGER"


def test_artifact_titles(spec):
    titles = artifact_types(spec)
    own = {title for title in titles.values() if not title.startswith("tfx.")}
    assert own == OURS
    pattern = r"[a-z][a-z0-9-_]{2,20}[.][A-Z][a-zA-Z0-9-_]{2,49}"
    assert [title for title in own if not re.fullmatch(pattern, title)] == []
    outputs = {
        key[2]: title for key, title in titles.items() if key[:2] == ("AttributionValidator", "outputDefinitions")
    }
    assert outputs == {
        "blessing": "tfx.ModelBlessing",
        "anomalies": "tfx_explain.AttributionAnomalies",
        "new_reference": "tfx_explain.AttributionReference",
    }


def test_each_type_and_executor_imports_elsewhere(spec, tmp_path):
    executors = []
    for name in ("ExplainerGen_executor", "AttributionValidator_executor"):
        arguments = spec["deploymentSpec"]["executors"][name]["container"]["args"]
        executors.append(arguments[arguments.index("--executor_class_path") + 1])
    assert executors == [
        "tfx_explain.explainer_gen.executor.Executor",
        "tfx_explain.attribution_validator.executor.Executor",
    ]
    code = (
        "import importlib, sys\n"
        "for path in sys.argv[1:]:\n"
        "    module, _, name = path.rpartition('.')\n"
        "    print(getattr(importlib.import_module(module), name).__name__)\n"
    )
    # In another directory than the repository's: what is imported must be installed.
    done = subprocess.run(
        [sys.executable, "-c", code, *sorted(OURS), *executors], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    names = ["AttributionAnomalies", "AttributionReference", "ModelAttributions", "Executor", "Executor"]
    assert done.stdout.split() == names


def test_the_output_must_be_yaml(compiler, tmp_path, capsys):
    with pytest.raises(SystemExit):
        compiler.main(["--output", str(tmp_path / "pipeline.json")])
    assert "--output must end in .yaml" in capsys.readouterr().err


def test_configs_are_inlined(compiler, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("gate_id: eu\n")
    output = tmp_path / "pipeline.yaml"
    compiler.main(["--output", str(output), "--validation-config", str(policy)])
    parameters = next(yaml.safe_load_all(output.read_text()))["root"]["dag"]["tasks"]["AttributionValidator"]["inputs"]
    assert '"gate_id":"eu"' in str(parameters["parameters"]["validation_config"])
