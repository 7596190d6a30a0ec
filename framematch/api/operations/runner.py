"""Runs the operations that wait: a process for each, so that none disturbs requests or takes them down."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog

from framematch.api.operations.files import OperationFiles
from framematch.api.operations.process import run_operation
from framematch.api.operations.refused_rows import delete_refused_rows
from framematch.api.operations.store import Claim, OperationStore
from framematch.core.errors import CatalogError, MongoUnavailableError
from framematch.core.lifecycle import first_of
from framematch.core.settings import Settings
from framematch.core.worker_process import ExitStatus, WorkerProcess

log = structlog.get_logger()

POLL_S: Final = 1.0
_CANCEL_GRACE_S = 10.0  # for the process to notice it by itself
_END_GRACE_S = 10.0  # after SIGTERM
_CLEAN_UP_S = 600.0


class OperationRunner:
    """Takes operations from the queue, up to `maximum` at a time. Several API processes may do so."""

    def __init__(self, store: OperationStore, settings: Settings, *, poll_s: float = POLL_S) -> None:
        self._store = store
        self._settings = settings
        self._poll_s = poll_s
        self._woken = asyncio.Event()
        self._running = 0
        self._refused = False

    def wake(self) -> None:
        """Look into the queue now: an operation was created here."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Run operations until `stop` is set; those that run then are handed back."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._clean_up(stop))
            while not stop.is_set():
                self._woken.clear()
                claim = await self._claim()
                if claim is not None:
                    self._running += 1
                    group.create_task(self._run(claim, stop))
                    continue
                await first_of(asyncio.sleep(self._poll_s), self._woken.wait(), stop.wait())

    async def _claim(self) -> Claim | None:
        if self._running >= self._settings.api.operations_max:
            return None
        try:
            claim = await self._store.claim()
        except (MongoUnavailableError, CatalogError) as error:
            if not self._refused:
                log.warning("operations_not_started", error=error.message)
            self._refused = True
            return None
        self._refused = False
        return claim

    async def _run(self, claim: Claim, stop: asyncio.Event) -> None:
        """Run the process of one operation to its end."""
        try:
            status = await self._run_process(claim, stop)
            log.info("operation_process_ended", operation=claim.operation.id, exit_code=status.exit_code)
            with suppress(MongoUnavailableError, CatalogError):  # its lease expires
                await self._store.settle(claim, status.reason)
        finally:
            self._running -= 1
            self.wake()

    async def _run_process(self, claim: Claim, stop: asyncio.Event) -> ExitStatus:
        service = partial(run_operation, operation=claim.operation, token=claim.token)
        fields = {"service": "api", "operation": claim.operation.id}
        try:
            process = WorkerProcess(f"operation-{claim.operation.kind}", service, self._settings, fields)
        except OSError as error:  # no process or file descriptor is available
            return ExitStatus(1, f"its process cannot be started: {error.strerror or error}")
        with process:
            await first_of(process.wait(), self._until_overdue(claim), stop.wait())
            process.terminate()
            with suppress(TimeoutError):
                return await asyncio.wait_for(process.wait(), _END_GRACE_S)
        return ExitStatus(1, "it had to be killed")

    async def _until_overdue(self, claim: Claim) -> None:
        """Return when the process should have ended: it was cancelled, or another one has taken the operation over."""
        while True:
            await asyncio.sleep(self._poll_s)
            with suppress(MongoUnavailableError, CatalogError):
                current = await self._store.get(claim.operation.id)
                if current is None or current.cancel_requested or current.attempts != claim.operation.attempts:
                    await asyncio.sleep(_CANCEL_GRACE_S)
                    return

    async def _clean_up(self, stop: asyncio.Event) -> None:
        """Delete operations that ended long ago, with their files."""
        while not stop.is_set():
            try:
                await clean_up(self._store, timedelta(hours=self._settings.api.operations_kept_h))
            except (MongoUnavailableError, CatalogError) as error:
                log.warning("operations_not_cleaned_up", error=error.message)
            await first_of(asyncio.sleep(_CLEAN_UP_S), stop.wait())


async def clean_up(store: OperationStore, kept: timedelta) -> None:
    """Delete operations that ended before that, with their files, and files whose operation is gone.

    Raises:
        MongoUnavailableError: MongoDB became unavailable; the next run completes it.
    """
    files = OperationFiles(store.database)
    old = await store.ended_before(datetime.now(UTC) - kept)
    await files.delete(*old)
    await delete_refused_rows(store.database, old)
    await store.delete(old)
    for owner in await files.orphans():
        if not await store.needs_files(owner):
            await files.delete(owner)
