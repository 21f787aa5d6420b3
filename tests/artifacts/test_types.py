import re
import subprocess
import sys

import pytest

import tfx_explain
from tfx_explain.artifacts import properties, types

pytestmark = pytest.mark.tf

TYPES = [types.ModelAttributions, types.AttributionAnomalies, types.AttributionReference]


def test_type_names_and_property_names_are_frozen():
    assert [t.TYPE_NAME for t in TYPES] == [
        "tfx_explain.ModelAttributions",
        "tfx_explain.AttributionAnomalies",
        "tfx_explain.AttributionReference",
    ]
    assert types.FORMAT_VERSION == 3
    assert properties.MODEL_ATTRIBUTIONS == (
        "status",
        "method",
        "num_steps",
        "rows",
        "features",
        "model_fingerprint",
        "examples_fingerprint",
        "config_fingerprint",
        "environment_fingerprint",
        "comparability_digest",
    )
    assert (properties.STATUS_EXPLAINED, properties.STATUS_NOT_EXPLAINED) == ("explained", "not_explained")
    assert properties.ATTRIBUTION_ANOMALIES == ("blessed", "blocking", "first_reason", "gate_id")
    assert properties.ATTRIBUTION_REFERENCE == ("gate_id", "models", "newest_model", "newest_fingerprint", "newest_run")
    assert properties.MODEL_BLESSING == (
        "blessed",
        "current_model",
        "current_model_id",
        "baseline_model",
        "baseline_model_id",
        "gate_id",
        "gate_reason",
    )


@pytest.mark.parametrize("artifact_type", TYPES)
def test_types_suit_kubeflow(artifact_type):
    # Kubeflow v2 takes no declared properties, checks the title, and imports the class by it.
    assert not artifact_type.PROPERTIES
    assert re.fullmatch(r"[a-z][a-z0-9-_]{2,20}[.][A-Z][a-zA-Z0-9-_]{2,49}", artifact_type.TYPE_NAME)
    package, _, name = artifact_type.TYPE_NAME.partition(".")
    assert getattr(sys.modules[package], name) is artifact_type


@pytest.mark.parametrize("artifact_type", TYPES)
def test_docstrings_name_every_property(artifact_type):
    names = {
        types.ModelAttributions: properties.MODEL_ATTRIBUTIONS,
        types.AttributionAnomalies: properties.ATTRIBUTION_ANOMALIES,
        types.AttributionReference: properties.ATTRIBUTION_REFERENCE,
    }[artifact_type]
    assert [name for name in names if f"`{name}`" not in artifact_type.__doc__] == []


def test_engine_version_holds_package_and_format():
    assert re.fullmatch(r"\d+\.\d+\.\d+.*\+format\.3", properties.engine_version())


def test_importing_the_package_imports_no_framework():
    code = (
        "import sys, tfx_explain, tfx_explain.names, tfx_explain.artifacts.properties; dir(tfx_explain);"
        "print(sorted({'tfx', 'tensorflow', 'apache_beam', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_public_names():
    assert set(tfx_explain.__all__) <= set(dir(tfx_explain))
    for name in set(tfx_explain.__all__) - {"GATE_NODE_ID"}:
        assert getattr(tfx_explain, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'AttributionValidatr'"):
        tfx_explain.AttributionValidatr  # noqa: B018
