"""ExplainerGen executor."""

from __future__ import annotations

import math
import os
from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from tfx_explain.artifacts import properties
from tfx_explain.artifacts.manifest import ArtifactError
from tfx_explain.artifacts.pins import Values
from tfx_explain.attribution_reference.store import Reference, read_references
from tfx_explain.config import ConfigError, ExplainConfig
from tfx_explain.explainer_gen.run import Request, not_explained, run

_STATISTICS_FILE = "FeatureStats.pb"
_STATISTICS_SPLIT = "train"

_Artifacts = dict[str, list[types.Artifact]]


class Executor(base_beam_executor.BaseBeamExecutor):
    """Explains a model over examples, unless Evaluator refused it."""

    def Do(self, input_dict: _Artifacts, output_dict: _Artifacts, exec_properties: dict[str, Any]) -> None:
        """Unpacks, runs, publishes.

        Args:
          input_dict: `model`, `examples`; optionally `schema`, `statistics`, `evaluation`, `model_blessing`,
            `reference`.
          output_dict: `attributions`.
          exec_properties: `explain_config` (JSON), and what overrides it: `max_examples`, `seed`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        attributions = artifact_utils.get_single_instance(output_dict["attributions"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        config = effective_config(exec_properties)
        reason, reference = None, None
        try:
            reference = _reference(input_dict)
        except ArtifactError as error:
            reason = str(error)
        request = Request(
            output=attributions.uri,
            model_uri=model.uri,
            serving_path=path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model)),
            patterns=example_patterns(input_dict["examples"], config.splits),
            config=config,
            reference=reference,
            statistics_baseline=_statistics_baseline(input_dict),
            categorical_ints=_categorical_ints(input_dict),
            evaluation=_optional_uri(input_dict, "evaluation"),
        )
        reason = reason or _refusal(input_dict)
        if reason is not None:
            summary = not_explained(request, reason)
        else:
            summary = run(request, self._make_beam_pipeline)
        publish(attributions, summary)


def effective_config(exec_properties: dict[str, Any]) -> ExplainConfig:
    """The component's config with its overrides.

    Raises:
      ConfigError: an override is out of range.
    """
    config = ExplainConfig.from_json(exec_properties["explain_config"])
    overrides = {k: int(exec_properties[k]) for k in ("max_examples", "seed") if exec_properties.get(k) is not None}
    return ExplainConfig.make(config.model_dump() | overrides, source="ExplainerGen's arguments")


def example_patterns(examples: list[types.Artifact], splits: tuple[str, ...]) -> list[tuple[int, str]]:
    """(index of the split, file pattern) of every split that has files; a span may lack those of one.

    Raises:
      ConfigError: an artifact has no such split, or another payload than tf.Example; or of several splits one has no
        files in any artifact, so that the evidence would be of fewer than the artifact says.
    """
    out: list[tuple[int, str]] = []
    for artifact in examples:
        payload = examples_utils.get_payload_format(artifact)
        if payload != example_gen_pb2.FORMAT_TF_EXAMPLE:
            name = example_gen_pb2.PayloadFormat.Name(payload)
            raise ConfigError(
                f"examples must be tf.Examples (FORMAT_TF_EXAMPLE), since the model's signature takes them. Received: "
                f"{name} at {artifact.uri}"
            )
        known = artifact_utils.decode_split_names(artifact.split_names)
        for index, split in enumerate(splits):
            if split not in known:
                raise ConfigError(f"splits must be among {known} of {artifact.uri}. Received: {split!r}")
            pattern = io_utils.all_files_pattern(artifact_utils.get_split_uri([artifact], split))
            if fileio.glob(pattern):
                out.append((index, pattern))
    empty = [split for index, split in enumerate(splits) if index not in {number for number, _ in out}]
    if out and empty:
        raise ConfigError(
            f"every one of splits must have files, or be left out. Received: none of {', '.join(map(repr, empty))} at "
            f"{', '.join(artifact.uri for artifact in examples)}"
        )
    return out


def publish(attributions: types.Artifact, summary: dict[str, Any]) -> None:
    """Small facts as custom properties."""
    fingerprints = summary["fingerprints"]
    for name, text in {
        properties.STATUS: summary["status"],
        properties.METHOD: summary["method"]["name"],
        properties.MODEL_FINGERPRINT: fingerprints["model"],
        properties.EXAMPLES_FINGERPRINT: fingerprints["examples"],
        properties.CONFIG_FINGERPRINT: fingerprints["config"],
        properties.ENVIRONMENT_FINGERPRINT: fingerprints["environment"],
        properties.COMPARABILITY_DIGEST: fingerprints["comparability"],
    }.items():
        attributions.set_string_custom_property(name, text)
    for name, count in {
        properties.NUM_STEPS: summary["method"]["num_steps"],
        properties.ROWS: summary["examples"]["explained_rows"],
        properties.FEATURES: len(summary["features"]),
    }.items():
        attributions.set_int_custom_property(name, count)


def _refusal(input_dict: _Artifacts) -> str | None:
    """Why Evaluator's blessing says that there is nothing to explain, or None."""
    blessings = input_dict.get("model_blessing") or []
    if not blessings:
        return None
    blessing = artifact_utils.get_single_instance(blessings)
    # Not as an int: Kubeflow's metadata gives ints back as doubles, of which TFX's int is 0.
    if blessing.get_custom_property(properties.BLESSED) == 1:
        return None
    return "Evaluator did not bless this model, so it was not explained"


