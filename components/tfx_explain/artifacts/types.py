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
            Columns `id`, `count`, `weight`, `bucket`, `slice`, `target`, `prediction`, `convergence_delta`,
            `num_steps`, `attribution_<feature>`; the manifest's `content.columns` maps raw names to columns.
          - `bucket_statistics.parquet`: per slice, target, hash bucket and feature the weighted sums behind every
            statistic (`sum_absolute`, `sum`, `sum_squared`, `sum_row_share`; per value bin `bin_rows`, `bin_weight`,
            `bin_sum`, `bin_sum_label`; `histogram`): what intervals and comparisons are made of.
          - `prediction_statistics.parquet`: per slice, target and hash bucket the sums that belong to no feature: rows,
            weights, failed and unconverged weight, predictions, labels, losses, score histograms.
          - `slice_statistics.parquet`: per slice, feature, target and statistic its value, low, high, n, effective n.
          - `pins.json`: what comparisons share: settings, input baseline, value bins, cut policies, histogram unit.
          - `pinned_rows.parquet`: the reference's prediction and background rows, raw, with this model's predictions.
          - `summary.json`: the overall slice, in six digits.
          - `report.html`: one self-contained page.

    * Custom properties of the ModelAttributions artifact:
      - `status`: `explained`, or `not_explained` (Evaluator refused the model, or it has no gradient); then there are
        only `summary.json` with the reason, and the page.
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
          - `anomalies.json`: `blessed`, the blocking sentences, per check its verdict, severity, value, interval,
            threshold, slice and a sentence; the policy, the model, the models that it was compared with.
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
          - `reference.json`: `gate_id`, and the models that passed, oldest first, at most ten: fingerprint, URI, id,
            folder; the verdict that made this reference, and the references that it was made with the knowledge of.
          - `pins.json`, `pinned_rows.parquet`: as in ModelAttributions; handed on to every later model.
          - `models/{number}-{fingerprint}/`: of each model `bucket_statistics.parquet`,
            `prediction_statistics.parquet`, `pinned_rows.parquet` and `summary.json`.

    * Custom properties of the AttributionReference artifact:
      - `gate_id`: the gate that these models passed.
      - `models`: count of models held.
      - `newest_model`: URI of the newest; `newest_fingerprint`: its sha256, hex.
    """

    TYPE_NAME = "tfx_explain.AttributionReference"
