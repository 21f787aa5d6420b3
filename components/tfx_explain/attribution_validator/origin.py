"""Which run the gate judges in, as far as the orchestrator tells its executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfx import types
from tfx.dsl.components.base import base_executor

from tfx_explain.artifacts import properties
from tfx_explain.report.origin import Origin


def origin_of(
    context: base_executor.BaseExecutor.Context | None,
    model: types.Artifact,
    fingerprint: str | None,
    references: Sequence[types.Artifact],
) -> Origin:
    """The run, node, execution and model of a verdict.

    LocalDagRunner tells all of them; Kubeflow Pipelines a name of the task alone, which stands as the execution.

    Args:
      context: the executor's; None outside of an orchestrator.
      model: to push.
      fingerprint: of its files, None where they cannot be read.
      references: that the gate was given, oldest first.
    """
    model_files, passed_in = fingerprint or "", runs_of_passed_models(references)
    if context is None:
        return Origin(model_uri=model.uri, fingerprint=model_files, passed_in=passed_in)
    pipeline, node = context.pipeline_info, context.pipeline_node
    # TFX has no accessor of the id, and writes one that is not set as the text "None".
    execution = str(getattr(context, "_unique_id", None) or "")
    return Origin(
        pipeline=pipeline.id if pipeline is not None else "",
        run=context.pipeline_run_id or "",
        node=node.node_info.id if node is not None else "",
        execution="" if execution == "None" else execution,
        model_uri=model.uri,
        fingerprint=model_files,
        passed_in=passed_in,
    )


def runs_of_passed_models(references: Sequence[types.Artifact]) -> Mapping[str, str]:
    """Fingerprint of the newest model of each reference -> the run in which it passed; without those not known.

    References tell it in their properties, not in their files, which are the same whatever run wrote them.
    """
    of, run = properties.NEWEST_FINGERPRINT, properties.NEWEST_RUN
    known = {r.get_string_custom_property(of): r.get_string_custom_property(run) for r in references}
    return {fingerprint: run for fingerprint, run in known.items() if fingerprint and run}
