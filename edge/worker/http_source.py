"""Opens the URLs of an HTTP source, on allowed hosts only: redirects and playlists cannot lead anywhere else."""

import errno
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, cast
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from edge.worker.errors import status_reason

_SCHEMES = ("http", "https")


class HostRefusedError(OSError):
    """The URL is on a host that is neither the source's own nor allowed, or is no HTTP URL."""


class ResponseBody:
    """The body of a response, which libav reads in the pieces in which it arrives."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end.

        Raises:
            OSError: the connection broke, or the body is malformed.
        """
        try:
            return self._response.read1(size)
        except HTTPException:
            raise _malformed() from None

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""
        return self._response.closed

    def close(self) -> None:
        """Close the connection."""
        self._response.close()


class HttpOpener:
    """Opens all URLs that one source needs: libav calls `open` for the source and for the URLs in its playlists.

    User and password of the source's URL are sent to the source's own host only.
    """

    def __init__(self, url: str, allowed_hosts: Iterable[str], timeout_s: float) -> None:
        parts = urlsplit(url)
        self._hosts = frozenset({parts.hostname or "", *(host.lower() for host in allowed_hosts)})
        self._timeout_s = timeout_s
        self._refused: str | None = None
        self._status: int | None = None
        self._bodies: list[ResponseBody] = []
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        if parts.username is not None:
            root = _without_credentials(urljoin(url, "/"))
            passwords.add_password(None, root, unquote(parts.username), unquote(parts.password or ""))
        self._opener = urllib.request.build_opener(_Redirects(self), _Basic(passwords), _Digest(passwords))

    @property
    def failure(self) -> str | None:
        """Why the last request failed, for operators; None if the reason is not HTTP's."""
        if self._refused is not None:
            return f"leads to {self._refused}, which is not among edge.allowed_hosts"
        return None if self._status is None else status_reason(self._status)

    def open(self, url: str, _flags: int, _options: Mapping[str, str]) -> ResponseBody:
        """Request `url`.

        Raises:
            HostRefusedError: its host is not allowed; no connection was made.
            OSError: the server does not answer, or with an error.
        """
        self._status = None
        try:
            self.check(url)
            request = urllib.request.Request(_without_credentials(url), headers={"User-Agent": "framematch"})  # noqa: S310  # checked above
            body = ResponseBody(cast("HTTPResponse", self._opener.open(request, timeout=self._timeout_s)))
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


class _Basic(urllib.request.HTTPBasicAuthHandler):
    """Closes the connection of a rejected login."""

    def http_error_401(  # urllib's signature
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> HTTPResponse | None:
        """Close the response first."""
        fp.close()
        return super().http_error_401(req, fp, code, msg, headers)


class _Digest(urllib.request.HTTPDigestAuthHandler):
    """Closes the connection of a rejected login."""

    def http_error_401(  # urllib's signature
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> HTTPResponse | None:
        """Close the response first."""
        fp.close()
        return super().http_error_401(req, fp, code, msg, headers)


def _malformed() -> OSError:
    return OSError(errno.EPROTO, "has an address, a login or an answer that is not understood")


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
