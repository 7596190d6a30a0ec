"""Runs `framematch …` in the test's process, which has imported most of it: that takes a tenth of a new process."""

import os
from collections.abc import Mapping
from unittest.mock import patch

from typer.testing import CliRunner

from demo.dataset import DATA_DIR
from framematch.cli.app import app
from tests.support import logging_restored


def run_here(*arguments: str, environment: Mapping[str, str]) -> None:
    """Run a command with these settings alone, for synchronous tests and fixtures; it must succeed."""
    with patch.dict(os.environ, environment, clear=True), logging_restored():
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output


def fill_catalogue(environment: Mapping[str, str]) -> None:
    """Import the demo's products and build their index; on a busy machine a batch takes longer than in production."""
    environment = {**environment, "FRAMEMATCH_TRITON__TIMEOUT_S": "60"}
    run_here("catalog", "import", str(DATA_DIR / "catalog.csv"), "--images", str(DATA_DIR), environment=environment)
    run_here("catalog", "build", environment=environment)
