"""What the job writes: row files, statistics, pins, and job.json for its caller."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from tfx_explain.artifacts.pins import PINNED_ROWS_FILE, PINS_FILE, Pins
from tfx_explain.artifacts.statistics import to_parquet
from tfx_explain.config import COMPLETE_METHODS, ExplainConfig
from tfx_explain.engine.aggregates.intervals import bucket_draws, drawn, measure, number
from tfx_explain.explainer_gen.aggregate import Scale, draw_seed
from tfx_explain.explainer_gen.beside import (
    joined_metrics,
    metric_entries,
    profiting_slices,
    slice_results,
    weak_slices,
)
from tfx_explain.explainer_gen.eval_result import write_eval_result
from tfx_explain.explainer_gen.evaluator_differs import evaluator_differs
from tfx_explain.explainer_gen.explain import NO_REPEATS, ExplainedBlock
from tfx_explain.explainer_gen.job_spec import JobSpec, ModelFacts
from tfx_explain.explainer_gen.method import pinned_settings
from tfx_explain.explainer_gen.no_gradient import nothing_measured
from tfx_explain.explainer_gen.outcome import SliceOutcome
from tfx_explain.explainer_gen.paired import PairedOutcome, paired_entries
from tfx_explain.explainer_gen.permute import PermutationPlan
from tfx_explain.explainer_gen.profiles import FeatureProfile, feature_bins, known_bins
from tfx_explain.explainer_gen.rows import attribution_columns, kept_columns, row_files
from tfx_explain.explainer_gen.sampling import SamplePlan
from tfx_explain.explainer_gen.strata import SlicePlan
from tfx_explain.explainer_gen.summary import feature_entries, importance_entry, interval, shown, slice_entry
from tfx_explain.explainer_gen.tables import Importances, slice_tables
from tfx_explain.explainer_gen.target import LABEL
from tfx_explain.names import MAX_CLUSTERED, slice_name

JOB_FILE = "job.json"
TFMA_FOLDER = "tfma"
PAIRED_FILE = "paired.json"


BlockFacts = tuple[int, ModelFacts, dict[str, int], float, np.ndarray | None, np.ndarray | None]
"""(block, facts, failures, forward equivalents, weight at the input baseline, rows that it stands for)."""


def block_facts(block: ExplainedBlock) -> BlockFacts:
    """What the summary needs of a block."""
    spent = block.forward_equivalents
    return block.index, block.facts, dict(block.failures), spent, block.at_baseline, block.stands_for


def write_rows(
    block: ExplainedBlock,
    config: ExplainConfig,
    plan: SamplePlan,
    slices: SlicePlan,
    profiles: Sequence[FeatureProfile],
    staging: str,
) -> Iterable[tuple[str, int]]:
    """Writes a block's row files; (path, rows) of each."""
    if not config.write_rows or block.facts.error is not None:
        return
    files = row_files(block, config.splits, plan.blocks, slices.names, config.keep_features, profiles)
    for path, (data, rows) in files.items():
        write_file(FileSystems.join(staging, path), data)
        yield path, rows


