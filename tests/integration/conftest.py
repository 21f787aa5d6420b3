"""Models and examples, exported once."""

import pytest


@pytest.fixture(scope="session")
def task(tmp_path_factory):
    from tests.integration.small_task import Task

    return Task.export(tmp_path_factory.mktemp("task"))
