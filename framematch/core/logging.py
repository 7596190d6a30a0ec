"""Structured logs on stderr: coloured lines at a terminal, JSON lines elsewhere, never a secret."""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from framematch.core.redact import redact, redact_url

LogFormat = Literal["auto", "json", "console"]


def configure_logging(level: str, log_format: LogFormat = "auto", **context: str) -> None:
    """Set up structlog, and the standard library's loggers through it, with `context` on every line."""
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    renderer: Processor = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # Looked up for each line: a test or an embedding program may have put another stream in its place.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**context)
    _route_standard_library(shared, renderer)


def _route_standard_library(shared: list[Processor], renderer: Processor) -> None:
    """Show the warnings of aiokafka and others in the same form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        ),
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)


def _redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    clean: EventDict = {name: redact(value, name) for name, value in event.items() if name != "exception"}
    if "exception" in event:
        clean["exception"] = redact_url(str(event["exception"]))
    return clean
