"""The reasons why sources fail, for operators; never the text of libav, which holds URLs with passwords."""

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import av

_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (ConnectionRefusedError, "connection refused"),
    (ConnectionError, "connection lost"),
    (TimeoutError, "no answer in time"),
    (av.error.ExitError, "no answer in time"),
    (av.error.HTTPUnauthorizedError, "401: check user and password"),
    (av.error.HTTPForbiddenError, "403: this user may not see the stream"),
    (av.error.HTTPNotFoundError, "404: no such stream"),
    (av.error.HTTPError, "the server answers with an error"),
    (av.error.HTTPClientError, "the server refuses the request"),
    (av.error.ProtocolNotFoundError, "leads to a protocol that is not allowed"),
    (av.error.DecoderNotFoundError, "its codec is not known"),
    (av.error.InvalidDataError, "not a video that can be decoded"),
)
_STATUS = {
    401: "401: check user and password",
    403: "403: this user may not see the stream",
    404: "404: no such stream",
    453: "453: the camera has too many viewers",
    461: "461: the camera does not offer this transport: set rtsp_transport",
    503: "503: the camera is busy or not ready",
}
_RTSP_FAILURE = re.compile(r"method [A-Z_]+ failed: ([0-9]{3})")
# Libav refuses the protocol of the new address, or the address is not valid.
REDIRECTED = "redirects elsewhere, which is not followed (or its address is wrong)"


def reason_of(error: BaseException, passed_s: float, timeout_s: float | None, late: str) -> str:
    """Why an operation failed after `passed_s`; `late` and the timeout, if it timed out."""
    if timeout_s is not None and passed_s >= 0.9 * timeout_s:
        return f"{late} {timeout_s:g} s"
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    if isinstance(error, OSError) and error.errno == errno.EIO:  # libav's, for unknown hosts and unreachable networks
        return "cannot be reached: check host name and network"
    strerror = getattr(error, "strerror", None)
    return str(strerror).lower() if strerror else type(error).__name__


def status_reason(status: int) -> str:
    """What an HTTP status means for a camera."""
    return _STATUS.get(status, f"the server answers {status}")


@contextmanager
def rtsp_failure() -> Iterator[Callable[[], str | None]]:
    """A function that tells which status an RTSP server answered within the context, in words; None without one.

    Libav says the status in its log alone. That log holds URLs with passwords, so nothing else of it is used.
    """
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(local=False) as log:

            def failure() -> str | None:
                found = [match[1] for *_, text in log if (match := _RTSP_FAILURE.search(text))]
                return status_reason(int(found[-1])) if found else None

            yield failure
    finally:
        av.logging.set_level(None)
