"""What is upstream of two models and differs, from ML Metadata."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import zipfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_metadata as mlmd
from google.protobuf import json_format
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.dsl.io import fileio

MODEL_TYPE = "Model"
_PIPELINE, _NODE = "pipeline", "node"
_MODULES = ("module_file", "module_path")
_VERSION = "tfx_version"
# What every run writes anew, or what says nothing of content.
_UNTOLD = frozenset(
    {"create_time", "is_external", "name", "pipeline_name", "producer_component", "state", "stats_dashboard_link"}
)
_LONGEST = 60


class LineageError(ValueError):
    """The metadata store does not hold what was asked for; the message names it."""


@dataclasses.dataclass(frozen=True)
class Artifact:
    """An artifact as a lineage knows it.

    Attributes:
      id, uri, type: as in ML Metadata.
      facts: its properties that speak of content: span, version, fingerprints...
      producer: id of the node that made it, or None where that is not recorded.
    """

    id: int
    uri: str
    type: str
    facts: Mapping[str, Any]
    producer: str | None


@dataclasses.dataclass(frozen=True)
class Step:
    """One execution upstream of a model.

    Attributes:
      node: id of its pipeline node.
      execution: its id.
      properties: exec properties; JSON is parsed.
      inputs, outputs: artifacts by key.
    """

    node: str
    execution: int
    properties: Mapping[str, Any]
    inputs: Mapping[str, tuple[Artifact, ...]]
    outputs: Mapping[str, tuple[Artifact, ...]]


@dataclasses.dataclass(frozen=True)
class Difference:
    """One thing that differs at a node.

    Attributes:
      node: id of the pipeline node; empty where it is no node's.
      kind: `node`, `exec_property`, `module`, `tfx_version`, `output` (a fact of what the node wrote), or `input`.
      name: of the property, or key of the artifacts.
      passed, candidate: both values; None where one side has none.
      words: the difference as a sentence says it.
    """

    node: str
    kind: str
    name: str
    passed: Any
    candidate: Any
    words: str


@dataclasses.dataclass(frozen=True)
class LineageDiff:
    """What differs upstream of two models.

    Attributes:
      candidate_id, passed_id: of the model artifacts.
      nodes: nodes upstream of either, the nearest to the model first.
      differences: by node in that order; causes before artifacts that are merely others.
      unknown: what may differ without a trace in the metadata, in words.
    """

    candidate_id: int
    passed_id: int
    nodes: tuple[str, ...]
    differences: tuple[Difference, ...]
    unknown: tuple[str, ...] = ()

    @property
    def causes(self) -> tuple[Difference, ...]:
        """Differences that are not just another artifact of a node that is compared itself."""
        return tuple(d for d in self.differences if d.kind != "input")

    @property
    def sentences(self) -> tuple[str, ...]:
        """One a node: `Trainer: custom_config changed: features + payment_type; ...`."""
        out = []
        for node in dict.fromkeys(d.node for d in self.causes):
            words = [d.words for d in self.causes if d.node == node]
            out.append(f"{node}: {'; '.join(words)}" if node else "; ".join(words))
        return tuple(out)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "candidate_id": self.candidate_id,
            "passed_id": self.passed_id,
            "nodes": list(self.nodes),
            "sentences": list(self.sentences),
            "differences": [dataclasses.asdict(d) for d in self.differences],
            "unknown": list(self.unknown),
        }


def find_model(store: mlmd.MetadataStore, uri: str, pipeline: str | None = None) -> pb.Artifact:
    """The Model artifact with this URI, or whose folder holds it; the newest where there are several.

    Args:
      store: the metadata store.
      uri: of the artifact.
      pipeline: takes only artifacts that this pipeline made or read.

    Raises:
      LineageError: there is none.
    """
    folder = uri.rstrip("/")
    found: list[pb.Artifact] = []
    for name in (folder, f"{folder}/", os.path.dirname(folder)):  # the last for a path to Format-Serving
        found = [a for a in store.get_artifacts_by_uri(name) if a.type == MODEL_TYPE]
        if pipeline is not None:
            found = [a for a in found if pipeline in _names(store.get_contexts_by_artifact(a.id), _PIPELINE)]
        if found:
            return max(found, key=lambda a: a.id)
    where = "the metadata store" if pipeline is None else f"pipeline {pipeline!r} of the metadata store"
    raise LineageError(f"{where} must hold a Model artifact with the URI {uri}. Received: none")


def lineage_diff(
    store: mlmd.MetadataStore, candidate_model_artifact: pb.Artifact, passed_model_artifact: pb.Artifact
) -> LineageDiff:
    """Compares all that is upstream of two models, node by node.

    Where a node stands several times upstream of one model, as Trainer does with warm starts, the nearest counts.

    Args:
      store: the metadata store; only reads by id are made.
      candidate_model_artifact: Model artifact of this store, of the model that was refused.
      passed_model_artifact: of the one that passed.
    """
    ours, theirs = (upstream(store, artifact) for artifact in (candidate_model_artifact, passed_model_artifact))
    nodes = tuple(dict.fromkeys((*ours, *theirs)))
    differences: list[Difference] = []
    for node in nodes:
        if node not in theirs:
            differences.append(Difference(node, "node", node, None, ours[node].execution, "is new in the pipeline"))
        elif node not in ours:
            differences.append(Difference(node, "node", node, theirs[node].execution, None, "was taken out"))
        else:
            differences += _step_differences(theirs[node], ours[node])
    unknown = [
        f"{node}: {name} {ours[node].properties[name]} was read by both; what the file held then is not recorded"
        for node in nodes
        if node in ours and node in theirs and ours[node].execution != theirs[node].execution
        for name in _MODULES
        if _unrecorded(theirs[node].properties.get(name), ours[node].properties.get(name))
    ]
    return LineageDiff(candidate_model_artifact.id, passed_model_artifact.id, nodes, tuple(differences), tuple(unknown))


def upstream(store: mlmd.MetadataStore, artifact: pb.Artifact) -> dict[str, Step]:
    """Node id -> the step nearest to an artifact, breadth first."""
    steps: dict[str, Step] = {}
    seen: set[int] = set()
    queue = deque([artifact.id])
    while queue:
        execution = _maker(store, queue.popleft())
        if execution is None or execution.id in seen:
            continue
        seen.add(execution.id)
        node = _node(store, execution)
        if node in steps:
            continue
        steps[node] = step = _step(store, execution, node)
        queue.extend(a.id for key in sorted(step.inputs) for a in step.inputs[key])
    return steps


def _maker(store: mlmd.MetadataStore, artifact_id: int) -> pb.Execution | None:
    """The execution that wrote an artifact, the first: a cache hands it on later, a resolver by other events."""
    events = store.get_events_by_artifact_ids([artifact_id])
    ids = sorted({e.execution_id for e in events if e.type in (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT)})
    executions = store.get_executions_by_id(ids) if ids else []
    return min(executions, key=lambda e: e.id, default=None)


def _node(store: mlmd.MetadataStore, execution: pb.Execution) -> str:
    """Id of the pipeline node; the execution's type where that is not recorded."""
    contexts = store.get_contexts_by_execution(execution.id)
    pipelines = _names(contexts, _PIPELINE)
    for name in _names(contexts, _NODE):
        for pipeline in pipelines:
            if name.startswith(f"{pipeline}."):
                return name[len(pipeline) + 1 :]
        return name
    return execution.type


