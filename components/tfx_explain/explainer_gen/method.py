"""Which method explains a batch of a model, and how that is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tfx_explain.artifacts.text_fingerprint import text_fingerprint
from tfx_explain.config import COMPLETE_METHODS, ExplainConfig
from tfx_explain.engine.feature_graph import CompiledModel, Encoded, FeatureModel
from tfx_explain.engine.feature_graph.errors import ExampleError
from tfx_explain.engine.methods.attributions import Attributions
from tfx_explain.engine.methods.expected_gradients import expected_gradients
from tfx_explain.engine.methods.gradient import AT_X, gradient, gradient_x_input
from tfx_explain.engine.methods.integrated_gradients import integrated_gradients
from tfx_explain.engine.methods.quadrature import gauss_legendre
from tfx_explain.engine.methods.smoothgrad import smooth_gradients, smoothgrad, spreads_of
from tfx_explain.explainer_gen.columns import decode
from tfx_explain.explainer_gen.image_baselines import BaselineRows
from tfx_explain.explainer_gen.row_ids import hexadecimal, row_ids
from tfx_explain.explainer_gen.sampled import BACKGROUND
from tfx_explain.explainer_gen.usable_model import not_finite, raw_names

FROM_INPUT_BASELINE = ("integrated_gradients", "gradient_x_input")
"""Methods that attribute 0 to a feature whose value is the input baseline's."""


COMPILED_GRADIENTS = 2_500_000
"""Gradients of a job from which compiling pays: it saves some 0.3 CPU-us each, and takes a second or more a worker."""


class MethodError(ValueError):
    """The configured method cannot explain this model; the message says why."""


