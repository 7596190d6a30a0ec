"""Clients that send pictures over HTTP as fast as they are answered."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import aiohttp

from framematch.core.errors import FramematchError

_BOUNDARY = "benchmark"
_HEADERS = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
_FULL, _OK = 429, 200
_PAUSE_S = 0.05  # after 429


@dataclass(frozen=True)
class Run:
    """What clients saw: pictures answered a second, how long each answer took, and how many were refused with 429."""

    per_s: float
    times_ms: list[float]
    refused: int


async def run_clients(url: str, field: str, photos: Sequence[bytes], *, clients: int, pictures: int) -> Run:
    """Send `pictures` pictures, one in a request, by so many clients at once; refused ones are sent again.

    Raises:
        FramematchError: an answer was an error.
    """
    bodies = [_form(field, photo) for photo in photos]
    numbers, done_s, times_ms, refused = count(), [], [], 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=_HEADERS) as session:

        async def ask() -> None:
            nonlocal refused
            while (number := next(numbers)) < pictures:
                started_s = time.monotonic()
                while (status := await _post(session, url, bodies[number % len(bodies)])) == _FULL:
                    refused += 1
                    await asyncio.sleep(_PAUSE_S)
                    started_s = time.monotonic()
                if status != _OK:
                    raise FramematchError(f"{url} answered {status}")
                done_s.append(time.monotonic())
                times_ms.append(1000 * (done_s[-1] - started_s))

        started_s = time.monotonic()
        await asyncio.gather(*(ask() for _ in range(clients)))
    return Run(pictures / (max(done_s) - started_s), times_ms, refused)


async def _post(session: aiohttp.ClientSession, url: str, body: bytes) -> int:
    async with session.post(url, data=body) as answer:
        await answer.read()
        return answer.status


def _form(field: str, photo: bytes) -> bytes:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="photo.jpg"\r\n\r\n'
    return head.encode() + photo + f"\r\n--{_BOUNDARY}--\r\n".encode()
