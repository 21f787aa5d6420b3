"""Fingerprints: a content in one word."""

from __future__ import annotations

import hashlib
import os

from tfx.dsl.io import fileio

from tfx_explain.artifacts.manifest import ArtifactError, list_files

_CHUNK = 1 << 20


def model_fingerprint(folder: str) -> str:
    """SHA-256 over the sorted relative paths and bytes of all files below a serving model's folder, in hexadecimal.

    Raises:
      ArtifactError: there is no such folder, or it is empty.
    """
    paths = list_files(folder) if fileio.exists(folder) else []
    if not paths:
        raise ArtifactError(f"there is no model at {folder}: the folder is missing or empty")
    total = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256()
        with fileio.open(os.path.join(folder, path), "rb") as file:
            while chunk := file.read(_CHUNK):
                content.update(chunk)
        total.update(f"{len(path)}:{path}:{content.hexdigest()}\n".encode())
    return total.hexdigest()
