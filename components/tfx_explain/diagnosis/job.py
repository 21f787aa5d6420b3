"""The Beam job of a diagnosis: the candidate's sample once more, explained by both models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.utils import shared

from tfx_explain.explainer_gen.aggregate import examples_fingerprint
from tfx_explain.explainer_gen.job import Explain
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.paired import PairedOutcome, Partner, explain_pairs, paired_entries
from tfx_explain.explainer_gen.records import BATCH_SIZE
from tfx_explain.explainer_gen.results import write_file
from tfx_explain.explainer_gen.sampled import sample_examples
from tfx_explain.explainer_gen.sampling import SamplePlan
from tfx_explain.explainer_gen.strata import SlicePlan

PAIRS_FILE = "pairs.json"


def pair_examples(
    pipeline: beam.Pipeline,
    patterns: Sequence[tuple[int, str]],
    spec: JobSpec,
    partner: Partner,
    staging: str,
    read_batch_size: int = BATCH_SIZE,
) -> None:
    """Adds the whole job to a pipeline; its result is `pairs.json` below `staging`.

    Args:
      pipeline: where to add it.
      patterns: (index of the split, TFRecord file pattern).
      spec: of the candidate, as it was explained.
      partner: the reference's model.
      staging: folder to write to.
      read_batch_size: rows of a batch while reading; results do not depend on it.
    """
    sample = sample_examples(pipeline, patterns, spec, read_batch_size)
    outputs = sample.blocks | "Explain" >> beam.ParDo(
        Explain(spec, shared.Shared()), sample.plan, sample.slices, sample.profiles, sample.picked
    ).with_outputs(Explain.DONORS, main="explained")
    outcomes = explain_pairs(pipeline, sample, outputs["explained"], spec, partner)
    _ = (
        pipeline
        | "Result" >> beam.Create([None])
        | "WritePairs"
        >> beam.Map(_write, spec, staging, sample.plan, sample.slices, sample.content, beam.pvalue.AsList(outcomes))
    )


def _write(
    _: object,
    spec: JobSpec,
    staging: str,
    plan: SamplePlan,
    slices: SlicePlan,
    content: tuple[int, int],
    outcomes: Sequence[PairedOutcome],
) -> None:
    result: dict[str, Any] = {
        "rows_read": content[0],
        "rows": plan.rows,
        "examples": examples_fingerprint(content, spec.config.splits),
        **paired_entries(outcomes, slices.names, slices.keys),
    }
    data = json.dumps(result, sort_keys=True, indent=1, allow_nan=False).encode()
    write_file(FileSystems.join(staging, PAIRS_FILE), data)
