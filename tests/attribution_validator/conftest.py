"""Makes toy_pipeline importable under one name, for tests and for TFX, which loads executors by class path."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
