"""Runs a service whose log, if it is JSON, has everything that goes to stderr, also the error that ends the service."""

import sys
from collections.abc import Callable

import structlog

from framematch.cli.exits import code_of
from framematch.core.logging import LogFormat, is_json
from framematch.core.stderr import json_stderr

log = structlog.get_logger()


def run_logged(log_format: LogFormat, run: Callable[[], object]) -> None:
    """Run `run`. With a coloured log it ends like any command; with JSON lines its error is `service_failed`."""
    if not is_json(log_format):
        run()
        return
    with json_stderr():
        code = code_of(run, report=_log_failure)
    sys.exit(code)


def _log_failure(message: str, hint: str) -> None:
    log.error("service_failed", error=message, hint=hint)