def write_result(
    _: Any,
    spec: JobSpec,
    staging: str,
    plan: SamplePlan,
    slices: SlicePlan,
    content: tuple[int, int],
    profiles: Sequence[FeatureProfile],
    scale: Scale,
    permutation: PermutationPlan,
    outcomes: Sequence[SliceOutcome],
    importances: Sequence[tuple[int, Importances]],
    written: Sequence[tuple[str, int]],
    facts: Sequence[BlockFacts],
    pinned: Sequence[tuple[str, str, bytes, list[float] | None]],
    pairs: Sequence[PairedOutcome] | None,
    elements: Sequence[tuple[int, str, int, dict[str, Any]]] | None = None,
) -> None:
    """Writes the tables, the pins and job.json: all that the caller of the job needs to know."""
    ordered = sorted(facts, key=lambda f: f[0])
    model = ordered[0][1] if ordered else ModelFacts()
    label_errors = [f[1].label_error for f in ordered if f[1].label_error]
    failures: Counter[str] = Counter()
    for _, _, reasons, *_ in ordered:
        failures.update(reasons)
    files = dict(written) | {path: lines for _, path, lines, _ in elements or ()}
    by_place = sorted(outcomes, key=lambda o: o.place)
    overall = by_place[0] if by_place else None
    # Where some block has no labels, the others' importances are not those of the sample.
    important = {} if label_errors else dict(importances)
    rows_read = [content[0], *slices.rows.values(), *(rows for _, rows in slices.small.values())]
    if overall is not None:
        bins = feature_bins(scale.features, profiles, spec.pins)
        tables = slice_tables(by_place, important, slices.names, slices.keys, rows_read, bins, model.target)
        pins = pins_of(spec, model, profiles, scale.unit)
        tables |= {PINS_FILE: pins.to_json().encode(), PINNED_ROWS_FILE: pinned_table(pinned)}
        write_eval_result(
            TFMA_FOLDER,
            spec.evaluation.config if spec.evaluation else None,
            spec.model_path,
            slice_results(by_place, important, slices.keys),
            tables.__setitem__,
        )
        if pairs is not None:
            paired = paired_entries(pairs, slices.names, slices.keys)
            tables[PAIRED_FILE] = json.dumps(paired, sort_keys=True, indent=1, allow_nan=False).encode()
        for name, data in tables.items():
            write_file(FileSystems.join(staging, name), data)
            files[name] = len(pinned) if name == PINNED_ROWS_FILE else 0

    theirs, join = joined_metrics([k for k in slices.keys if k is not None], spec.evaluation)

    def entry(outcome: SliceOutcome) -> dict[str, Any]:
        place = outcome.place
        key = slices.keys[place]
        out = slice_entry(outcome, slices.names[place], key, rows_read[place], important.get(place, {}))
        if key in theirs:
            out["evaluator_metrics"] = metric_entries(theirs[key])
        return out

    measured = _permutation(spec, model, label_errors, permutation, important)
    unmeasured = None
    if model.no_gradient is not None and measured["absent"] is not None and overall is not None:
        unmeasured = nothing_measured(model.no_gradient, measured["absent"])
    result = {
        "error": model.error or unmeasured,
        "attributions": {
            "status": "measured" if model.no_gradient is None else "no_gradient",
            "reason": model.no_gradient or "",
        },
        "blocked_features": {
            name: {"operation": operation, "name": at} for name, (operation, at) in sorted(model.blocked.items())
        },
        "rows_read": content[0],
        "content": f"{content[1]:032x}",
        "rows_explained": plan.rows,
        "blocks": plan.blocks,
        "features": list(model.features),
        "columns": attribution_columns(model.features),
        "kept_columns": kept_columns(spec.config.keep_features),
        "unused_features": list(model.unused_features),
        "uncovered_features": list(model.uncovered_features),
        "cut_policies": dict(model.cut_policies),
        "output": model.output,
        "link": model.link,
        "unit": model.unit,
        "num_targets": model.num_targets,
        "target": model.target,
        "class_names": None if model.class_names is None else list(model.class_names),
        "task": None if label_errors else model.task,
        "label_error": label_errors[0] if label_errors else None,
        "evaluator_differs": (
            list(evaluator_differs(spec.evaluation.config, spec.config, model.output)) if spec.evaluation else []
        ),
        "notes": [*model.notes, *unclustered(len(model.features)), *_unmet(spec, model, profiles, slices)],
        "input_baseline_source": model.input_baseline_source,
        "input_baseline": {
            n: [base64.b64encode(v).decode() if isinstance(v, bytes) else v for v in values]
            for n, (_, values) in model.input_baseline.items()
        },
        "image_baselines": dict(model.image_baselines),
        "environment": sorted({f[1].environment for f in ordered}),
        "failures": dict(sorted(failures.items())),
        "failed_weight_fraction": number(overall.failed_weight_fraction) if overall else 0.0,
        "unconverged_weight_fraction": (
            interval(overall.unconverged)
            if overall and model.no_gradient is None and spec.config.method in COMPLETE_METHODS
            else None
        ),
        "background_rows": model.background_rows,
        "at_input_baseline": _at_input_baseline(model.features, [f[4] for f in ordered], overall),
        "stands_for": _stands_for([f[5] for f in ordered], content[0], draw_seed(spec, content)),
        "forward_equivalents": sum(f[3] for f in ordered),
        "donors_from": "side_input" if permutation.side_input else "blocks",
        "permutation_forwards": _forwards(permutation, len(scale.items)),
        "overall": entry(overall) if overall else None,
        "feature_entries": feature_entries(overall, _policies(model)) if overall else [],
        "groups": {name: list(members) for name, members in scale.groups},
        "slices": [entry(o) for o in shown(by_place)],
        "slicing": {
            "slices": len(slices.rows),
            "rows_per_slice": slices.rows_per_slice,
            "small_slices": {
                slices.remainder(columns): {"slices": number_of, "rows": rows}
                for columns, (number_of, rows) in slices.small.items()
            },
            "required": [slice_name(key) for key in slices.required],
            "missing": list(slices.missing),
            **join,
        },
        "weak_slices": weak_slices(by_place, slices.keys, scale.task),
        "profiting_slices": profiting_slices(important, slices.names, scale.task),
        "permutation_importance": measured,
        "paired": None if pairs is None else _overall_pair(paired_entries(pairs, slices.names, slices.keys)),
        "elements": [entry for *_, entry in sorted(elements or (), key=lambda e: e[0])],
        "files": files,
    }
    write_file(FileSystems.join(staging, JOB_FILE), json.dumps(result, sort_keys=True, indent=1).encode())


