"""Environments for peers: one a set of packages that go together, kept below build/peers between runs."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

_PROBE = "import sys; print(sys.executable, *sys.version_info[:2])"
_INSTALL_SECONDS = 1200


@dataclasses.dataclass(frozen=True)
class Environment:
    """A Python and what is installed into it.

    Attributes:
        name: its folder below build/peers.
        python: version, "3.11".
        packages: requirements with their versions.
    """

    name: str
    python: str
    packages: tuple[str, ...]


TORCH = Environment("torch", "3.11", ("torch==2.13.0", "captum==0.9.0", "saliency==0.2.1", "shap==0.51.0"))
# Later releases of alibi are not open source. It imports click, and Xplique einops and tensorflow-probability, without
# asking for them.
ALIBI = Environment("alibi", "3.10", ("alibi==0.9.4", "click==8.5.1", "tensorflow-cpu==2.14.1"))
XPLIQUE = Environment(
    "xplique", "3.10", ("xplique==1.5.2", "einops==0.8.2", "tensorflow==2.15.1", "tensorflow-probability==0.23.0")
)

ENVIRONMENT_OF = {
    "torch_loop": TORCH,
    "captum": TORCH,
    "saliency": TORCH,
    "shap": TORCH,
    "alibi": ALIBI,
    "xplique": XPLIQUE,
}


class PeerUnavailableError(Exception):
    """A peer cannot be run here; the message says why."""


def prepare(environment: Environment, root: pathlib.Path) -> pathlib.Path:
    """The environment's Python; makes the environment unless an equal one is there.

    Raises:
        PeerUnavailableError: if its Python is missing or its packages cannot be installed.
    """
    folder = root / environment.name
    python, marker = folder / "bin" / "python", folder / ".complete"
    wanted = json.dumps(dataclasses.asdict(environment), sort_keys=True)
    if marker.exists() and marker.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    root.mkdir(parents=True, exist_ok=True)
    _call([find_python(environment.python), "-m", "venv", str(folder)], f"venv of {environment.name}")
    _call([str(python), "-m", "pip", "install", "--quiet", *environment.packages], f"pip install {environment.name}")
    marker.write_text(wanted)
    return python


def find_python(version: str) -> str:
    """Path of a Python of that version: this one, one on PATH, or one that pyenv keeps.

    Raises:
        PeerUnavailableError: if there is none.
    """
    wanted = version.split(".")
    named = f"python{version}"
    # A shim of pyenv answers only for the version that is asked for by its variable.
    for command, variables in ((sys.executable, {}), (named, {}), (named, {"PYENV_VERSION": version})):
        if not shutil.which(command):
            continue
        done = subprocess.run(
            [command, "-c", _PROBE], env={**os.environ, **variables}, capture_output=True, text=True, check=False
        )
        found = done.stdout.split()
        if done.returncode == 0 and found[1:] == wanted:
            return found[0]
    raise PeerUnavailableError(f"needs {named} on PATH: there is none")


def _call(command: list[str], what: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise PeerUnavailableError(f"{what}: not done after {_INSTALL_SECONDS} s") from error
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines or ["no output"]
        raise PeerUnavailableError(f"{what}: {errors[-1].strip()[:200]}")