def _reference(input_dict: _Artifacts) -> Reference | None:
    references = sorted(input_dict.get("reference") or [], key=lambda artifact: artifact.id)
    return read_references([r.uri for r in references])


def _optional_uri(input_dict: _Artifacts, key: str) -> str | None:
    """URI of an optional input; a missing key and an empty list are alike."""
    artifacts = input_dict.get(key) or []
    return artifact_utils.get_single_instance(artifacts).uri if artifacts else None


def _categorical_ints(input_dict: _Artifacts) -> frozenset[str]:
    uri = _optional_uri(input_dict, "schema")
    if uri is None:
        return frozenset()
    schema = io_utils.parse_pbtxt_file(os.path.join(uri, "schema.pbtxt"), schema_pb2.Schema())
    domains = {d.name for d in schema.string_domain}
    return frozenset(
        f.name
        for f in schema.feature
        if f.type == schema_pb2.INT and (f.int_domain.is_categorical or f.domain in domains and bool(f.domain))
    )


def _statistics_baseline(input_dict: _Artifacts) -> dict[str, Values]:
    """Median or commonest value of each single-valued feature of the training split."""
    artifacts = input_dict.get("statistics") or []
    if not artifacts:
        return {}
    artifact = artifact_utils.get_single_instance(artifacts)
    if _STATISTICS_SPLIT not in artifact_utils.decode_split_names(artifact.split_names):
        return {}
    path = os.path.join(artifact_utils.get_split_uri([artifact], _STATISTICS_SPLIT), _STATISTICS_FILE)
    with fileio.open(path, "rb") as file:
        statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read())
    out: dict[str, Values] = {}
    for feature in statistics.datasets[0].features if statistics.datasets else ():
        value = _central(feature)
        if value is not None:
            out["".join(feature.path.step) or feature.name] = value
    return out


def _central(feature: statistics_pb2.FeatureNameStatistics) -> Values | None:
    kind = feature.WhichOneof("stats")
    stats = getattr(feature, kind) if kind else None
    if stats is None or stats.common_stats.max_num_values != 1:
        return None
    names = statistics_pb2.FeatureNameStatistics
    if kind == "num_stats":
        median = stats.median
        if not math.isfinite(median):
            return None
        return ("i", (round(median),)) if feature.type == names.INT else ("f", (float(median),))
    if kind != "string_stats" or not stats.top_values or stats.top_values[0].value == "__BYTES_VALUE__":
        return None
    top = stats.top_values[0].value
    return ("i", (int(top),)) if feature.type == names.INT else ("b", (top.encode(),))
