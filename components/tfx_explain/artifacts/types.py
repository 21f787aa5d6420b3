"""Artifact types; each docstring is the file format."""

from tfx.types import artifact

from tfx_explain.artifacts.properties import FORMAT_VERSION

__all__ = ["FORMAT_VERSION", "AttributionAnomalies", "AttributionReference", "ModelAttributions"]

# No type declares PROPERTIES: Kubeflow v2 refuses them on custom types. TYPE_NAME is also the import path there.


class ModelAttributions(artifact.Artifact):
    """What a model's outputs lean on, per example, per feature and in sum.

    * File structure:
      - `{uri}/`
          - `manifest.json`: `format_version`, and of every other file the path, rows and sha256. Written last;
            readers go by it alone, never by a glob.
          - `Split-{split}/attributions-*.parquet`: one row per distinct example and target. Absent when the
            config says `write_rows: false`.
          - `bucket_statistics.parquet`: per hash bucket, slice, target and feature the weighted sums behind every
            statistic: what intervals and comparisons are made of.
          - `slice_statistics.parquet`: per slice, feature, target and statistic its value, low, high, n, effective n.
          - `summary.json`: the overall slice and at most 50 others.
          - `report.html`: one self-contained page.

    * Custom properties of the ModelAttributions artifact:
      - `status`: `explained`, or `not_explained` for a model that Evaluator refused; then there are no statistics.
      - `method`: e.g. `integrated_gradients`; `num_steps`: nodes of every row before any repair.
      - `rows`, `features`: counts of distinct rows and of raw features.
      - `model_fingerprint`, `examples_fingerprint`, `config_fingerprint`, `environment_fingerprint`: sha256, hex.
      - `comparability_digest`: over all that must be equal before two models may be compared.
    """

    TYPE_NAME = "tfx_explain.ModelAttributions"


class AttributionAnomalies(artifact.Artifact):
    """Verdict of every check of the attribution gate.

    * File structure:
      - `{uri}/`
          - `manifest.json`: as in ModelAttributions.
          - `anomalies.json`: per check its verdict, value, interval, threshold, slice and a sentence.
          - `report.html`: one self-contained page.

    * Custom properties of the AttributionAnomalies artifact:
      - `blessed`: 1 or 0, the same as the blessing's.
      - `blocking`: count of checks that block.
      - `first_reason`: sentence of the first of them, or empty.
      - `gate_id`: the policy's gate.
    """

    TYPE_NAME = "tfx_explain.AttributionAnomalies"


class AttributionReference(artifact.Artifact):
    """What the last models that passed the gate looked like. Published only when it changes.

    * File structure:
      - `{uri}/`
          - `manifest.json`: as in ModelAttributions.
          - what is pinned (input baseline, background and prediction rows, value bins, cut policies, config), and for
            each of the last ten models that passed its bucket statistics, predictions, metrics, fingerprint and URI.

    * Custom properties of the AttributionReference artifact:
      - `gate_id`: the gate that these models passed.
      - `models`: count of models held.
      - `newest_model`: URI of the newest; `newest_fingerprint`: its sha256, hex.
    """

    TYPE_NAME = "tfx_explain.AttributionReference"
