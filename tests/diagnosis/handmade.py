"""A metadata store as TFX writes it, without running anything."""

import json

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

PIPELINE = "taxi"


class Handmade:
    """In memory, or in a SQLite file."""

    def __init__(self, path=None):
        config = pb.ConnectionConfig()
        if path is None:
            config.fake_database.SetInParent()
        else:
            config.sqlite.filename_uri = str(path)
        self.store = mlmd.MetadataStore(config)
        self._pipeline = self._context("pipeline", PIPELINE)
        self._nodes: dict[str, pb.Context] = {}

    def _context(self, type_name, name):
        type_id = self.store.put_context_type(pb.ContextType(name=type_name))
        context = pb.Context(type_id=type_id, name=name)
        context.id = self.store.put_contexts([context])[0]
        return context

    def artifact(self, type_name, uri, **facts):
        type_id = self.store.put_artifact_type(pb.ArtifactType(name=type_name))
        out = pb.Artifact(type_id=type_id, uri=uri)
        _fill(out, facts)
        return out

    def run(self, node, inputs, outputs, state=pb.Execution.COMPLETE, **properties):
        """One execution; inputs and outputs are artifacts by key. Gives the outputs with their ids."""
        if node not in self._nodes:
            self._nodes[node] = self._context("node", f"{PIPELINE}.{node}")
        type_id = self.store.put_execution_type(pb.ExecutionType(name=f"tfx.{node}"))
        execution = pb.Execution(type_id=type_id, last_known_state=state)
        _fill(execution, properties)
        pairs = []
        for kind, artifacts in ((pb.Event.INPUT, inputs), (pb.Event.OUTPUT, outputs)):
            for key, artifact in artifacts.items():
                event = pb.Event(type=kind)
                event.path.steps.add().key = key
                event.path.steps.add().index = 0
                pairs.append((artifact, event))
        _, ids, _ = self.store.put_execution(execution, pairs, [self._pipeline, self._nodes[node]])
        for (artifact, _), artifact_id in zip(pairs, ids, strict=True):
            artifact.id = artifact_id
        (fresh,) = self.store.get_artifacts_by_id([list(outputs.values())[0].id])
        return fresh


def _fill(message, facts):
    for name, value in facts.items():
        if isinstance(value, int):
            message.custom_properties[name].int_value = value
        else:
            message.custom_properties[name].string_value = value if isinstance(value, str) else json.dumps(value)