def unclustered(features: int) -> Iterable[str]:
    """Says where features that move together are not looked for: a leak in copies then hides in parts."""
    if features > MAX_CLUSTERED:
        yield (
            f"among {features} features, more than {MAX_CLUSTERED}, none are looked for whose attributions move "
            "together: name copies of one source in feature_groups, and the gate holds them to its share cap as one"
        )


def _unmet(spec: JobSpec, model: ModelFacts, profiles: Sequence[FeatureProfile], slices: SlicePlan) -> Iterable[str]:
    """What the configuration names and the data or the model do not have."""
    if not profiles:
        return
    used = {*model.features, *(part for parts in model.crosses.values() for part in parts)}
    for name, members in sorted(spec.config.feature_groups.items()):
        unknown = [m for m in members if m not in used]
        if unknown:
            yield f"feature group {name!r} is measured without {unknown}, which the model does not use"
    seen = {p.name for p in profiles}
    for name in spec.config.keep_features:
        if name not in seen:
            yield f"no row of the sample has the feature {name!r} of keep_features"
    for name in slices.missing:
        yield f"no row belongs to the required slice {name}"
    kept = [{column: str(value) for column, value in key} for key in slices.rows]
    required = [dict(r.feature_values) for r in spec.config.required_slices]  # said above
    for keys, values in spec.slicing.specs:
        if not keys and dict(values) in required:
            continue
        columns = {*keys, *(name for name, _ in values)}
        if any(columns == set(small) for small in slices.small):  # which values the remainder has is not known
            continue
        if not any(columns == key.keys() and all(key[n] == v for n, v in values) for key in kept):
            yield (
                f"no row belongs to a slice of {', '.join((*keys, *(f'{n}={v}' for n, v in values)))}: look for a "
                "misspelt name or value in the slicing specs"
            )


def _at_input_baseline(
    features: Sequence[str], blocks: Sequence[np.ndarray | None], overall: SliceOutcome | None
) -> dict[str, Any] | None:
    """Share of the explained weight whose value is the input baseline's: by feature, and in all features at once."""
    weights = [weight for weight in blocks if weight is not None]
    if overall is None or not weights or not overall.weight > 0:
        return None
    # The blocks' order is fixed, so their sum is.
    *by_feature, everywhere = (sum(weights[1:], weights[0]) / overall.weight).tolist()
    return {
        "all_features": number(everywhere),
        "features": {name: number(share) for name, share in zip(features, by_feature, strict=True)},
    }


def _stands_for(blocks: Sequence[np.ndarray | None], rows_read: int, seed: int) -> dict[str, float | None] | None:
    """Rows that the sample stands for, as a part of those that were read: an estimate of 1.

    Rows are taken whole with their cluster, and with those that are equal. Where these are more than a sample can hold,
    they are never in it, and the others stand for fewer rows than there are.
    """
    by_bucket = [rows for rows in blocks if rows is not None]
    if not by_bucket or not rows_read:
        return None
    total = sum(by_bucket[1:], by_bucket[0])  # the blocks' order is fixed
    return interval(measure(drawn(bucket_draws(seed), total) / rows_read, int(np.count_nonzero(total))))


def _policies(model: ModelFacts) -> dict[str, str]:
    """Cut policy of each attributed feature; one that only has its part of crosses has theirs, `feature`."""
    return {name: model.cut_policies.get(name, "feature") for name in model.features}


