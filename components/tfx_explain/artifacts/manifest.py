"""Artifacts as finished sets of files: staged, moved into place, closed by a manifest that readers go through."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import posixpath
from collections.abc import Mapping
from typing import Any

from tfx.dsl.io import fileio

from tfx_explain.artifacts.properties import FORMAT_VERSION

MANIFEST_FILE = "manifest.json"
_STAGING = "_incomplete"


class ArtifactError(ValueError):
    """What an artifact holds is not what it should; the message is a sentence for the person on call."""


class NewerFormatError(ArtifactError):
    """The artifact was written by a later release."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The files of a finished artifact.

    Attributes:
      uri: the artifact's folder.
      kind: its type's name.
      format_version: of the release that wrote it.
      rows: path -> rows, 0 where it has none.
      sha256: path -> SHA-256 in hexadecimal.
      content: facts of the kind, e.g. the map of columns.
    """

    uri: str
    kind: str
    format_version: int
    rows: Mapping[str, int]
    sha256: Mapping[str, str]
    content: Mapping[str, Any]

    def read(self, path: str) -> bytes:
        """A file's bytes, checked against its sum.

        Raises:
          ArtifactError: the manifest does not list it, or its bytes are others than those that were written.
        """
        if path not in self.sha256:
            raise ArtifactError(f"{self.kind} at {self.uri} lists no file {path!r}")
        with fileio.open(os.path.join(self.uri, path), "rb") as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != self.sha256[path]:
            raise ArtifactError(
                f"file {path!r} of {self.kind} at {self.uri} was changed or cut short after it was written "
                f"({len(data)} bytes are left); run the component that wrote it again"
            )
        return data

    def read_json(self, path: str) -> Any:
        """A JSON file."""
        try:
            return json.loads(self.read(path))
        except json.JSONDecodeError as error:
            raise ArtifactError(f"file {path!r} of {self.kind} at {self.uri} is no JSON: {error}") from error

    @property
    def digest(self) -> str:
        """SHA-256 over the sums of all files: the artifact's content in one word."""
        return hashlib.sha256(json.dumps(dict(self.sha256), sort_keys=True).encode()).hexdigest()


class Stage:
    """Files of an artifact in the making. What an earlier, killed attempt left is removed first."""

    def __init__(self, uri: str):
        if fileio.exists(uri):
            fileio.rmtree(uri)
        self.uri = uri
        self.folder = os.path.join(uri, _STAGING)
        fileio.makedirs(self.folder)

    def write(self, path: str, data: bytes | str) -> None:
        """Adds a file."""
        target = os.path.join(self.folder, path)
        fileio.makedirs(os.path.dirname(target))
        with fileio.open(target, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)

    def read(self, path: str) -> bytes:
        """A staged file's bytes."""
        with fileio.open(os.path.join(self.folder, path), "rb") as file:
            return file.read()

    def remove(self, path: str) -> None:
        """Takes a staged file away."""
        fileio.remove(os.path.join(self.folder, path))

    def finish(
        self, kind: str, rows: Mapping[str, int] | None = None, content: Mapping[str, Any] | None = None
    ) -> None:
        """Moves every staged file into place, then writes the manifest: from then on the artifact exists.

        Args:
          kind: the type's name.
          rows: path -> rows, of the files that have rows.
          content: facts of the kind.
        """
        files = []
        for path in list_files(self.folder):
            data = self.read(path)
            target = os.path.join(self.uri, path)
            fileio.makedirs(os.path.dirname(target))
            fileio.rename(os.path.join(self.folder, path), target)
            files.append(
                {
                    "path": path,
                    "bytes": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "rows": int((rows or {}).get(path, 0)),
                }
            )
        manifest = {"format_version": FORMAT_VERSION, "kind": kind, "files": files, "content": dict(content or {})}
        self.write(MANIFEST_FILE, json.dumps(manifest, sort_keys=True, indent=1))
        fileio.rename(os.path.join(self.folder, MANIFEST_FILE), os.path.join(self.uri, MANIFEST_FILE))
        fileio.rmtree(self.folder)


def read_manifest(uri: str, kind: str) -> Manifest:
    """Opens a finished artifact and compares its folder with its manifest.

    Raises:
      ArtifactError: it is not finished, of another kind, or a file is missing, too many, or of another size.
      NewerFormatError: a later release wrote it.
      OSError: it cannot be read (storage, permission): nothing is known then.
    """
    path = os.path.join(uri, MANIFEST_FILE)
    if not fileio.exists(path):
        raise ArtifactError(f"{kind} at {uri} was never finished: it has no {MANIFEST_FILE}; run its component again")
    with fileio.open(path, "rb") as file:
        raw = file.read()
    try:
        data = json.loads(raw)
        version, found = data["format_version"], data["kind"]
        readable = isinstance(version, int) and version <= FORMAT_VERSION
        entries = {e["path"]: e for e in data["files"]} if readable else {}
        sums = {p: str(e["sha256"]) for p, e in entries.items()}
        rows = {p: int(e["rows"]) for p, e in entries.items()}
        content = data["content"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{MANIFEST_FILE} of {kind} at {uri} is damaged: {error!r}") from error
    if not readable:
        raise NewerFormatError(
            f"{kind} at {uri} has format {version!r}, this release reads up to {FORMAT_VERSION}; upgrade tfx-explain"
        )
    if found != kind:
        raise ArtifactError(f"{uri} holds {found}, where {kind} is wanted")
    present = set(list_files(uri)) - {MANIFEST_FILE}
    missing, extra = sorted(set(sums) - present), sorted(present - set(sums))
    if missing:
        raise ArtifactError(f"{kind} at {uri} lacks files that its manifest lists: {', '.join(missing[:5])}")
    if extra:
        raise ArtifactError(f"{kind} at {uri} holds files that its manifest does not list: {', '.join(extra[:5])}")
    return Manifest(uri, kind, version, rows, sums, content)


def verify(manifest: Manifest) -> None:
    """Reads every file once against its sum.

    Raises:
      ArtifactError: a file was changed or cut short.
    """
    for path in sorted(manifest.sha256):
        manifest.read(path)


def list_files(folder: str) -> list[str]:
    """Relative paths of all files below a folder, sorted; `/` between parts."""
    out = []
    for root, _, names in fileio.walk(folder):
        below = os.path.relpath(root, folder)
        for name in names:
            parts = [] if below == "." else below.split(os.sep)
            out.append(posixpath.join(*parts, _text(name)))
    return sorted(out)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
