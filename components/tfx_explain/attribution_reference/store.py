"""AttributionReference on disk: pins, pinned rows, and the records of the last models that passed."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tfx_explain.artifacts.manifest import ArtifactError, Manifest, Stage, read_manifest, verify
from tfx_explain.artifacts.pins import PINS_FILE, Pins
from tfx_explain.artifacts.statistics import (
    BUCKETS_FILE,
    PREDICTIONS_FILE,
    StatisticsFormatError,
    read_statistics,
)
from tfx_explain.engine.aggregates.buckets import BucketStatistics

KIND = "AttributionReference"
REFERENCE_FILE = "reference.json"
PINNED_ROWS_FILE = "pinned_rows.parquet"
SUMMARY_FILE = "summary.json"
MAX_MODELS = 10


@dataclasses.dataclass(frozen=True)
class PassedModel:
    """The record of one model that passed.

    Attributes:
      fingerprint: of its files; one fingerprint stands in a history once.
      model_uri, model_id: where it was.
      files: path below the record -> bytes: bucket and prediction statistics, summary, predictions on pinned rows.
    """

    fingerprint: str
    model_uri: str
    model_id: str
    files: Mapping[str, bytes]

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """summary.json of its attributions."""
        return json.loads(self.files[SUMMARY_FILE])

    @property
    def used_features(self) -> tuple[str, ...]:
        """Features with a path to its output."""
        summary = self.summary
        return (*(f["name"] for f in summary["features"]), *summary["uncovered_features"])

    @functools.cached_property
    def statistics(self) -> BucketStatistics:
        """Its bucket statistics.

        Raises:
          StatisticsFormatError: they are damaged.
        """
        return read_statistics(self.files[BUCKETS_FILE], self.files[PREDICTIONS_FILE])


@dataclasses.dataclass(frozen=True)
class Reference:
    """What a gate remembers.

    Attributes:
      gate_id: the gate whose verdicts it holds.
      pins: what every later model must share.
      pinned_rows: bytes of pinned_rows.parquet: role, id, example, prediction of the first model.
      models: models that passed, oldest first, at most MAX_MODELS; may be empty after a refusal.
    """

    gate_id: str
    pins: Pins
    pinned_rows: bytes
    models: tuple[PassedModel, ...]

    def newest_other(self, fingerprint: str) -> PassedModel | None:
        """The newest model but the one with this fingerprint; that one where there is no other."""
        others = [m for m in self.models if m.fingerprint != fingerprint]
        return others[-1] if others else self.models[-1] if self.models else None

    def holds(self, fingerprint: str) -> bool:
        """Whether a model with this fingerprint has passed and stands in the history."""
        return any(m.fingerprint == fingerprint for m in self.models)

    def with_model(self, model: PassedModel, pins: Pins) -> Reference:
        """This reference after one more model passed; `pins` may know more features."""
        others = tuple(m for m in self.models if m.fingerprint != model.fingerprint)
        return dataclasses.replace(self, pins=pins, models=(*others, model)[-MAX_MODELS:])

    def without_model(self, fingerprint: str) -> Reference:
        """This reference after a model in it was refused."""
        return dataclasses.replace(self, models=tuple(m for m in self.models if m.fingerprint != fingerprint))

    def rows(self) -> tuple[tuple[str, str, bytes], ...]:
        """(role, id, example) of the pinned rows."""
        return pinned_rows(self.pinned_rows)


def pinned_rows(data: bytes) -> tuple[tuple[str, str, bytes], ...]:
    """(role, id, example) of pinned_rows.parquet.

    Raises:
      ArtifactError: it is no such file.
    """
    try:
        table = pq.read_table(pa.BufferReader(data), columns=["role", "id", "example"])
    except (pa.ArrowException, KeyError) as error:
        raise ArtifactError(f"{PINNED_ROWS_FILE} is damaged: {error}") from error
    return tuple(zip(*(table[c].to_pylist() for c in ("role", "id", "example")), strict=True))


def write_reference(uri: str, reference: Reference) -> None:
    """Writes a finished AttributionReference to its folder."""
    stage = Stage(uri)
    stage.write(PINS_FILE, reference.pins.to_json())
    stage.write(PINNED_ROWS_FILE, reference.pinned_rows)
    entries = []
    for number, model in enumerate(reference.models):
        folder = f"models/{number:02d}-{model.fingerprint[:16]}"
        entries.append(
            {
                "fingerprint": model.fingerprint,
                "model_uri": model.model_uri,
                "model_id": model.model_id,
                "folder": folder,
                "files": sorted(model.files),
            }
        )
        for name, data in model.files.items():
            stage.write(f"{folder}/{name}", data)
    stage.write(REFERENCE_FILE, json.dumps({"gate_id": reference.gate_id, "models": entries}, sort_keys=True, indent=1))
    stage.finish(KIND)


def read_reference(uri: str) -> Reference:
    """Reads and verifies an AttributionReference.

    Raises:
      ArtifactError: it is unfinished, damaged or of a newer format.
      OSError: it cannot be read.
    """
    manifest = read_manifest(uri, KIND)
    verify(manifest)
    data = manifest.read_json(REFERENCE_FILE)
    try:
        models = tuple(_model(manifest, entry) for entry in data["models"])
        pins = Pins.from_json(manifest.read(PINS_FILE).decode())
        reference = Reference(str(data["gate_id"]), pins, manifest.read(PINNED_ROWS_FILE), models)
        for model in models:
            _ = model.statistics, model.used_features  # read now, so that what is damaged is told by name
    except (KeyError, TypeError, UnicodeDecodeError, StatisticsFormatError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{KIND} at {uri} is damaged: {error!r}") from error
    return reference


def _model(manifest: Manifest, entry: Mapping[str, Any]) -> PassedModel:
    names: Sequence[str] = entry["files"]
    files = {name: manifest.read(f"{entry['folder']}/{name}") for name in names}
    return PassedModel(entry["fingerprint"], entry["model_uri"], entry["model_id"], files)
