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
            Columns `id`, `count`, `weight` (count x example weight / inclusion probability), `bucket`, `slice` (names
            of the row's slices), `target`, `prediction`, `convergence_delta`, `num_steps`, `attribution_<feature>`,
            where the output's columns have names `target_name`, and `feature_<feature>` of pass-through features; the
            manifest's `content.columns` and `content.kept_columns` map raw names to columns.
          - `Split-{split}/elements-*.parquet`, where `elements` names features and rows may be written: attributions of
            single pixels or tokens, one line a row and feature. Columns `id`, `target`, `feature`, `shape`,
            `attribution` (the elements in C order; their sum is the feature's), `elements` (the row's tokens: its raw
            values, or what the graph splits its text into; null where that is not known; elements behind the last are
            padding).
          - `bucket_statistics.parquet`: per slice (the overall one and those that checks name), target, hash bucket and
            feature the weighted sums behind every statistic (`sum_absolute`, `sum`, `sum_squared`, `sum_positive`,
            `sum_row_share`; per value bin `bin_rows`, `bin_weight`, `bin_sum`, `bin_sum_label`; `histogram`): what
            intervals and comparisons are made of.
          - `prediction_statistics.parquet`: per such slice, target and hash bucket the sums that belong to no feature:
            rows, weights, failed and unconverged weight, predictions, labels, losses, score histograms.
          - `group_statistics.parquet`: per such slice, target, hash bucket and group of features `sum_joint` (of
            |sum of the group's attributions|) and `sum_apart` (of the summed |attribution|).
          - `slices.parquet`: per slice its name, key (JSON; null for a remainder of small slices), rows read and
            explained, weight, effective rows, failed rows, mean prediction.
          - `slice_statistics.parquet`: per slice, feature, target and statistic its value, low, high, n, effective n:
            attributions, metrics (no feature), `group_share`, and `permutation_<metric>_drop`, `_ratio` and `_std`.
          - `dependence_curves.parquet`: per slice, feature and value bin the mean attribution with its interval.
          - `tfma/`: an eval result that `tfma.load_eval_result` reads.
          - `pins.json`: what comparisons share: settings, input baseline, image baselines, value bins, cut policies,
            histogram unit.
          - `pinned_rows.parquet`: the reference's prediction and background rows, raw, with this model's predictions.
          - `explain_config.json`: what was explained, overrides applied.
          - `summary.json`: the overall slice and at most 50 others, in six digits.
          - `examples.json`: which files the rows were read from.
          - `cost.json`: the forecast, what was spent, how far it was off; the one file that two runs do not share.
          - `report.html`: one self-contained page.

    * Custom properties of the ModelAttributions artifact:
      - `status`: `explained`, or `not_explained` (Evaluator refused the model, or it has no gradient); then there are
        only `summary.json` with the reason, and the page.
      - `method`: e.g. `integrated_gradients`; `num_steps`: gradients of every row before any repair: nodes of all its
        paths, or noisy copies.
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
            `prediction_statistics.parquet`, `group_statistics.parquet`, `pinned_rows.parquet` and `summary.json`.

    * Custom properties of the AttributionReference artifact:
      - `gate_id`: the gate that these models passed.
      - `models`: count of models held.
      - `newest_model`: URI of the newest; `newest_fingerprint`: its sha256, hex; `newest_run`: id of the run in which
        it passed, empty where that is not known.
    """

    TYPE_NAME = "tfx_explain.AttributionReference"
