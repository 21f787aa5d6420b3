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
from tfx_explain.artifacts.pins import PINNED_ROWS_FILE, PINS_FILE, Pins
from tfx_explain.artifacts.statistics import BUCKETS_FILE, PREDICTIONS_FILE, read_statistics
from tfx_explain.engine.aggregates.buckets import BucketStatistics
from tfx_explain.names import FOR_PREDICTIONS, OVERALL, PREDICTED

KIND = "AttributionReference"
REFERENCE_FILE = "reference.json"
SUMMARY_FILE = "summary.json"
MAX_MODELS = 10
WINDOW = 5
"""References that a resolver gives: the newest, and those that runs beside it may have published unseen."""

_MAX_REFUSED = 50

PASSED, REFUSED = "passed", "refused"


@dataclasses.dataclass(frozen=True)
class Approved:
    """What a pass rested on beside measurements: approvals of the policy of its day.

    Attributes:
      new: features that the model compared with did not use.
      removed: features that it used and this one does not -> what they had carried, by slice.
    """

    new: tuple[str, ...] = ()
    removed: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Approved:
        """The inverse of `to_json`."""
        removed = {str(f): {str(s): float(v) for s, v in shares.items()} for f, shares in data["removed"].items()}
        return cls(tuple(str(f) for f in data["new"]), removed)

    def to_json(self) -> dict[str, Any]:
        """As reference.json has it."""
        return {"new": list(self.new), "removed": {f: dict(shares) for f, shares in self.removed.items()}}


NOTHING = Approved()
"""A pass by measurements alone."""


@dataclasses.dataclass(frozen=True)
class PassedModel:
    """The record of one model that passed.

    Attributes:
      fingerprint: of its files; one fingerprint stands in a history once.
      model_uri, model_id: where it was.
      files: path below the record -> bytes: bucket and prediction statistics, those of groups where there are any,
        summary, predictions on pinned rows.
      approved: what its pass, and those that it followed from, rested on; nothing is known of the first records.
    """

    fingerprint: str
    model_uri: str
    model_id: str
    files: Mapping[str, bytes]
    approved: Approved = NOTHING

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
    def classes(self) -> dict[str, int] | None:
        """See `ModelEvidence`.

        Raises:
          ArtifactError: its pinned rows are damaged.
        """
        return classes_of(self.summary, self.files[PINNED_ROWS_FILE])

    @functools.cached_property
    def slices(self) -> dict[str, BucketStatistics]:
        """Its bucket statistics, by slice: the overall one, and those that were required of it.

        Raises:
          StatisticsFormatError: they are damaged.
        """
        return read_statistics(self.files[BUCKETS_FILE], self.files[PREDICTIONS_FILE])

    @property
    def statistics(self) -> BucketStatistics:
        """Those of the overall slice."""
        return self.slices[OVERALL]


@dataclasses.dataclass(frozen=True)
class Reference:
    """What a gate remembers.

    Attributes:
      gate_id: the gate whose verdicts it holds.
      pins: what every later model must share.
      pinned_rows: bytes of pinned_rows.parquet: role, id, example, prediction of the first model.
      models: models that passed, oldest first, at most MAX_MODELS; may be empty after a refusal.
      event: (PASSED or REFUSED, fingerprint): the verdict that made this reference.
      seen: digests of the published references that this one was made with the knowledge of.
      refused: fingerprints of the last models that were refused and have not passed since.
    """

    gate_id: str
    pins: Pins
    pinned_rows: bytes
    models: tuple[PassedModel, ...]
    event: tuple[str, str]
    seen: frozenset[str] = frozenset()
    refused: tuple[str, ...] = ()

    def newest_other(self, fingerprint: str) -> PassedModel | None:
        """The newest model but the one with this fingerprint; that one where there is no other."""
        others = [m for m in self.models if m.fingerprint != fingerprint]
        return others[-1] if others else self.models[-1] if self.models else None

    def holds(self, fingerprint: str) -> bool:
        """Whether a model with this fingerprint has passed and stands in the history."""
        return any(m.fingerprint == fingerprint for m in self.models)

    def known_features(self, fingerprint: str) -> dict[str, float]:
        """Features that any other model used, with the share that each had in the newest of those that used it.

        A model that passed is no witness for itself: what it was approved for then needs an approval that holds now.
        """
        out: dict[str, float] = {}
        for model in (m for m in self.models if m.fingerprint != fingerprint):
            out |= dict.fromkeys(model.summary["uncovered_features"], 0.0)
            out |= {f["name"]: f["share"] or 0.0 for f in model.summary["features"]}
        return out

    def known_in_slice(self, fingerprint: str, name: str) -> dict[str, float]:
        """As `known_features`, with the share in a slice, of those models alone that were measured there."""
        out: dict[str, float] = {}
        for model in (m for m in self.models if m.fingerprint != fingerprint and name in m.slices):
            absolute = model.slices[name].sums["sum_absolute"].sum(axis=0)
            if absolute.sum() > 0:
                out |= dict(zip(model.slices[name].features, (absolute / absolute.sum()).tolist(), strict=True))
        return out

    def with_model(self, model: PassedModel, pins: Pins) -> Reference:
        """This reference after one more model passed; `pins` may know more features."""
        others = tuple(m for m in self.models if m.fingerprint != model.fingerprint)
        event, refused = (PASSED, model.fingerprint), tuple(f for f in self.refused if f != model.fingerprint)
        models = (*others, model)[-MAX_MODELS:]
        return dataclasses.replace(self, pins=pins, models=models, event=event, refused=refused)

    def without_model(self, fingerprint: str) -> Reference:
        """This reference after a model in it was refused."""
        models = tuple(m for m in self.models if m.fingerprint != fingerprint)
        refused = (*(f for f in self.refused if f != fingerprint), fingerprint)[-_MAX_REFUSED:]
        return dataclasses.replace(self, models=models, event=(REFUSED, fingerprint), refused=refused)

    def after(self, other: Reference) -> Reference:
        """This reference with the verdict of one that a run beside it published, and that it was made without.

        Of two verdicts on one model this one, the newer, holds. A record that was made by other pins, as by two first
        runs beside each other, is not comparable and stays out.
        """
        known = self
        for refused in other.refused:
            if refused != self.event[1]:
                known = dataclasses.replace(known.without_model(refused), event=self.event)
        return known._with_pass_of(other)

    def _with_pass_of(self, other: Reference) -> Reference:
        verdict, fingerprint = other.event
        record = next((m for m in other.models if m.fingerprint == fingerprint), None)
        if verdict != PASSED or record is None or fingerprint == self.event[1] or self.holds(fingerprint):
            return self
        theirs = [f for f in record.statistics.features if f in self.pins.cut_policies]
        if other.pins.differences(self.pins, theirs):
            return self
        older, newest = (self.models[:-1], self.models[-1:]) if self.event[0] == PASSED else (self.models, ())
        pins = dataclasses.replace(
            self.pins,
            input_baseline=dict(other.pins.input_baseline) | dict(self.pins.input_baseline),
            bins=dict(other.pins.bins) | dict(self.pins.bins),
            cut_policies=dict(other.pins.cut_policies) | dict(self.pins.cut_policies),
        )
        return dataclasses.replace(self, pins=pins, models=(*older, record, *newest)[-MAX_MODELS:])

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
    for column, wanted in (("role", pa.string()), ("id", pa.string()), ("example", pa.binary())):
        found = table.schema.field(column).type
        if found != wanted or table[column].null_count:
            raise ArtifactError(f"{PINNED_ROWS_FILE} must hold a {wanted} in each {column!r}. Received: {found}")
    return tuple(zip(*(table[c].to_pylist() for c in ("role", "id", "example")), strict=True))


