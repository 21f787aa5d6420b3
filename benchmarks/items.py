"""What a job's CPU time is counted by: (item, module or class, function's name)."""

from __future__ import annotations

from tfx_explain.engine.feature_graph import FeatureModel, PermutationModel
from tfx_explain.engine.methods import integrated_gradients
from tfx_explain.explainer_gen import (
    aggregate,
    columns,
    explain,
    permute,
    profiles,
    records,
    results,
    row_ids,
    sampled,
    sampling,
    strata,
    transit,
)
from tfx_explain.explainer_gen.slicing import SliceAssigner

JOB = [
    # A step that reads what was grouped unpickles it as it goes.
    *(("pickling", transit.ElementCoder, name) for name in ("encode", "decode")),
    ("read", records, "read_file"),
    ("hash and sample", sampled.Identify, "process"),
    ("hash and sample", row_ids, "row_ids"),
    *(("hash and sample", sampling.SmallestKeys, name) for name in ("add_input", "merge_accumulators")),
    *(("hash and sample", sampling.ContentSum, name) for name in ("add_input", "merge_accumulators")),
    *(("hash and sample", sampling.UnionOfIds, name) for name in ("add_input", "merge_accumulators")),
    *(("hash and sample", sampled, name) for name in ("take_sample", "sampled_ids", "pick_rows")),
    *(("hash and sample", sampling, name) for name in ("by_block", "make_block", "part_of")),
    *(("slices", strata, name) for name in ("sketch_slices", "plan_slices")),
    ("slices", strata.SketchSlice, "merge_accumulators"),
    ("slices", SliceAssigner, "assign"),
    ("decode", columns, "decode"),
    *(("profile", profiles, name) for name in ("feature_values", "profile")),
    ("load the model", explain.ModelExplainer, "__init__"),
    ("encode", FeatureModel, "encode"),
    ("predict", FeatureModel, "predict"),
    ("integrate", FeatureModel, "path_gradients"),
    ("integrate", integrated_gradients, "integrated_gradients"),
    ("explain, rest", explain.ModelExplainer, "explain"),
    ("explain, rest", explain.ModelExplainer, "predict"),
    *(
        (f"aggregate: {item}", aggregate, name)
        for item, name in (
            ("totals", "block_totals"),
            ("totals", "scale_of"),
            ("parts", "slice_parts"),
            ("sums", "sum_shard"),
            ("finish", "finish_slice"),
        )
    ),
    ("write", results, "write_rows"),
    ("write", results, "write_result"),
]

PERMUTATION = [
    ("encode", PermutationModel, "encode"),
    ("encode", PermutationModel, "stack"),
    ("predict", PermutationModel, "predict_permuted"),
    *(
        (item, permute, name)
        for item, functions in (
            ("donors", ("donors_of", "plan_permutation", "donor_facts", "without_rows", "without_payloads")),
            ("permute, rest", ("permute",)),
            ("parts", ("permuted_parts",)),
            ("sums", ("sum_permuted",)),
            ("finish", ("finish_permuted",)),
        )
        for name in functions
    ),
]
