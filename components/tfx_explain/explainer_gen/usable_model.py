"""Loads the model on the rows of the sample that it can run."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfx_explain.engine.feature_graph import FeatureModel, PredictionModel
from tfx_explain.engine.feature_graph.errors import ExampleError, NoGradientError, UnsupportedOpError
from tfx_explain.engine.feature_graph.loading import LoadedSignature, load_signature
from tfx_explain.explainer_gen.columns import Columns, decode
from tfx_explain.explainer_gen.job_spec import JobSpec, ModelFacts

_MIN_SAMPLE = 16


def load_model(
    spec: JobSpec, sample: Sequence[bytes], baseline: bytes, policies: Mapping[str, str]
) -> FeatureModel | PredictionModel:
    """Loads the model; it is split and verified on the rows of the sample that it can run.

    A model without gradients is loaded for its predictions alone.
    """
    logging.getLogger(__name__).info("loading the model at %s", spec.model_path)
    import_libraries(spec.config.op_libraries)
    columns = decode(sample)

    def finite(names: Collection[str] | None) -> list[bytes]:
        good = columns.readable.copy()
        for _, bad in not_finite(columns, names):
            good[bad] = False
        return [raw for raw, ok in zip(sample, good, strict=True) if ok]

    rows = finite(None)

    def load(usable: Sequence[bytes]) -> FeatureModel | PredictionModel:
        if not usable:
            raise ExampleError(
                f"the model can run none of the {len(sample)} rows of the sample: they are no tf.Examples, not finite, "
                "or lack features that its parser asks for"
            )
        config = spec.config
        opening: dict[str, Any] = {
            "sample": usable,
            "signature": config.signature,
            "preprocessing_function": config.preprocessing_function,
            "input_features": config.input_features,
            "output": config.output,
            "unit": config.unit,
            "from_logits": config.from_logits,
        }
        try:
            return FeatureModel.load(spec.model_path, **opening, input_baseline=baseline, cut_policies=policies)
        except NoGradientError as error:
            return PredictionModel.load(
                spec.model_path,
                **opening,
                integer_output=config.integer_output,
                class_names=config.class_names,
                reason=str(error),
            )

    if len(rows) < min(_MIN_SAMPLE, len(sample)):
        # A column that is never finite says nothing against rows of a model that does not read it.
        model = load(finite(()))
        rows = finite(raw_names(model))
    try:
        return load(rows)
    except ExampleError:
        config = spec.config
        loaded = load_signature(
            spec.model_path, config.signature, config.preprocessing_function, rows, config.input_features
        )
        return load([row for row in rows if _runs(loaded, row)])


def import_libraries(modules: Sequence[str]) -> None:
    """Imports what registers a model's operations.

    Raises:
        UnsupportedOpError: a module cannot be imported here.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UnsupportedOpError(
                f"op_libraries must be Python modules that every worker can import: install {module!r} there, in the "
                f"release that the model was exported with. Received: {error}"
            ) from error


def raw_names(model: FeatureModel | PredictionModel | ModelFacts) -> set[str]:
    """Names of the raw features that a model uses: each as it is, and the parts of a cross `a x b`."""
    return {part for f in (*model.features, *model.uncovered_features) for part in (f, *f.split(" x "))}


def _runs(loaded: LoadedSignature, row: bytes) -> bool:
    try:
        loaded.outputs(np.array([row], object))
    except tf.errors.InvalidArgumentError:
        return False
    return True


def not_finite(columns: Columns, names: Collection[str] | None = None) -> Iterable[tuple[str, np.ndarray]]:
    """(feature, rows) of float features that hold NaN or infinity."""
    for (name, kind), column in columns.columns.items():
        if kind == "f" and (names is None or name in names) and not np.isfinite(column.values).all():
            yield name, np.unique(np.repeat(np.arange(columns.rows), column.lengths)[~np.isfinite(column.values)])
