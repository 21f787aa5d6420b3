"""Reading evidence: attributions and reference as the checks want them; whatever is wrong becomes a refusal."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from tfx_explain.artifacts.manifest import ArtifactError, Manifest, read_manifest, verify
from tfx_explain.artifacts.pins import PINNED_ROWS_FILE, PINS_FILE, Pins, named
from tfx_explain.artifacts.statistics import (
    BUCKETS_FILE,
    GROUPS_FILE,
    PREDICTIONS_FILE,
    read_groups,
    read_statistics,
)
from tfx_explain.attribution_reference.store import (
    NOTHING,
    PASSED,
    SUMMARY_FILE,
    Approved,
    PassedModel,
    Reference,
    classes_of,
    pinned_rows,
    read_references,
)
from tfx_explain.attribution_validator.checks.base import ModelEvidence, Result, SliceOfModel
from tfx_explain.attribution_validator.checks.registry import WITH_REFERENCE
from tfx_explain.attribution_validator.verdict import EVALUATOR, GateVerdict, judge_model, refusal
from tfx_explain.config import RequiredSlice, ValidationConfig
from tfx_explain.engine.aggregates.buckets import BucketStatistics
from tfx_explain.engine.aggregates.groups import GroupStatistics
from tfx_explain.engine.aggregates.intervals import Measured, number
from tfx_explain.names import ITS_CROSSES, OVERALL, SliceKey

KIND = "ModelAttributions"
_MEASURED = "measured"
_NO_GRADIENT = "no_gradient"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Attributions of the model to judge.

    Attributes:
      manifest: of the artifact.
      summary: summary.json.
      slices: bucket statistics of the overall slice, and of those that ExplainerGen was told to keep.
      groups: sums of groups of features, by slice; empty in the first artifacts.
      pins: what it was explained by.
    """

    manifest: Manifest
    summary: Mapping[str, Any]
    slices: Mapping[str, BucketStatistics]
    groups: Mapping[str, GroupStatistics]
    pins: Pins

    @property
    def statistics(self) -> BucketStatistics:
        """Of the overall slice."""
        return self.slices[OVERALL]

    @property
    def fingerprint(self) -> str:
        """Of the model that was explained."""
        return self.summary["fingerprints"]["model"]

    @property
    def made_with_reference(self) -> bool:
        """Whether its input baseline and value bins are those of models that passed."""
        return self.summary["method"]["input_baseline_source"] == "reference"

    @property
    def warnings(self) -> tuple[Result, ...]:
        """Where Evaluator judged something else than was explained: the blessing is of both, as if they were one."""
        told = self.summary.get("evaluator_differs", ())  # the first artifacts do not tell
        return tuple(Result(EVALUATOR, "INCONCLUSIVE", "warn", sentence) for sentence in told)

    @property
    def slice_keys(self) -> dict[str, SliceKey]:
        """Keys of the slices with bucket statistics, by name; without the overall one."""
        shown = self.summary.get("slices", ())
        return {
            s["name"]: tuple((str(column), value) for column, value in s["key"])
            for s in shown
            if s["key"] is not None and s["name"] in self.slices
        }

    def evidence(self, required: Sequence[RequiredSlice] = ()) -> ModelEvidence:
        """As the checks want it, with the slices that the policy requires."""
        keys, missing = self.slice_keys, {*self.summary.get("slicing", {}).get("missing", ())}
        read = {s["name"]: int(s["rows"]) for s in self.summary.get("slices", ())}
        # By place, not by name: {a: "1, b=2"} and {a: 1, b: 2} are called the same.
        names = [[name for name, key in keys.items() if r.matches(key)] for r in required]
        absent = [r for r, found in zip(required, names, strict=True) if not found]
        lacking = [r.name for r in absent]
        keys_shown = (s["key"] for s in self.summary.get("slices", ()) if s["key"] is not None)
        shown = [tuple((str(column), value) for column, value in key) for key in keys_shown]
        measured = [r.name for r in absent if any(map(r.matches, shown))]
        return ModelEvidence(
            name="this model",
            fingerprint=self.fingerprint,
            statistics=self.statistics,
            uncovered_features=tuple(self.summary["uncovered_features"]),
            blocked={
                str(name): f"{blocker['operation']} ({blocker['name']!r})"
                for name, blocker in sorted(self.summary.get("blocked_features", {}).items())
            },
            at_baseline=self._at_baseline,
            no_gradient=self.no_gradient,
            num_steps=int(self.summary["method"]["num_steps"]),
            method=str(self.summary["method"]["name"]),
            rows_read=int(self.summary["examples"]["rows"]),
            stands_for=self._stands_for,
            groups=self.groups.get(OVERALL),
            slices={
                name: SliceOfModel(self.slices[name], self.groups.get(name), read[name])
                for found in names
                for name in found
            },
            classes=classes_of(self.summary, self.manifest.read(PINNED_ROWS_FILE)),
            class_names=tuple(str(name) for name in self.summary["model"].get("class_names", ())),
            empty_slices=tuple(name for name in lacking if name in missing),
            unexplained_slices=tuple(name for name in lacking if name not in missing),
            unrequired_slices=tuple(name for name in lacking if name in measured),
        )

    @property
    def _stands_for(self) -> Measured | None:
        told = self.summary["examples"].get("stands_for") or {}  # the first artifacts do not tell
        ends = [float(told[end]) for end in ("value", "low", "high") if told.get(end) is not None]
        return Measured(*ends) if len(ends) == 3 else None

    @property
    def _at_baseline(self) -> tuple[str, ...]:
        # Not told by the first artifacts, nor where paths begin elsewhere.
        told = (self.summary.get("at_input_baseline") or {"features": {}})["features"]
        return tuple(str(name) for name, part in sorted(told.items()) if part is not None and float(part) >= 1.0)

    @property
    def no_gradient(self) -> str:
        """Why nothing was attributed, where the model has no gradient; else empty.

        Raises:
          ArtifactError: the summary says something else of its attributions.
        """
        # Artifacts from before models without gradients were measured hold attributions, or were not explained.
        said = self.summary.get("attributions", {"status": _MEASURED})
        if said["status"] not in (_MEASURED, _NO_GRADIENT) or (said["status"] == _NO_GRADIENT and not said["reason"]):
            raise ArtifactError(f"summary.json is damaged: its attributions cannot be {said!r}")
        return str(said["reason"]) if said["status"] == _NO_GRADIENT else ""

    def record(self, model_uri: str, model_id: str, approved: Approved = NOTHING) -> PassedModel:
        """What the reference keeps of it once it has passed."""
        names = [BUCKETS_FILE, PREDICTIONS_FILE, SUMMARY_FILE, PINNED_ROWS_FILE]
        names += [GROUPS_FILE] if GROUPS_FILE in self.manifest.sha256 else []
        files = {name: self.manifest.read(name) for name in names}
        return PassedModel(self.fingerprint, model_uri, model_id, files, approved)


