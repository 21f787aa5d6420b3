import dataclasses
import json
import pathlib
import platform
import sys

import pytest

from benchmarks.engine import environments
from benchmarks.engine.environments import Environment, PeerUnavailableError
from benchmarks.engine.process import PeerProcess

HERE = ".".join(platform.python_version_tuple()[:2])


def test_this_python_is_found():
    assert pathlib.Path(environments.find_python(HERE)).exists()


def test_a_python_that_is_missing_is_named():
    with pytest.raises(PeerUnavailableError, match="needs python3.99 on PATH"):
        environments.find_python("3.99")


def test_an_environment_is_kept_as_long_as_its_packages_stay(tmp_path, monkeypatch):
    calls = []

    def call(command, what):
        calls.append(what)
        (tmp_path / "e").mkdir(exist_ok=True)

    monkeypatch.setattr(environments, "_call", call)
    wanted = Environment("e", HERE, ("a==1",))
    assert environments.prepare(wanted, tmp_path) == tmp_path / "e" / "bin" / "python"
    assert calls == ["venv of e", "pip install e"]
    environments.prepare(wanted, tmp_path)
    assert len(calls) == 2
    environments.prepare(dataclasses.replace(wanted, packages=("a==2",)), tmp_path)
    assert len(calls) == 4
    assert json.loads((tmp_path / "e" / ".complete").read_text())["packages"] == ["a==2"]


def test_a_failed_installation_says_why():
    code = "import sys; sys.exit('ERROR: No matching distribution found for a==1')"
    with pytest.raises(PeerUnavailableError, match="install: ERROR: No matching distribution found for a==1"):
        environments._call([sys.executable, "-c", code], "install")


def test_a_peer_whose_package_is_missing_says_so(tmp_path):
    with pytest.raises(PeerUnavailableError, match="its process ended: ModuleNotFoundError"):
        PeerProcess("captum", pathlib.Path(sys.executable), 1, tmp_path / "log")


def test_every_environment_pins_its_versions():
    for environment in environments.ENVIRONMENT_OF.values():
        assert all("==" in package for package in environment.packages)