class BatchMethod:
    """The configured method, ready for batches of one model.

    Attributes:
      background_rows: how many rows expected gradients start from; 0 for other methods.
      background_digest: SHA-256 of those rows' ids; empty for other methods.
    """

    def __init__(
        self, model: FeatureModel, config: ExplainConfig, input_baseline: BaselineRows, background: Sequence[bytes]
    ):
        """Encodes the background, or measures the spread of the cut, where the method needs it.

        Args:
          model: what is explained.
          config: `method` and its settings.
          input_baseline: where each row's path begins.
          background: serialised examples that expected gradients start from; those that the model cannot run are left
            out. Their order does not matter.

        Raises:
          MethodError: the method needs background rows, and the model can run none.
        """
        self._model, self._config, self._baseline = model, config, input_baseline
        self._compiled = CompiledModel(model)
        self.background_rows, self.background_digest = 0, ""
        if config.method == "expected_gradients":
            ids, self._background = _encoded_background(model, background)
            if not ids:
                raise MethodError(
                    "expected gradients need background rows that the model can run: give ExplainerGen examples. "
                    f"Received: {len(background)} rows, of which it can run none"
                )
            self.background_rows, self.background_digest = len(ids), text_fingerprint("\n".join(ids))
        if config.method in ("gradient", "smoothgrad"):
            self._scalars = frozenset(
                name
                for name, shapes in model.cut_shapes.items()
                if name not in model.open_shapes and _is_one_number(shapes)
            )
        if config.method == "smoothgrad":
            self._spreads = spreads_of(model.encode(model.opened.sample).by_feature(), model.open_shapes)

    def attributions(
        self, encoded: Encoded, target: int | np.ndarray, ids: np.ndarray, valid: np.ndarray, rows_of_job: int = 0
    ) -> Attributions:
        """Explains one batch of the fixed shape.

        Args:
          encoded: rows of the batch, padding included.
          target: output column, one for all rows or int [rows].
          ids: ids of the rows without the padding, S16 [n <= rows]; a row's noise is seeded by its id.
          valid: bool [rows]; the others are never run again.
          rows_of_job: rows in all batches; a job with `COMPILED_GRADIENTS` compiles its paths.
        """
        model, config = self._model, self._config
        if config.method == "expected_gradients":
            nodes = config.expected_gradients
            return expected_gradients(
                self._paths(rows_of_job, len(self._background) * nodes.num_steps),
                encoded,
                self._background,
                target,
                num_steps=nodes.num_steps,
                repair_steps=nodes.repair_steps,
                valid=valid,
            )
        if config.method == "gradient_x_input":
            return gradient_x_input(model, encoded, self._baseline.of(encoded), target)
        if config.method == "gradient":
            return gradient(model, encoded, target, self._scalars)
        if config.method == "smoothgrad":
            noise = config.smoothgrad
            return smoothgrad(
                model,
                encoded,
                target,
                _row_seeds(ids, len(encoded)),
                self._spreads,
                self._scalars,
                samples=noise.samples,
                noise_level=noise.noise_level,
                squared=noise.squared,
            )
        return integrated_gradients(
            self._paths(rows_of_job, config.integrated_gradients.num_steps),
            encoded,
            self._baseline.of(encoded),
            target,
            num_steps=config.integrated_gradients.num_steps,
            repair_steps=config.integrated_gradients.repair_steps,
            valid=valid,
        )

    def _paths(self, rows: int, gradients: int) -> FeatureModel | CompiledModel:
        """What integrates, by the number of rows and of gradients for each: never by what one worker gets."""
        return self._compiled if rows * gradients >= COMPILED_GRADIENTS else self._model

    def elements(
        self, encoded: Encoded, target: np.ndarray, ids: np.ndarray, num_steps: int, features: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Attributions of the single elements of some features' cuts: float32 [rows, ...].

        Channels of a pixel and entries of a token's embedding are summed, or make one Euclidean norm where the method
        gives norms; so elements add up to the feature's attribution, or their squares to its square.

        Args:
          encoded: rows.
          target: int [rows].
          ids: of the rows, S16 [n <= rows]; the others are padding.
          num_steps: nodes of each row's own attributions, after its repairs.
          features: those of `cut_shapes` with one shape.
        """
        model, config = self._model, self._config
        if config.method == "expected_gradients":
            nodes = gauss_legendre(num_steps // self.background_rows)
            sums: dict[str, np.ndarray] = {}
            for row in self._background:
                for name, values in model.path_gradients(
                    encoded, row, target, *nodes, elements=features
                ).elements.items():
                    sums[name] = sums.get(name, 0.0) + values.astype(np.float64)
            return {name: (total / len(self._background)).astype(np.float32) for name, total in sums.items()}
        if config.method in FROM_INPUT_BASELINE:
            nodes = gauss_legendre(num_steps) if config.method == "integrated_gradients" else AT_X
            return dict(
                model.path_gradients(encoded, self._baseline.of(encoded), target, *nodes, elements=features).elements
            )
        squared = config.method == "smoothgrad" and config.smoothgrad.squared
        if config.method == "gradient":
            gradients = model.gradients(encoded, target)
        else:
            noise = config.smoothgrad
            seeds = _row_seeds(ids, len(encoded))
            gradients = smooth_gradients(
                model,
                encoded,
                target,
                seeds,
                self._spreads,
                samples=noise.samples,
                noise_level=noise.noise_level,
                squared=squared,
            )
        cuts = encoded.by_feature()
        return {name: _by_element(gradients[name], cuts[name], squared) for name in features}


def _by_element(gradient: np.ndarray, cuts: Sequence[np.ndarray], squared: bool) -> np.ndarray:
    """The gradient [rows, n] of a feature's cut tensors, one number an element: signed where the cut is [rows, n]."""
    shape = tuple(cuts[0].shape)
    total = np.zeros(shape[:-1] if len(shape) > 2 else shape)
    for part in np.split(np.asarray(gradient, np.float64), len(cuts), axis=1):
        values = part.reshape(shape)
        if len(shape) > 2:
            values = (values if squared else values**2).sum(axis=-1)
        elif len(cuts) > 1 and not squared:
            values = values**2
        total += values
    return (np.sqrt(total) if not squared and (len(shape) > 2 or len(cuts) > 1) else total).astype(np.float32)


def background_examples(
    pinned_rows: Iterable[tuple[str, str, bytes]], picked: Iterable[tuple[str, str, bytes]]
) -> list[bytes]:
    """The background: the reference's rows where it pins some, else this sample's; each (role, id, example)."""
    pinned = [row for row in pinned_rows if row[0] == BACKGROUND]
    return [raw for role, _, raw in sorted(pinned or picked) if role == BACKGROUND]


def method_record(config: ExplainConfig, background_rows: int = 0, unit: str | None = None) -> dict[str, Any]:
    """How the attributions were made, for summary.json.

    `num_steps` counts the gradients behind every row before any repair, of all paths together.

    Args:
      config: `method` and its settings.
      background_rows: see `BatchMethod`.
      unit: of the explained value, where it is known.
    """
    out: dict[str, Any] = {"name": config.method, "is_complete": config.method in COMPLETE_METHODS}
    if config.method == "integrated_gradients":
        nodes = config.integrated_gradients
        out |= {"num_steps": nodes.num_steps, "repair_steps": list(nodes.repair_steps)}
    elif config.method == "expected_gradients":
        expected = config.expected_gradients
        out |= {
            "num_steps": background_rows * expected.num_steps,
            "repair_steps": [background_rows * steps for steps in expected.repair_steps],
            "background_rows": background_rows,
            "steps_per_background_row": expected.num_steps,
        }
    elif config.method == "smoothgrad":
        out |= {"num_steps": config.smoothgrad.samples, "repair_steps": [], **config.smoothgrad.model_dump()}
    else:
        out |= {"num_steps": 1, "repair_steps": []}
    if unit is not None:
        out["unit"] = _unit(config, unit)
    return out


def pinned_settings(config: ExplainConfig, background_digest: str) -> dict[str, Any]:
    """What two models' attributions must share of the method to be comparable. Nodes are precision, and left out."""
    out: dict[str, Any] = {"method": config.method}
    if config.method == "expected_gradients":
        out["background"] = background_digest
    if config.method == "smoothgrad":
        out["smoothgrad"] = config.smoothgrad.model_dump()
    return out


def _unit(config: ExplainConfig, unit: str) -> str:
    if config.method not in ("gradient", "smoothgrad"):
        return unit
    squared = config.method == "smoothgrad" and config.smoothgrad.squared
    return f"({unit} per unit of the cut tensor)^2" if squared else f"{unit} per unit of the cut tensor"


def _is_one_number(shapes: Sequence[tuple[int, ...]]) -> bool:
    return len(shapes) == 1 and all(length == 1 for length in shapes[0])


def _encoded_background(model: FeatureModel, examples: Sequence[bytes]) -> tuple[list[str], list[Encoded]]:
    """(ids, encoded rows, each a batch of one) of the rows that the model can run, by rising id."""
    columns = decode(examples)
    good = columns.readable.copy()
    for _, rows in not_finite(columns, raw_names(model)):
        good[rows] = False
    names = hexadecimal(row_ids(columns, examples)) if len(examples) else []
    by_id = {name: raw for name, raw, ok in zip(names, examples, good, strict=True) if ok}
    ids, encoded = [], []
    for name in sorted(by_id):
        try:
            row = model.encode([by_id[name]])
        except ExampleError:
            continue
        if np.isfinite(model.predict(row)).all():
            ids.append(name)
            encoded.append(row)
    return ids, encoded


def _row_seeds(ids: np.ndarray, rows: int) -> np.ndarray:
    """Half of each row's id, uint64 [rows]; padding has 0."""
    seeds = np.zeros(rows, np.uint64)
    seeds[: len(ids)] = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2)[:, 0]
    return seeds