@dataclasses.dataclass(frozen=True)
class Judged:
    """A verdict with what it was reached from, None where it could not be read, and where all that lies.

    Attributes:
      approved: the approvals that a pass rests on.
    """

    verdict: GateVerdict
    candidate: Candidate | None
    reference: Reference | None
    reference_uris: tuple[str, ...] = ()
    attributions_uri: str = ""
    evaluation: str = ""
    approved: Approved = NOTHING


class NotExplainedError(ArtifactError):
    """Sound attributions that hold none, and say why; `evaluation`: where Evaluator's result lies, or empty."""

    def __init__(self, message: str, evaluation: str):
        super().__init__(message)
        self.evaluation = evaluation


def read_candidate(uri: str) -> Candidate:
    """Reads and verifies attributions.

    Raises:
      NotExplainedError: of a model that was not explained.
      ArtifactError: unfinished, damaged, or of a newer format.
      OSError: they cannot be read.
    """
    manifest = read_manifest(uri, KIND)
    verify(manifest)
    summary = manifest.read_json(SUMMARY_FILE)
    try:
        if summary["status"] != "explained":
            reason = str(summary["reason"]).removesuffix(".")
            raise NotExplainedError(f"The model was not explained: {reason}.", _text(summary.get("evaluation")))
        if not int(summary["examples"]["explained_rows"]):
            raise ArtifactError(
                f"No row was explained: the splits {summary['examples']['splits']} hold {summary['examples']['rows']} "
                "rows; give ExplainerGen examples."
            )
        slices = read_statistics(manifest.read(BUCKETS_FILE), manifest.read(PREDICTIONS_FILE))
        candidate = Candidate(
            manifest,
            summary,
            slices,
            # The first format had no groups; in any later one a missing file is missing evidence.
            read_groups(manifest.read(GROUPS_FILE), slices) if manifest.format_version > 1 else {},
            Pins.from_json(manifest.read(PINS_FILE).decode()),
        )
        _agree(candidate)
    except ArtifactError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtifactError(f"{KIND} at {uri} is damaged: {error!r}") from error
    return candidate