def classes_of(summary: Mapping[str, Any], data: bytes) -> dict[str, int] | None:
    """By id, the likeliest column of each row that is pinned for predictions, as far as the model could run it.

    Args:
      summary: summary.json; None is given where it names another target than each row's likeliest column.
      data: pinned_rows.parquet.

    Raises:
      ArtifactError: the predictions are no lists of numbers.
    """
    if summary["model"].get("target") != PREDICTED:
        return None
    try:
        table = pq.read_table(pa.BufferReader(data), columns=["role", "id", "prediction"])
        rows = zip(*(table[c].to_pylist() for c in ("role", "id", "prediction")), strict=True)
        return {row: max(range(len(p)), key=p.__getitem__) for role, row, p in rows if role == FOR_PREDICTIONS and p}
    except (pa.ArrowException, KeyError, TypeError) as error:
        raise ArtifactError(f"{PINNED_ROWS_FILE} is damaged: {error}") from error


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
                "approved": model.approved.to_json(),
            }
        )
        for name, data in model.files.items():
            stage.write(f"{folder}/{name}", data)
    content = {
        "gate_id": reference.gate_id,
        "models": entries,
        "event": {"verdict": reference.event[0], "fingerprint": reference.event[1]},
        "seen": sorted(reference.seen),
        "refused": list(reference.refused),
    }
    stage.write(REFERENCE_FILE, json.dumps(content, sort_keys=True, indent=1))
    stage.finish(KIND)


def read_references(uris: Sequence[str]) -> Reference | None:
    """What a gate remembers, from the last references that its runs published.

    Runs beside each other do not see one another's verdicts: each publishes what it knew, and its own. So what the
    newest was made without is taken over here: no pass is lost by it, and no refused model comes back.

    Args:
      uris: folders, oldest first; the newest holds whatever was published before the oldest.

    Raises:
      ArtifactError: one is unfinished, damaged or of a newer format.
      OSError: one cannot be read.
    """
    if not uris:
        return None
    digests = [read_manifest(uri, KIND).digest for uri in uris]
    reference = read_reference(uris[-1])
    for uri, digest in zip(uris[:-1], digests[:-1], strict=True):
        if digest not in reference.seen:
            other = read_reference(uri)
            reference = reference.after(other) if other.gate_id == reference.gate_id else reference
    return dataclasses.replace(reference, seen=frozenset(digests))


def read_reference(uri: str) -> Reference:
    """Reads and verifies one AttributionReference.

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
        event = str(data["event"]["verdict"]), str(data["event"]["fingerprint"])
        rows, seen = manifest.read(PINNED_ROWS_FILE), frozenset(data["seen"])
        refused = tuple(str(f) for f in data["refused"])
        reference = Reference(str(data["gate_id"]), pins, rows, models, event, seen, refused)
        for model in models:
            _ = (
                model.statistics,
                model.used_features,
                model.classes,
            )  # read now, so that what is damaged is told by name
    except ArtifactError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtifactError(f"{KIND} at {uri} is damaged: {error!r}") from error
    return reference


def _model(manifest: Manifest, entry: Mapping[str, Any]) -> PassedModel:
    names: Sequence[str] = entry["files"]
    files = {name: manifest.read(f"{entry['folder']}/{name}") for name in names}
    approved = Approved.from_json(entry["approved"]) if "approved" in entry else NOTHING
    return PassedModel(entry["fingerprint"], entry["model_uri"], entry["model_id"], files, approved)