def _names(contexts: Iterable[pb.Context], type_name: str) -> list[str]:
    return [c.name for c in contexts if c.type == type_name]


def _step(store: mlmd.MetadataStore, execution: pb.Execution, node: str) -> Step:
    sides: dict[str, dict[str, list[int]]] = {"inputs": {}, "outputs": {}}
    for event in store.get_events_by_execution_ids([execution.id]):
        side = "inputs" if event.type in (pb.Event.INPUT, pb.Event.DECLARED_INPUT) else "outputs"
        key = event.path.steps[0].key if event.path.steps else ""
        ids = sides[side].setdefault(key, [])
        if event.artifact_id not in ids:
            ids.append(event.artifact_id)
    artifacts = {
        side: {
            key: tuple(_artifacts(store, sorted(ids), node if side == "outputs" else None))
            for key, ids in by_key.items()
        }
        for side, by_key in sides.items()
    }
    properties = {n: _value(v) for n, v in {**execution.properties, **execution.custom_properties}.items()}
    return Step(
        node,
        execution.id,
        {n: v for n, v in properties.items() if n not in _UNTOLD and not n.startswith("__")},
        artifacts["inputs"],
        artifacts["outputs"],
    )


def _artifacts(store: mlmd.MetadataStore, ids: Sequence[int], producer: str | None) -> Iterable[Artifact]:
    for artifact in store.get_artifacts_by_id(list(ids)):
        maker = None
        if producer is None:
            execution = _maker(store, artifact.id)
            maker = None if execution is None else _node(store, execution)
        facts = {n: _value(v) for n, v in {**artifact.properties, **artifact.custom_properties}.items()}
        yield Artifact(
            artifact.id,
            artifact.uri,
            artifact.type,
            {n: v for n, v in facts.items() if n not in _UNTOLD},
            producer or maker,
        )