def _agree(candidate: Candidate) -> None:
    """Raises unless the artifact's files say the same, and hold all that is read later."""
    summary, statistics = candidate.summary, candidate.statistics
    evidence = candidate.evidence()
    texts = [evidence.fingerprint, summary["model"]["uri"], *(f["name"] for f in summary["features"])]
    texts += [summary["method"]["input_baseline_source"], *(r.sentence for r in candidate.warnings)]
    if not all(isinstance(t, str) for t in texts):
        raise ArtifactError("summary.json is damaged: names and fingerprints must be text")
    if {f["name"] for f in summary["features"]} != set(statistics.features):
        raise ArtifactError("summary.json and the statistics name different features; run ExplainerGen again")
    if evidence.no_gradient and statistics.features:
        raise ArtifactError("summary.json says that nothing was attributed, yet the statistics hold attributions")
    rows = int(summary["examples"]["explained_rows"])
    if rows != int(statistics.scalars["rows"].sum()) or rows > evidence.rows_read:
        raise ArtifactError("summary.json and the statistics count different rows; run ExplainerGen again")
    for entry in summary.get("slices", ()):
        part = candidate.slices.get(entry["name"])
        if part is not None and int(entry["explained_rows"]) != int(part.scalars["rows"].sum()):
            raise ArtifactError(
                f"summary.json and the statistics count different rows in {entry['name']}; run ExplainerGen again"
            )
    if candidate.manifest.format_version > 1:
        told = {(name, tuple(members)) for name, members in summary["groups"].items()}
        for name in candidate.slices:
            if told != set(candidate.groups[name].groups if name in candidate.groups else ()):
                raise ArtifactError(
                    f"summary.json and the statistics of {name} hold different groups; run ExplainerGen again"
                )
    unnamed = set(candidate.slices) - set(candidate.slice_keys) - {OVERALL}
    if unnamed:
        raise ArtifactError(f"summary.json does not name the slices {sorted(unnamed)}; run ExplainerGen again")
    pinned_rows(candidate.manifest.read(PINNED_ROWS_FILE))
    candidate.pins.digest()
    candidate.pins.differences(candidate.pins, statistics.features)


def judge_artifacts(
    attributions_uri: str,
    reference_uris: Sequence[str],
    config: ValidationConfig,
    today: datetime.date,
    prior: tuple[Result, ...] = (),
) -> Judged:
    """The verdict on attributions, from files.

    Args:
      attributions_uri: folder of ModelAttributions.
      reference_uris: folders of the gate's last references, oldest first; empty on a first run.
      config: the policy.
      today: for what ends on a date.
      prior: results that are known already; they come first.
    """
    results, evaluation = list(prior), ""
    candidate: Candidate | None = None
    reference: Reference | None = None

    def judged(results: Sequence[Result], approved: Approved = NOTHING) -> Judged:
        where = tuple(reference_uris), attributions_uri, evaluation
        return Judged(GateVerdict(tuple(results)), candidate, reference, *where, approved)

    try:
        candidate = read_candidate(attributions_uri)
        evaluation = _text(candidate.summary.get("evaluation"))
        results += candidate.warnings
    except ArtifactError as error:
        results.append(refusal("attributions", str(error)))
        evaluation = error.evaluation if isinstance(error, NotExplainedError) else ""
    try:
        reference = read_references(reference_uris)
    except ArtifactError as error:
        results.append(refusal("reference", str(error)))
    if reference is not None and reference.gate_id != config.gate_id:
        sentence = (
            f"The reference belongs to gate {reference.gate_id!r}, this policy to gate {config.gate_id!r}: "
            "give each gate a node id of its own, and its resolver that id."
        )
        results.append(refusal("reference", sentence))
        reference = None
    if candidate is not None and reference is None and candidate.made_with_reference:
        sentence = (
            "The attributions were made with the input baseline and value bins of a reference, so models have passed "
            "this gate before, and the gate was given no reference: a first run must not be claimed. Give it the one "
            "that ExplainerGen had (input `reference`; on the command line --reference)."
        )
        results.append(refusal("reference", sentence))
    if candidate is None or any(r.check == "reference" for r in results):
        return judged(results)
    newest = reference.newest_other(candidate.fingerprint) if reference else None
    if reference is not None and not candidate.no_gradient:
        results += _incomparable(candidate, reference, newest)
    if any(r.check == "comparability" for r in results):
        return judged(results)
    evidence, own = candidate.evidence(config.required_slices), candidate.fingerprint
    known = reference.known_features(own) if reference else {}
    in_slices = {name: reference.known_in_slice(own, name) for name in evidence.slices} if reference else {}
    verdict = judge_model(evidence, _evidence(newest), known, config, today, in_slices)
    approved = _rests_on(evidence, newest, config, today)
    return judged((*results, *verdict.results), approved)


