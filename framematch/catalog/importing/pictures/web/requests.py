"""One request for a picture, with its redirects."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import version
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from framematch.catalog.images import MAX_BYTES
from framematch.catalog.importing.pictures.web.allowed_hosts import AllowedHosts, parse_address
from framematch.catalog.importing.pictures.web.body import ByteBudget, expected_bytes, read_body
from framematch.catalog.importing.pictures.web.checked_resolver import CheckedResolver, PrivateAddressError
from framematch.catalog.importing.pictures.web.failures import DownloadError, Failure, unreachable, unusable
from framematch.catalog.importing.problems import ProblemKind
from framematch.core.redact import redact_url

_REDIRECTS = {301, 302, 303, 307, 308}
_GONE = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
_RETRIABLE = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_MAX_VALIDATOR_CHARACTERS = 1_000


@dataclass(frozen=True)
class WebLimits:
    """Bounds on downloads; `failures_max` is in a row, then a host is not asked any more."""

    request_s: float = 20.0
    silence_s: float = 10.0
    redirects_max: int = 3
    picture_bytes_max: int = MAX_BYTES
    held_bytes: int = 32_000_000
    at_once: int = 16
    at_once_per_host: int = 4
    tries: int = 4
    first_pause_s: float = 1.0
    longest_pause_s: float = 8.0
    retry_after_max_s: float = 30.0
    failures_max: int = 20


@dataclass(frozen=True)
class Validators:
    """What a server says about a version of a picture, to ask whether it has another one now."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True)
class Answer:
    """A picture's bytes, which the receiver gives back to the budget; None: it has not changed."""

    data: bytes | None
    validators: Validators


class PictureRequests:
    """Asks for pictures. The session is made by `open_requests`, whose connections go to permitted addresses alone."""

    def __init__(
        self, session: aiohttp.ClientSession, allowed: AllowedHosts, limits: WebLimits, budget: ByteBudget
    ) -> None:
        self._session = session
        self._allowed = allowed
        self._limits = limits
        self._budget = budget

    async def ask(self, url: URL, known: Validators | None) -> Answer:
        """Ask for a picture, or whether it is still the `known` version.

        Raises:
            DownloadError: why there is none.
        """
        try:
            async with asyncio.timeout(self._limits.request_s) as deadline:
                return await self._follow(url, known, deadline)
        except aiohttp.ClientConnectorCertificateError as error:
            reason = getattr(error.certificate_error, "verify_message", "") or "it cannot be verified"
            raise unreachable(f"has a host without a valid certificate: {reason}", retriable=False) from None
        except aiohttp.ClientConnectorDNSError as error:
            if isinstance(error.os_error, PrivateAddressError):
                raise DownloadError(Failure(ProblemKind.NOT_ALLOWED, f"is not asked for: {error.os_error}")) from None
            raise unreachable(f"has a host whose name is not known: {error.host}") from None
        except aiohttp.ServerTimeoutError:
            raise unreachable(f"has a host that was silent for {self._limits.silence_s:g} s") from None
        except TimeoutError:
            raise unreachable(f"did not come within {self._limits.request_s:g} s") from None
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError):
            raise unreachable("was not sent to its end") from None
        except aiohttp.ClientResponseError:
            raise unreachable("has a host that does not answer as HTTP demands") from None
        except aiohttp.ClientConnectorError as error:
            reason = error.os_error.strerror or type(error.os_error).__name__
            raise unreachable(f"has a host that cannot be reached: {reason}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: of a redirect to what is no URL.
            raise unreachable(f"could not be downloaded: {redact_url(type(error).__name__)}") from None

    async def _follow(self, url: URL, known: Validators | None, deadline: asyncio.Timeout) -> Answer:
        for _ in range(self._limits.redirects_max + 1):
            if (refusal := self._allowed.refusal(url)) is not None:
                raise DownloadError(Failure(ProblemKind.NOT_ALLOWED, refusal))
            async with self._session.get(url, headers=_conditions(known), allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await self._answer(response, known, deadline)
                target = parse_address(urljoin(str(url), response.headers.get("Location", "")))
            if target is None or target == url:
                raise unusable("is redirected to no address")
            url = target
        raise unusable(f"is redirected more than {self._limits.redirects_max} times")

    async def _answer(
        self, response: aiohttp.ClientResponse, known: Validators | None, deadline: asyncio.Timeout
    ) -> Answer:
        if response.status == HTTPStatus.NOT_MODIFIED and known is not None:
            return Answer(None, known)
        if response.status != HTTPStatus.OK:
            raise DownloadError(_status_failure(response))
        reserved = expected_bytes(response, self._limits.picture_bytes_max)
        left_s = (deadline.when() or 0.0) - asyncio.get_running_loop().time()
        deadline.reschedule(None)  # that our memory is full is not the server's fault
        await self._budget.take(reserved)
        received = 0
        try:
            deadline.reschedule(asyncio.get_running_loop().time() + left_s)
            data = await read_body(response, self._limits.picture_bytes_max)
            received = len(data)
        finally:
            await self._budget.give_back(reserved - received)
        return Answer(data, _validators(response))


@asynccontextmanager
async def open_requests(
    allowed: AllowedHosts,
    limits: WebLimits,
    budget: ByteBudget,
    *,
    resolver: AbstractResolver | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[PictureRequests]:
    """Requests without cookies and without the proxies of the environment, as long as the context lasts."""
    connector = aiohttp.TCPConnector(
        resolver=CheckedResolver(allowed, resolver), limit=limits.at_once, ssl=ssl_context or True
    )
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.silence_s, sock_read=limits.silence_s)
    headers = {
        "User-Agent": f"framematch/{version('framematch')}",
        "Accept": "image/jpeg,image/png,image/*;q=0.8,*/*;q=0.5",
        "Accept-Encoding": "identity",
    }
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield PictureRequests(session, allowed, limits, budget)


def _conditions(known: Validators | None) -> dict[str, str]:
    if known is None:
        return {}
    named = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in named.items() if value}


def _validators(response: aiohttp.ClientResponse) -> Validators:
    return Validators(_short(response.headers.get("ETag")), _short(response.headers.get("Last-Modified")))


def _short(value: str | None) -> str | None:
    return value if value and len(value) <= _MAX_VALIDATOR_CHARACTERS and value.isprintable() else None


def _status_failure(response: aiohttp.ClientResponse) -> Failure:
    status = response.status
    reason = f"is not there: its server answers {status} {_phrase(status)}".rstrip()
    if status in _GONE:
        return Failure(ProblemKind.NO_IMAGE, reason)
    retriable = status in _RETRIABLE or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return Failure(
        ProblemKind.UNREACHABLE,
        reason.replace("is not there", "could not be downloaded"),
        retriable=retriable,
        is_outage=True,
        host_answers=not retriable,
        retry_after_s=_retry_after_s(response.headers.get("Retry-After", "")) if retriable else 0.0,
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _retry_after_s(text: str) -> float:
    """Seconds, or a date; what is neither counts as 0."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
