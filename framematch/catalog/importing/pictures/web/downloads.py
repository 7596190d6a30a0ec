"""Repeats requests that fail, and spares hosts: a few at a time, none while they ask to wait, none if they are down."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol

from yarl import URL

from framematch.catalog.importing.pictures.web.failures import DownloadError, Failure
from framematch.catalog.importing.pictures.web.requests import Answer, Validators, WebLimits
from framematch.catalog.importing.problems import ProblemKind
from framematch.core.backoff import Backoff

Sleep = Callable[[float], Awaitable[None]]


class Asks(Protocol):
    """Makes single requests, as `PictureRequests` does."""

    async def ask(self, url: URL, known: Validators | None) -> Answer:
        """Ask for a picture once.

        Raises:
            DownloadError: why there is none.
        """


class _Host:
    """What is known about a host in this run."""

    def __init__(self, name: str, limits: WebLimits, sleep: Sleep) -> None:
        self._name = name
        self._limits = limits
        self._sleep = sleep
        self._turns = asyncio.Semaphore(limits.at_once_per_host)
        self._failures = 0
        self._last = ""
        self._resume_at_s = 0.0

    @asynccontextmanager
    async def turn(self, all_turns: asyncio.Semaphore) -> AsyncIterator[None]:
        """Wait for a turn.

        Raises:
            DownloadError: the host has failed too often.
        """
        async with self._turns:
            self._check()
            if (wait_s := self._resume_at_s - asyncio.get_running_loop().time()) > 0:
                await self._sleep(wait_s)
            async with all_turns:
                self._check()
                yield

    def note(self, failure: Failure | None) -> None:
        """Count a failed request, or None for an answer."""
        if failure is None or failure.host_answers:
            self._failures = 0
            return
        self._failures += 1
        self._last = failure.reason
        wait_s = min(failure.retry_after_s, self._limits.retry_after_max_s)
        self._resume_at_s = max(self._resume_at_s, asyncio.get_running_loop().time() + wait_s)

    def _check(self) -> None:
        if self._failures >= self._limits.failures_max:
            reason = (
                f"was not asked for: {self._name} failed {self._failures} times in a row, and was given up for this "
                f"import. The last picture of it {self._last}"
            )
            raise DownloadError(Failure(ProblemKind.UNREACHABLE, reason, is_outage=True))


class Downloads:
    """Downloads pictures of one run."""

    def __init__(self, requests: Asks, limits: WebLimits, *, sleep: Sleep = asyncio.sleep) -> None:
        self._requests = requests
        self._limits = limits
        self._sleep = sleep
        self._turns = asyncio.Semaphore(limits.at_once)
        self._hosts: dict[str, _Host] = {}

    async def download(self, url: URL, known: Validators | None) -> Answer:
        """The picture's bytes, or that it is still the `known` one.

        Raises:
            DownloadError: why there is none, after the last try.
        """
        name = url.raw_host or ""
        host = self._hosts.setdefault(name, _Host(name, self._limits, self._sleep))
        backoff = Backoff(self._limits.first_pause_s, self._limits.longest_pause_s)
        left = self._limits.tries
        while True:
            left -= 1
            async with host.turn(self._turns):
                try:
                    answer = await self._requests.ask(url, known)
                except DownloadError as error:
                    failure = error.failure
                    host.note(failure)
                else:
                    host.note(None)
                    return answer
            if not left or not failure.retriable or failure.retry_after_s > self._limits.retry_after_max_s:
                raise DownloadError(replace(failure, retriable=False))
            await self._sleep(backoff.next_delay_s())
