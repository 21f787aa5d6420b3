"""What README tells a user to write is taken by the commands and the configuration."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main
import yaml

from tfx_explain.attribution_validator.checks import registry
from tfx_explain.cli import app
from tfx_explain.config import ValidationConfig

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
POLICIES = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) + re.findall(r"echo '(.*?)' > policy.yaml", README)
COMMANDS = re.findall(r"tfx-explain (.*?)\n(?! )", README.replace("\\\n", " "))
COMMANDS = [found for found in COMMANDS if "--" in found.split("`")[0]]


def test_the_examples_are_found():
    assert len(POLICIES) == 3
    assert {shlex.split(command)[0] for command in COMMANDS} == {"explain", "validate", "diagnose"}


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_are_taken_as_they_are_written(policy):
    settings = yaml.safe_load(policy)
    config = ValidationConfig.make(settings)
    assert settings.keys() <= config.model_fields_set


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_have_the_options_that_they_are_given(command):
    name, *words = shlex.split(command)
    known = {option for parameter in typer.main.get_command(app).commands[name].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_check_stands_in_the_table():
    for check in (*registry.ABSOLUTE, *registry.WITH_REFERENCE):
        assert f"`{check}`" in README
