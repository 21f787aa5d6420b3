"""Puts the demo's folder on the path: its files are a script and its neighbours, not a package."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "pipelines" / "chicago_taxi"

for folder in (FOLDER, FOLDER / "taxi_module"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