def _rests_on(
    candidate: ModelEvidence, newest: PassedModel | None, config: ValidationConfig, today: datetime.date
) -> Approved:
    """The approvals that a pass would rest on: those that hold, and those that the model compared with rested on.

    Were that one to leave the history, nothing else would stand for what it had handed on.
    """
    if newest is None or newest.fingerprint == candidate.fingerprint:
        return newest.approved if newest is not None else NOTHING
    used, used_before = {*candidate.used_features}, {*newest.used_features}
    new = [f for f in candidate.statistics.features if f not in used_before and config.approval(f, today) is not None]
    new += [f for f in newest.approved.new if f in used]
    removed = {f: shares for f, shares in newest.approved.removed.items() if f not in used}
    for feature in newest.statistics.features:
        if feature not in used and config.approval(feature, today) is not None:
            removed[feature] = {
                name: carried
                for name in (OVERALL, *candidate.slices)
                if name in newest.slices and (carried := _share(newest.slices[name], feature)) is not None
            }
    return Approved(tuple(dict.fromkeys(new)), removed)


def _share(statistics: BucketStatistics, feature: str) -> float | None:
    """What a feature carries in a slice, in six digits; None where nothing is attributed."""
    absolute = statistics.sums["sum_absolute"].sum(axis=0)
    total = absolute.sum()
    return number(absolute[statistics.features.index(feature)] / total) if total > 0 else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def changed_reference(
    judged: Judged, config: ValidationConfig, model_uri: str, model_id: str, fingerprint: str | None
) -> Reference | None:
    """The reference after this verdict, or None where it stays as it is.

    A refusal with a finding takes the model that was to be pushed out of the history: it is known by its files. Lack of
    evidence takes nothing out, else a short run could empty the history, and disarm the comparisons of the next; nor
    does a finding on attributions of other files, which is not about this model. Nor does a comparison with itself, of
    the last model there is: the next run, of the same files too, would be a first one, where nothing is compared.
    """
    reference, candidate = judged.reference, judged.candidate
    if judged.verdict.blessed and candidate is not None:
        record = candidate.record(model_uri, model_id, judged.approved)
        if reference is None:
            return Reference(
                config.gate_id, candidate.pins, record.files[PINNED_ROWS_FILE], (record,), (PASSED, record.fingerprint)
            )
        if reference.holds(candidate.fingerprint):
            return None
        return reference.with_model(record, candidate.pins)
    own = candidate is not None and candidate.fingerprint == fingerprint
    about = [r for r in judged.verdict.blocking if own or r.check == EVALUATOR]
    found = {r.check for r in about if r.verdict in ("FAIL", "NEEDS_APPROVAL")}
    if not found or reference is None or fingerprint is None or not reference.holds(fingerprint):
        return None
    if len(reference.models) == 1 and found & {*WITH_REFERENCE}:
        return None
    return reference.without_model(fingerprint)


def _incomparable(candidate: Candidate, reference: Reference, newest: PassedModel | None) -> list[Result]:
    """A refusal that names what differs, where the candidate was explained otherwise than the reference."""
    theirs = dict(zip(newest.statistics.features, newest.statistics.bin_sizes, strict=True)) if newest else {}
    ours = dict(zip(candidate.statistics.features, candidate.statistics.bin_sizes, strict=True))
    common = [f for f in ours if f in theirs]
    differences = candidate.pins.differences(reference.pins, common)
    resized = [f for f in common if ours[f] != theirs[f]]
    differences += [f"number of value bins of {named(resized)}"] if resized else []
    if not differences:
        return []
    sentence = (
        "The attributions cannot be compared with the models that passed, since they were made otherwise: "
        f"{'; '.join(differences[:5])}. Give ExplainerGen the gate's reference and the settings it was made with; to "
        "change them, start a new gate with a node id of its own."
    )
    return [refusal("comparability", sentence)]


def _evidence(model: PassedModel | None) -> ModelEvidence | None:
    if model is None:
        return None
    summary = model.summary
    return ModelEvidence(
        name=f"the last model that passed ({model.fingerprint[:12]})",
        fingerprint=model.fingerprint,
        statistics=model.statistics,
        uncovered_features=tuple(summary["uncovered_features"]),
        configured_groups={
            name: tuple(members)
            for name, members in summary.get("groups", {}).items()
            # Found ones come and go with the sample and the model's crosses.
            if name != " + ".join(members) and not name.endswith(ITS_CROSSES)
        },
        approved_new=model.approved.new,
        approved_removed=model.approved.removed,
        classes=model.classes,
        slices={name: SliceOfModel(part) for name, part in model.slices.items() if name != OVERALL},
    )
