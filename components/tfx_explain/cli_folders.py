"""Folders of the command line: an output that is whole or not there, and the SavedModel that was meant."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MANIFEST = "manifest.json"
_GRAPHS = ("saved_model.pb", "saved_model.pbtxt")
_DEPTH = 4
"""`Format-Serving` lies one level below a Model artifact, an export of an older estimator four."""


def in_use(folder: Path) -> bool:
    """Whether there is something that an output would be mixed with, or take the place of."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


@contextlib.contextmanager
def whole(output: Path) -> Iterator[Path]:
    """A folder for files that move into `output` when all is done; after an error `output` is as it was.

    It lies inside `output`, since that may be a volume of its own, or all that may be written to.
    """
    new = next((path for path in (*reversed(output.parents), output) if not path.exists()), None)
    output.mkdir(parents=True, exist_ok=True)
    folder, done = Path(tempfile.mkdtemp(prefix=".incomplete-", dir=output)), False
    try:
        yield folder / "output"
        # The manifest last: from then on the artifact exists.
        for path in sorted((folder / "output").iterdir(), key=lambda path: (path.name == _MANIFEST, path.name)):
            path.rename(output / path.name)
        done = True
    finally:
        shutil.rmtree(folder if done or new is None else new)


def saved_model(folder: Path) -> Path | None:
    """The SavedModel at or below a folder: of a Model artifact the one that is served; None where there is none."""
    if any((folder / name).exists() for name in _GRAPHS):
        return folder
    for depth in range(1, _DEPTH + 1):
        found = sorted(path.parent for name in _GRAPHS for path in folder.glob("/".join(["*"] * depth + [name])))
        if found:
            return found[0]
    return None