def _value(value: pb.Value) -> Any:
    """A property as plain data; text that is a JSON object or list is parsed."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    plain = getattr(value, kind)
    if kind in ("struct_value", "proto_value"):
        return json_format.MessageToDict(plain)
    if isinstance(plain, str) and plain[:1] in ("{", "["):
        try:
            return json.loads(plain)
        except json.JSONDecodeError:
            return plain
    return plain


def _step_differences(passed: Step, candidate: Step) -> list[Difference]:
    """Causes first: settings, code, versions, facts of what was written; then inputs that are other artifacts."""
    node = candidate.node
    out: list[Difference] = []
    for name in sorted({*passed.properties, *candidate.properties}):
        before, after = passed.properties.get(name), candidate.properties.get(name)
        if name in _MODULES:
            out += _module_differences(node, name, before, after)
        elif not _same(before, after):
            out.append(Difference(node, "exec_property", name, before, after, _changed(name, before, after)))
    told = {d.name for d in out}
    for key in sorted({*passed.outputs, *candidate.outputs}):
        for name, before, after in _fact_differences(passed.outputs.get(key, ()), candidate.outputs.get(key, ())):
            kind = "tfx_version" if name == _VERSION else "output"
            if name not in told:  # one version of TFX wrote all outputs, and a span stands in several places
                told.add(name)
                out.append(Difference(node, kind, name, before, after, _changed(_spoken(name), before, after)))
    for key in sorted({*passed.inputs, *candidate.inputs}):
        out += _input_differences(node, key, passed.inputs.get(key, ()), candidate.inputs.get(key, ()))
    return out


def _fact_differences(passed: Sequence[Artifact], candidate: Sequence[Artifact]) -> Iterable[tuple[str, Any, Any]]:
    before, after = _facts(passed), _facts(candidate)
    if passed and candidate:
        for name in sorted({*before, *after}):
            if not _same(before.get(name), after.get(name)):
                yield name, before.get(name), after.get(name)


def _facts(artifacts: Sequence[Artifact]) -> dict[str, Any]:
    """Facts of one artifact; of several, the sorted distinct values of each."""
    if len(artifacts) == 1:
        return dict(artifacts[0].facts)
    names = sorted({n for a in artifacts for n in a.facts})
    return {n: sorted({json.dumps(a.facts.get(n), sort_keys=True) for a in artifacts}) for n in names}


def _input_differences(
    node: str, key: str, passed: Sequence[Artifact], candidate: Sequence[Artifact]
) -> Iterable[Difference]:
    before, after = ([{"id": a.id, "uri": a.uri} for a in side] for side in (passed, candidate))
    if [a["id"] for a in before] == [a["id"] for a in after]:
        return
    if not before or not after:
        words = f"input {key} {'was taken out' if before else 'is new'}"
        yield Difference(node, "exec_property", key, before or None, after or None, words)
        return
    unknown = any(a.producer is None for a in (*passed, *candidate))
    makers = sorted({a.producer for a in (*passed, *candidate) if a.producer is not None})
    words = f"input {key} is another artifact ({_ids(before)} -> {_ids(after)})"
    if unknown:
        # Nothing is compared above it, so this is where the difference shows.
        details = [_changed(n, b, a) for n, b, a in _fact_differences(passed, candidate)]
        details += [f"{passed[0].uri} -> {candidate[0].uri}"] if passed[0].uri != candidate[0].uri else []
        yield Difference(node, "exec_property", key, before, after, "; ".join([words, *details]))
    else:
        yield Difference(node, "input", key, before, after, f"{words} of {', '.join(makers)}")


def _ids(artifacts: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(str(a["id"]) for a in artifacts)


def _module_differences(node: str, name: str, before: Any, after: Any) -> Iterable[Difference]:
    """Code: by path, and by the files' content where they can still be read."""
    if not before and not after:
        return
    old, new = _module_files(before), _module_files(after)
    if old is not None and new is not None and _package(before) != _package(after):
        changed = sorted(n for n in {*old, *new} if old.get(n) != new.get(n))
        if not changed:
            return
        words = f"{name} changed: {', '.join(changed)}"
        yield Difference(node, "module", name, _digest(old), _digest(new), words)
    elif not _same(before, after):
        yield Difference(node, "module", name, before, after, _changed(name, before, after))


