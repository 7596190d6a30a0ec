"""Runs a service whose log, if it is JSON, has everything that goes to stderr, also the error that ends the service."""

import sys
from collections.abc import Callable

import structlog

from framematch.cli.exits import code_of
from framematch.core.log_topic import published_log
from framematch.core.logging import is_json
from framematch.core.settings import Settings
from framematch.core.stderr import json_stderr

log = structlog.get_logger()


def run_logged(settings: Settings, service: str, run: Callable[[], object]) -> None:
    """Run `run`, and publish its log if the settings say so.

    With a coloured log it ends like any command; with JSON lines its error is `service_failed`.
    """
    if not is_json(settings.log.format):
        with published_log(settings, service):
            run()
        return
    with json_stderr(), published_log(settings, service):
        code = code_of(run, report=_log_failure)
    sys.exit(code)


def _log_failure(message: str, hint: str) -> None:
    log.error("service_failed", error=message, hint=hint)
