"""Opens what a web source asks for, and refuses other hosts: a redirect or a playlist may not send us anywhere."""

import errno
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, cast
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

_SCHEMES = ("http", "https")


class HostRefusedError(OSError):
    """The address lies on a host that is neither the source's own nor allowed, or is no web address at all."""


class Body:
    """What a server answers, as libav reads it: as soon as some of it is there."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end.

        Raises:
            OSError: the connection broke, or what comes is not as it was announced.
        """
        try:
            return self._response.read1(size)
        except HTTPException:
            raise _not_understood() from None

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""
        return self._response.closed

    def close(self) -> None:
        """Close the connection."""
        self._response.close()


class WebSource:
    """Everything that one source reads from the web: `open` is what libav calls for it and for all that it leads to.

    The user and the password of the source's URL go to the source's own host alone. `refused` is the last host that
    was asked for in vain, and `status` the last HTTP error.
    """

    def __init__(self, url: str, allowed_hosts: Iterable[str], timeout_s: float) -> None:
        parts = urlsplit(url)
        self._hosts = frozenset({parts.hostname or "", *(host.lower() for host in allowed_hosts)})
        self._timeout_s = timeout_s
        self.refused: str | None = None
        self.status: int | None = None
        self._bodies: list[Body] = []
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        if parts.username is not None:
            root = _without_credentials(urljoin(url, "/"))
            passwords.add_password(None, root, unquote(parts.username), unquote(parts.password or ""))
        self._opener = urllib.request.build_opener(
            _Redirects(self),
            _Basic(passwords),
            _Digest(passwords),
        )

    def open(self, url: str, _flags: int, _options: Mapping[str, str]) -> Body:
        """Ask for `url`.

        Raises:
            HostRefusedError: it leads elsewhere; nothing was connected.
            OSError: the server does not answer, or with an error.
        """
        self.status = None
        try:
            self.check(url)
            request = urllib.request.Request(_without_credentials(url), headers={"User-Agent": "framematch"})  # noqa: S310  # checked above
            body = Body(cast("HTTPResponse", self._opener.open(request, timeout=self._timeout_s)))
        except urllib.error.HTTPError as error:
            self.status = error.code
            error.close()
            raise OSError(f"HTTP {error.code}") from None
        except urllib.error.URLError as error:
            raise error.reason if isinstance(error.reason, OSError) else _not_understood() from None
        except (HTTPException, ValueError):  # urllib's for an address that is none, or a login that it does not know
            raise _not_understood() from None
        self._bodies = [*(other for other in self._bodies if not other.closed), body]
        return body

    def close(self) -> None:
        """Close what libav has left open."""
        for body in self._bodies:
            body.close()

    def check(self, url: str) -> None:
        """Whether `url` may be asked for.

        Raises:
            HostRefusedError: it may not.
        """
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES or (parts.hostname or "") not in self._hosts:
            self.refused = parts.hostname or f"{parts.scheme}:"
            raise HostRefusedError(self.refused)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to where the source may lead."""

    def __init__(self, source: WebSource) -> None:
        self._source = source

    def redirect_request(  # noqa: PLR0917  # as urllib has it
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """See `HTTPRedirectHandler`."""
        try:
            self._source.check(newurl)
        except HostRefusedError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Basic(urllib.request.HTTPBasicAuthHandler):
    """Leaves no connection of a refused try open."""

    def http_error_401(  # as urllib has it
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> HTTPResponse | None:
        """See `HTTPBasicAuthHandler`."""
        fp.close()
        return super().http_error_401(req, fp, code, msg, headers)


class _Digest(urllib.request.HTTPDigestAuthHandler):
    """Leaves no connection of a refused try open."""

    def http_error_401(  # as urllib has it
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> HTTPResponse | None:
        """See `HTTPDigestAuthHandler`."""
        fp.close()
        return super().http_error_401(req, fp, code, msg, headers)


def _not_understood() -> OSError:
    return OSError(errno.EPROTO, "has an address, a login or an answer that is not understood")


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
