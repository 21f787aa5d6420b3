"""Runs the notebook on an artifact without a browser: run.py FOLDER [--output seen.ipynb]."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOK = Path(__file__).with_name("attributions.ipynb")
FOLDER_VARIABLE = "TFX_EXPLAIN_ATTRIBUTIONS"
_TIMEOUT_SECONDS = 600


def run(folder: str, notebook: Path = NOTEBOOK) -> nbformat.NotebookNode:
    """The notebook with its outputs, after all cells ran in a kernel of their own.

    Args:
      folder: of a ModelAttributions artifact.
      notebook: what to run.

    Raises:
      CellExecutionError: a cell failed.
    """
    node = nbformat.read(notebook, as_version=4)
    client = NotebookClient(node, timeout=_TIMEOUT_SECONDS, kernel_name="python3")
    client.execute(env=os.environ | {FOLDER_VARIABLE: folder})
    return node


def main(arguments: list[str] | None = None) -> int:
    """Exits with 0 when every cell ran."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="folder of a ModelAttributions artifact")
    parser.add_argument("--output", type=Path, help="where to write the notebook with its outputs")
    options = parser.parse_args(arguments)
    try:
        node = run(options.folder)
    except CellExecutionError as error:
        print(f"{error.ename}: {error.evalue}", file=sys.stderr)
        return 1
    if options.output is None:
        print("every cell ran; --output FILE keeps the notebook with what they show")
    else:
        nbformat.write(node, options.output)
        print(f"every cell ran: {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
