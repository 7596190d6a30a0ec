"""Reads the body of an answer, with a bound on its bytes, whatever its headers say."""

import asyncio
import zlib
from typing import Protocol

from aiohttp import ClientResponse

from framematch.catalog.importing.pictures.web.failures import DownloadError, Failure, unreachable, unusable
from framematch.catalog.importing.problems import ProblemKind
from framematch.core.units import BYTES_PER_MB

_GZIP_OR_ZLIB = 47  # wbits for zlib: either header


class ByteBudget:
    """Bytes that may be in memory together. One who takes more than there are waits until others give back."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._taken = 0
        self._changed = asyncio.Condition()

    async def take(self, count: int) -> None:
        """Wait for `count` bytes; for more than there are at all, until nobody else has any."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._taken or self._taken + count <= self._most)
            self._taken += count

    async def give_back(self, count: int) -> None:
        """Let others have them."""
        async with self._changed:
            self._taken -= count
            self._changed.notify_all()


class _Decoder(Protocol):
    def add(self, piece: bytes, most: int) -> bytes: ...

    def check_end(self) -> None: ...


class _Identity:
    def add(self, piece: bytes, _most: int) -> bytes:
        return piece

    def check_end(self) -> None:
        pass  # aiohttp compares the length


class _Deflated:
    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)

    def add(self, piece: bytes, most: int) -> bytes:
        try:
            return self._decoder.decompress(piece, most)
        except zlib.error as error:
            raise unusable(f"is damaged: its transfer is not compressed as it says ({error})") from None

    def check_end(self) -> None:
        if not self._decoder.eof:
            raise unreachable("was not sent to its end")


def expected_bytes(response: ClientResponse, max_bytes: int) -> int:
    """How many bytes the body may have: its length, or `max_bytes` if that is not known before.

    Raises:
        DownloadError: it is too large.
    """
    length = response.content_length
    if length is None or _decoder(response) is not _Identity:
        return max_bytes
    if length > max_bytes:
        raise too_large(max_bytes)
    return length


async def read_body(response: ClientResponse, max_bytes: int) -> bytes:
    """The body, decompressed.

    Raises:
        DownloadError: it has more than `max_bytes`, is empty, or cannot be decompressed.
        aiohttp.ClientError: the connection broke.
        TimeoutError: no bytes came in time.
    """
    decoder: _Decoder = _decoder(response)()
    body = bytearray()
    async for piece in response.content.iter_any():
        body += decoder.add(piece, max_bytes + 1 - len(body))
        if len(body) > max_bytes:
            raise too_large(max_bytes)
    decoder.check_end()
    if not body:
        raise unusable("is empty")
    return bytes(body)


def too_large(max_bytes: int) -> DownloadError:
    """The picture itself is too large."""
    return DownloadError(Failure(ProblemKind.BAD_IMAGE, f"has more than {max_bytes // BYTES_PER_MB} MB"))


def _decoder(response: ClientResponse) -> type[_Identity | _Deflated]:
    """None is asked for, but some servers compress all the same."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Deflated
    if encoding not in ("identity", ""):
        raise unusable(f"is sent in the encoding {encoding[:20]!r}, which was not asked for")
    return _Identity
