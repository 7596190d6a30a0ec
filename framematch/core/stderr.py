"""Everything on stderr of a service with a JSON log is an event, also what other code writes to the descriptor."""

import faulthandler
import fcntl
import logging
import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import TextIO

import structlog

from framematch.core.logging import log_to
from framematch.core.units import MS_PER_S

log = structlog.get_logger()

_STDERR = 2
_PAUSE_S = 0.2  # lines that follow within it are one event
_PIPE_BYTES = 1_048_576  # the kernel's limit for a user without privileges
_MAX_CHARACTERS = 8_000  # of an event


@contextmanager
def json_stderr() -> Iterator[None]:
    """Within the block, what anybody writes to the descriptor of stderr is logged as `output_unstructured`.

    Libraries in C write there without asking, and so do child processes. The log goes to a duplicate of the descriptor,
    and so does `faulthandler` when this process crashes: then nobody could turn its lines into events. Errors that
    nobody catches, and Python's warnings, are logged too.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)  # a library that writes faster than it is logged loses lines, but never hangs
    with suppress(OSError):  # the user has too many pipes already: the default size will do
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    with open_log(os.dup(_STDERR)) as output, _Reader(reading):
        os.dup2(writing, _STDERR)
        os.close(writing)
        log_to(output)
        log_uncaught()
        faulthandler.enable(output)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(output.fileno(), _STDERR)
            log_to(sys.stderr)
            faulthandler.enable()


def open_log(descriptor: int) -> TextIO:
    """A stream for log lines, which closes the descriptor."""
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace")


def log_uncaught() -> None:
    """Log errors that nobody catches, in any thread, and Python's warnings, instead of printing them."""

    def in_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_type is not SystemExit:
            name = arguments.thread.name if arguments.thread else None
            log.error("error_uncaught", exc_info=arguments.exc_value, thread=name)

    sys.excepthook = lambda _kind, error, _trace: log.error("error_uncaught", exc_info=error)
    sys.unraisablehook = lambda unraisable: log.error(
        "error_uncaught", exc_info=unraisable.exc_value, where=repr(unraisable.object)[:200]
    )
    threading.excepthook = in_thread
    logging.captureWarnings(capture=True)


class _Reader:
    """A thread that logs what arrives in a pipe, for the time of a `with` block; at its end the pipe is closed."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._stop = os.eventfd(0)
        context = copy_context()  # the fields of every log line
        self._thread = threading.Thread(target=context.run, args=[self._run], name="stderr", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._pipe)
        os.close(self._stop)

    def _run(self) -> None:
        either, stop = select.poll(), select.poll()
        either.register(self._pipe, select.POLLIN)
        for poll in (either, stop):
            poll.register(self._stop, select.POLLIN)
        stopped = False
        while not stopped:
            either.poll()
            stopped = bool(stop.poll(0))
            self._log_what_is_there()
            stop.poll(_PAUSE_S * MS_PER_S)

    def _log_what_is_there(self) -> None:
        try:
            text = os.read(self._pipe, _PIPE_BYTES).decode(errors="backslashreplace").strip()
        except BlockingIOError:
            return
        if text:
            shown = text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]} …"
            log.warning("output_unstructured", text=shown)
