"""Structured logs on stderr: coloured lines at a terminal, JSON lines elsewhere, without secrets."""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from framematch.core.printable import printable, printable_lines
from framematch.core.redact import redact, redact_url

_REPEAT_S = 10.0
_KAFKA_CLIENTS = ("aiokafka", "librdkafka")

LogFormat = Literal["auto", "json", "console"]


def configure_logging(level: str, log_format: LogFormat = "auto", **context: str) -> None:
    """Configure structlog and the standard library's loggers; every line has `context`."""
    as_json = is_json(log_format)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    if not as_json:
        shared.append(_printable_event)
    renderer: Processor = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # Looked up for each line, as a test or an embedding program may replace the stream.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**context)
    _route_standard_library(shared, renderer)


def is_json(log_format: LogFormat) -> bool:
    """Whether the log has this form, JSON lines, rather than coloured ones."""
    return log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())


def log_to(stream: TextIO) -> None:
    """Write the log, which is configured already, to another stream."""
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(stream))
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(stream)


@contextmanager
def listening(listener: Callable[[Mapping[str, Any]], None]) -> Iterator[None]:
    """Inside the context `listener` gets each event too, redacted, as it is before it becomes a line of the log.

    It is called in the thread that logs, and must neither wait nor raise. The log is configured already.
    """

    def tell(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        listener(event)
        return event

    before = structlog.get_config()["processors"]
    formatters = [handler.formatter for handler in logging.getLogger().handlers]
    ours = [one for one in formatters if isinstance(one, structlog.stdlib.ProcessorFormatter)]
    chains = [one.foreign_pre_chain for one in ours]
    # New lists: another thread may walk through the old ones.
    structlog.configure(processors=[*before[:-1], tell, before[-1]])
    for one in ours:
        one.foreign_pre_chain = [*(one.foreign_pre_chain or ()), tell]
    try:
        yield
    finally:
        structlog.configure(processors=before)
        for one, chain in zip(ours, chains, strict=True):
            one.foreign_pre_chain = chain


def log_descriptor() -> int:
    """The descriptor that the log is written to."""
    streams = [one.stream for one in logging.getLogger().handlers if isinstance(one, logging.StreamHandler)]
    descriptor: int = (streams[0] if streams else sys.stderr).fileno()
    return descriptor


class _RepeatFilter(logging.Filter):
    """Passes the same message of a library once per `_REPEAT_S`, with the number of those suppressed before.

    aiokafka logs 200 lines a second while its broker is unavailable.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, str(record.msg))
        passed_at_s, suppressed = self._passed.get(key, (-math.inf, 0))
        now_s = time.monotonic()
        if now_s - passed_at_s < _REPEAT_S:
            self._passed[key] = (passed_at_s, suppressed + 1)
            return False
        self._passed[key] = (now_s, 0)
        record.repeated = suppressed
        return True


def _route_standard_library(shared: list[Processor], renderer: Processor) -> None:
    """Log the warnings of aiokafka and other libraries in the same format, without floods."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_RepeatFilter())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(allow=["repeated"]),
                *shared,
                _kafka_client_event,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)


def _kafka_client_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """One event, a warning, for all that a Kafka client reports: it retries, and our own events say what that means.

    What has a traceback stays an error: it is a bug.
    """
    if str(event.get("logger")).startswith(_KAFKA_CLIENTS) and "exception" not in event:
        event["message"], event["event"], event["level"] = event["event"], "kafka_client_reported", "warning"
    return event


def _redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    clean: EventDict = {name: redact(value, name) for name, value in event.items() if name != "exception"}
    if "exception" in event:
        clean["exception"] = redact_url(str(event["exception"]))
    return clean


def _printable_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """For a terminal, which obeys control characters. JSON escapes them."""
    return {name: _printable(value, lines=name == "exception") for name, value in event.items()}


def _printable(value: Any, *, lines: bool = False) -> Any:
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, str):
        return printable_lines(value) if lines else printable(value)
    return value
