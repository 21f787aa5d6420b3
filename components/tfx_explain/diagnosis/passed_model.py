"""Where the files of a model that passed are today, and that they are still the same."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tfx.dsl.io import fileio

from tfx_explain.artifacts.fingerprint import model_fingerprint
from tfx_explain.attribution_reference.store import PassedModel

_SERVING = "Format-Serving"
_GRAPHS = ("saved_model.pb", "saved_model.pbtxt")


class PassedModelError(ValueError):
    """A model that passed cannot be run any more; the message says why."""


def serving_folder(passed: PassedModel, folder: str | None = None) -> str:
    """The serving folder of a model that passed, with the very files that passed.

    Args:
      passed: its record.
      folder: where to look instead of the record's URI: a Model artifact or a SavedModel.

    Raises:
      PassedModelError: the folder is gone, holds no SavedModel, or other files than those that passed.
    """
    uri = folder or passed.model_uri
    if not uri or not fileio.exists(uri):
        raise PassedModelError(f"its folder is gone: {uri or 'no URI is recorded'}")
    return serving_folder_of(uri, passed.fingerprint)


def serving_folder_of(uri: str, fingerprint: str) -> str:
    """The SavedModel at or below a Model artifact's URI that has this fingerprint.

    Raises:
      PassedModelError: there is none.
    """
    found = [f for f in (uri, os.path.join(uri, _SERVING)) if _holds_model(f)] or list(_exported(uri))
    if not found:
        raise PassedModelError(f"there is no SavedModel at {uri}")
    for folder in found:
        if model_fingerprint(folder) == fingerprint:
            return folder
    raise PassedModelError(
        f"its files were changed: the fingerprint of {found[0]} is {model_fingerprint(found[0])[:12]}, where "
        f"{fingerprint[:12]} passed"
    )


def _holds_model(folder: str) -> bool:
    return any(fileio.exists(os.path.join(folder, name)) for name in _GRAPHS)


def _exported(uri: str) -> Iterator[str]:
    """SavedModels in the layout of older estimator exports: `serving_model_dir/export/<name>/<time>`."""
    for depth in ("*", "*/*", "*/*/*", "*/*/*/*"):
        for name in _GRAPHS:
            yield from sorted(os.path.dirname(path) for path in fileio.glob(os.path.join(uri, depth, name)))