def _unrecorded(before: Any, after: Any) -> bool:
    """Whether two runs read code from one path whose name says nothing of its content, as a wheel's does."""
    return bool(after) and before == after and not _package(after).endswith(".whl")


def _package(value: Any) -> str:
    """The path within a module property: TFX writes `module@/path/of.whl`, or the path alone."""
    return str(value).partition("@")[2] or str(value)


def _module_files(value: Any) -> dict[str, str] | None:
    """SHA-256 of each source file of a module or wheel; None where it cannot be read (any more)."""
    if not value:
        return None
    path = _package(value)
    try:
        if not fileio.exists(path):
            return None
        if not path.endswith(".whl"):
            with fileio.open(path, "rb") as file:
                return {os.path.basename(path): hashlib.sha256(file.read()).hexdigest()}
        with fileio.open(path, "rb") as file, zipfile.ZipFile(file) as wheel:
            return {n: hashlib.sha256(wheel.read(n)).hexdigest() for n in wheel.namelist() if n.endswith(".py")}
    except (OSError, zipfile.BadZipFile):
        return None


def _digest(files: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()


def _same(before: Any, after: Any) -> bool:
    return json.dumps(before, sort_keys=True, default=str) == json.dumps(after, sort_keys=True, default=str)


def _spoken(name: str) -> str:
    return "TFX version" if name == _VERSION else name


def _changed(name: str, before: Any, after: Any) -> str:
    """In words: what came, went or changed; JSON is told key by key."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return f"{name} changed: {', '.join(_inner(before, after))}"
    if isinstance(before, list) and isinstance(after, list):
        return f"{name} changed: {_list_words(before, after)}"
    if "fingerprint" in name:
        return f"{name} changed"
    if before is None or after is None:
        return (
            f"{name} {'is new' if before is None else 'was taken out'} ({_short(after if before is None else before)})"
        )
    return f"{name} {_short(before)} -> {_short(after)}"


def _inner(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for key in sorted({*before, *after}, key=str):
        path = f"{prefix}{key}"
        if key not in before:
            yield f"{path} + {_short(after[key])}"
        elif key not in after:
            yield f"{path} - {_short(before[key])}"
        elif _same(before[key], after[key]):
            continue
        elif isinstance(before[key], Mapping) and isinstance(after[key], Mapping):
            yield from _inner(before[key], after[key], f"{path}.")
        elif isinstance(before[key], list) and isinstance(after[key], list):
            yield f"{path} {_list_words(before[key], after[key])}"
        else:
            yield f"{path} {_short(before[key])} -> {_short(after[key])}"


def _list_words(before: Sequence[Any], after: Sequence[Any]) -> str:
    """What came into a list and what went out of it."""
    old, new = ([json.dumps(x, sort_keys=True, default=str) for x in side] for side in (before, after))
    words = [f"+ {_short(x)}" for x, text in zip(after, new, strict=True) if text not in old]
    words += [f"- {_short(x)}" for x, text in zip(before, old, strict=True) if text not in new]
    return " ".join(words) or "in another order, or with other repetitions"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    text = " ".join(text.split())
    # The ends of paths and names tell them apart.
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 3]}…{text[-2 * _LONGEST // 3 :]}"
