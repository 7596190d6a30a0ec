"""Opens the URLs of an HTTP source, on allowed hosts only: redirects and playlists cannot lead anywhere else."""

import errno
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, HTTPSConnection
from typing import IO, cast
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from edge.worker.errors import status_reason

_SCHEMES = ("http", "https")
_HEADERS = {"User-Agent": "framematch", "Cache-Control": "no-cache"}


class HostRefusedError(OSError):
    """The URL is on a host that is neither the source's own nor allowed, or is no HTTP URL."""


class _Response(HTTPResponse):
    """A response that knows its socket, whose timeout can be changed."""

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.socket = sock


class ResponseBody:
    """The body of a response, in the pieces in which it arrives."""

    def __init__(self, response: _Response, timeout_s: Callable[[], float]) -> None:
        self._response = response
        self._timeout_s = timeout_s
        self._start = b""
        self._received = False

    @property
    def content_type(self) -> str:
        """What the server says that it is, such as `image/jpeg`, in lower case; empty if it says nothing."""
        return self._response.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def peek(self, size: int) -> bytes:
        """The first `size` bytes, fewer if the body is shorter; `read` returns them too. For use before `read`.

        Raises:
            OSError: as `read`.
        """
        while len(self._start) < size and (piece := self._receive(size)):
            self._start += piece
        return self._start[:size]

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end.

        Raises:
            OSError: the connection broke, the body is malformed, or nothing arrived in time.
        """
        start, self._start = self._start[:size], self._start[size:]
        return start or self._receive(size)

    def _receive(self, size: int) -> bytes:
        if self._response.isclosed():  # at its end; its socket is closed too
            return b""
        self._response.socket.settimeout(self._timeout_s())
        try:
            piece = self._response.read1(size)
        except HTTPException:  # http.client's, for chunks that are malformed or break off
            raise (ConnectionResetError() if self._received else _malformed()) from None
        self._received = True
        return piece

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""
        return self._response.closed

    def close(self) -> None:
        """Close the connection."""
        self._response.close()


class HttpOpener:
    """Opens all URLs that one source needs: libav calls `open` for the source and for the URLs in its playlists.

    `error` is the last one that libav did not get to see.

    User and password of the source's URL are sent to the source's own host only. A request, and each read, waits for
    at most `timeout_s`, and not beyond `deadline_s`, which is a time of the monotonic clock.
    """

    def __init__(
        self, url: str, allowed_hosts: Iterable[str], timeout_s: float, *, deadline_s: float | None = None
    ) -> None:
        self.deadline_s = deadline_s
        parts = urlsplit(url)
        self._hosts = frozenset({parts.hostname or "", *(host.lower() for host in allowed_hosts)})
        self._timeout_s = timeout_s
        self._refused: str | None = None
        self._status: int | None = None
        self.error: OSError | None = None
        self._bodies: list[ResponseBody] = []
        self._opened: tuple[str, ResponseBody] | None = None
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        if parts.username is not None:
            root = _without_credentials(urljoin(url, "/"))
            passwords.add_password(None, root, unquote(parts.username), unquote(parts.password or ""))
        self._opener = urllib.request.build_opener(
            _Http(),
            _Https(),
            _Redirects(self),
            _CloseFirst(),
            urllib.request.HTTPBasicAuthHandler(passwords),
            urllib.request.HTTPDigestAuthHandler(passwords),
        )

    @property
    def failure(self) -> str | None:
        """Why the last request failed, for operators; None if the reason is not HTTP's."""
        if self._refused is not None:
            return f"leads to {self._refused}, which is not among edge.allowed_hosts"
        return None if self._status is None else status_reason(self._status)

    def open(self, url: str, _flags: int, _options: Mapping[str, str]) -> "LibavBody":
        """Request `url`, for libav; the first time it gets what `reuse` has kept.

        A request that fails gives an empty body, and its `error` is kept: PyAV prints the errors that libav ignores.
        """
        opened, self._opened = self._opened, None
        try:
            body = opened[1] if opened is not None and opened[0] == url else self.request(url)
        except OSError as error:
            self.error = error
            return LibavBody(None, self)
        return LibavBody(body, self)

    def reuse(self, url: str, body: ResponseBody) -> None:
        """Keep an open response for libav."""
        self._opened = url, body

    def request(self, url: str) -> ResponseBody:
        """Request `url`.

        Raises:
            HostRefusedError: its host is not allowed; no connection was made.
            OSError: the server does not answer, or with an error.
        """
        if self.deadline_s is None:  # while it opens, libav may try what else there is before it gives up
            self._status = self.error = None
        try:
            self.check(url)
            request = urllib.request.Request(_without_credentials(url), headers=_HEADERS)  # noqa: S310  # checked above
            response = cast("_Response", self._opener.open(request, timeout=self._remaining_s()))
            body = ResponseBody(response, self._remaining_s)
        except urllib.error.HTTPError as error:
            self._status = error.code
            error.close()
            raise OSError(f"HTTP {error.code}") from None
        except urllib.error.URLError as error:
            raise error.reason if isinstance(error.reason, OSError) else _malformed() from None
        except (HTTPException, ValueError):  # urllib's, for an invalid URL or an unknown kind of login
            raise _malformed() from None
        self._bodies = [*(other for other in self._bodies if not other.closed), body]
        return body

    def close(self) -> None:
        """Close the responses that libav left open."""
        for body in self._bodies:
            body.close()

    def _remaining_s(self) -> float:
        if self.deadline_s is None:
            return self._timeout_s
        remaining_s = self.deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError(errno.ETIMEDOUT, "timed out")
        return min(self._timeout_s, remaining_s)

    def check(self, url: str) -> None:
        """Check that `url` is allowed.

        Raises:
            HostRefusedError: it is not.
        """
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES or (parts.hostname or "") not in self._hosts:
            self._refused = parts.hostname or f"{parts.scheme}:"
            raise HostRefusedError(self._refused)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to allowed hosts only."""

    def __init__(self, opener: HttpOpener) -> None:
        self._opener = opener

    def redirect_request(  # noqa: PLR0917  # urllib's signature
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Check the new URL first."""
        try:
            self._opener.check(newurl)
        except HostRefusedError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class LibavBody:
    """A body as libav reads it: an error is the end, and is kept by the opener."""

    def __init__(self, body: ResponseBody | None, opener: HttpOpener) -> None:
        self._body = body
        self._opener = opener

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        try:
            return b"" if self._body is None else self._body.read(size)
        except OSError as error:
            self._opener.error = error
            return b""

    def close(self) -> None:
        """Close the connection."""
        if self._body is not None:
            self._body.close()


class _Connection(HTTPConnection):
    response_class = _Response


class _TlsConnection(HTTPSConnection):
    response_class = _Response


class _Http(urllib.request.HTTPHandler):
    """Gives responses that know their sockets."""

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Connect."""
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    """Gives responses that know their sockets."""

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Connect."""
        return self.do_open(_TlsConnection, req)


class _CloseFirst(urllib.request.BaseHandler):
    """Closes a response before the handlers after this one request something else in its place."""

    handler_order = 0

    def http_error_401(  # urllib's signature
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> None:
        """Close it, and leave the rest to the next handler."""
        del req, code, msg, headers
        fp.close()

    http_error_301 = http_error_302 = http_error_303 = http_error_307 = http_error_308 = http_error_401


def _malformed() -> OSError:
    return OSError(errno.EPROTO, "has an address, a login or an answer that is not understood")


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