def _overall_pair(entries: Mapping[str, Any]) -> dict[str, Any]:
    """What the summary shows of both models on the same rows: the overall slice."""
    return {"absent": entries["absent"], "overall": entries["slices"][0] if entries["slices"] else None}


def _forwards(plan: PermutationPlan, items: int) -> int:
    """Forward passes of one row that permutations took."""
    return plan.rows * items * plan.repeats


def _permutation(
    spec: JobSpec,
    model: ModelFacts,
    label_errors: Sequence[str],
    plan: PermutationPlan,
    importances: Mapping[int, Importances],
) -> dict[str, Any]:
    """How permutation importance was measured, and the overall slice's; or why it was not."""
    config = spec.config.permutation_importance
    absent = None
    if not config.repeats:
        absent = NO_REPEATS
    elif label_errors:
        absent = label_errors[0]
    elif 0 not in importances:
        absent = "no explained row has a label that fits the model's output"
    return {
        "absent": absent,
        "scheme": config.scheme,
        "strata": list(config.strata),
        "repeats": config.repeats,
        "rows": plan.rows,
        "rows_alone_in_their_stratum": plan.alone,
        "reparsed_features": list(model.reparsed),
        "only_in_groups": list(model.only_grouped),
        "features": [
            {"name": item, "metrics": {m: importance_entry(i) for m, i in by_metric.items()}}
            for item, by_metric in importances.get(0, {}).items()
        ],
    }


def pins_of(spec: JobSpec, model: ModelFacts, profiles: Iterable[FeatureProfile], unit: float) -> Pins:
    """The reference's pins, with what this model adds to them; this run's own on a first run."""
    old = spec.pins
    return Pins(
        settings={
            # Another one may have another head: what it leans on says nothing of the one that is served.
            "signature": spec.config.signature,
            "preprocessing_function": spec.config.preprocessing_function,
            "unit": model.unit,
            # The configured name: one that Keras numbers by itself differs between retrains.
            "output": spec.config.output,
            "num_targets": model.num_targets,
            "link": model.link,
            "target": model.target,
            # By another label other columns are explained.
            **({"label": spec.label.key} if model.target == LABEL and spec.label is not None else {}),
            # Where the columns are other classes, neither `predicted` nor a number means the same.
            **({} if model.class_names is None else {"class_names": list(model.class_names)}),
            **pinned_settings(spec.config, model.background_digest),
            "splits": list(spec.config.splits),
            # Left out by default, so that references from before there was a rule stay comparable.
            **({"crosses": spec.config.crosses} if spec.config.crosses != "pair" else {}),
            # Shares of rows that weigh otherwise are shares of other rows.
            **({} if spec.example_weight is None else {"example_weight_key": spec.example_weight.key}),
            # Without it, intervals of rows that depend on each other are narrower than they should be.
            **({} if spec.config.cluster_key is None else {"cluster_key": spec.config.cluster_key}),
        },
        input_baseline=model.input_baseline,
        bins=known_bins(profiles, old),
        cut_policies=(dict(old.cut_policies) if old else {}) | dict(model.cut_policies),
        histogram_unit=unit,
        image_baselines=(dict(old.image_baselines) if old else {}) | dict(model.image_baselines),
    )


def pinned_table(rows: Sequence[tuple[str, str, bytes, list[float] | None]]) -> bytes:
    """pinned_rows.parquet: role (`prediction` or `background`), id, example (canonical), prediction (a list)."""
    return to_parquet(
        pa.table(
            {
                "role": pa.array([r[0] for r in rows], pa.string()),
                "id": pa.array([r[1] for r in rows], pa.string()),
                "example": pa.array([r[2] for r in rows], pa.binary()),
                "prediction": pa.array([r[3] for r in rows], pa.list_(pa.float64())),
            }
        )
    )


def write_file(path: str, data: bytes) -> None:
    """Writes one file; a bundle that runs again writes the same bytes over it."""
    folder = path.rsplit("/", 1)[0]
    if not FileSystems.exists(folder):
        try:
            FileSystems.mkdirs(folder)
        except OSError:  # another worker was first
            if not FileSystems.exists(folder):
                raise
    with FileSystems.create(path, mime_type="application/octet-stream", compression_type="uncompressed") as file:
        file.write(data)
