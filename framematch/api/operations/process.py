"""The process of one operation: does its work, renews its lease, and says how it ended."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import structlog

from framematch.api.operations.building import build_index
from framematch.api.operations.calibrating import calibrate_index
from framematch.api.operations.exporting import export_products
from framematch.api.operations.importing import import_upload
from framematch.api.operations.operation import Kind, Operation, OperationError
from framematch.api.operations.purging import purge_products
from framematch.api.operations.store import Claim, OperationStore
from framematch.api.operations.work import DoWork, InterruptedWorkError, Work
from framematch.api.problems import to_problem
from framematch.catalog.mongo import open_database
from framematch.core.error_groups import describe, first_error
from framematch.core.errors import FramematchError, MongoUnavailableError
from framematch.core.settings import Settings

log = structlog.get_logger()

WORK: Final[Mapping[Kind, DoWork]] = {
    "import": import_upload,
    "export": export_products,
    "build": build_index,
    "calibrate": calibrate_index,
    "purge": purge_products,
}

_HEARTBEAT_S = 1.0
_GRACE_S = 5.0  # for the next step of the work, before it is cut off
_NICENESS = 10  # requests and matching come first


async def run_operation(settings: Settings, stop: asyncio.Event, *, operation: Operation, token: str) -> None:
    """Do the work of an operation, and write its end; when `stop` is set, hand it back.

    Raises:
        MongoUnavailableError: MongoDB became unavailable, so how it ended is not written.
    """
    os.nice(_NICENESS)
    async with open_database(settings) as database:
        run = OperationRun(OperationStore(database), Claim(operation, token), Work(settings, database, operation))
        if await run.run(WORK[operation.kind], stop) and operation.kind == "import":
            await run.work.files.delete(operation.parameters["upload"])


class OperationRun:
    """One attempt of an operation."""

    def __init__(self, store: OperationStore, claim: Claim, work: Work, *, heartbeat_s: float = _HEARTBEAT_S) -> None:
        self.work = work
        self._store = store
        self._claim = claim
        self._heartbeat_s = heartbeat_s
        self._cancelled = False
        self._lost = False

    async def run(self, do_work: DoWork, stop: asyncio.Event) -> bool:
        """Do the work beside the heartbeat, and write how it ended.

        Returns False when another process has it now, or is to take it over.
        """
        task = asyncio.ensure_future(do_work(self.work))
        try:
            await self._watch(task, stop)
        finally:
            task.cancel()
            await asyncio.wait([task])
        return await self._write_end(task, stop)

    async def _watch(self, task: "asyncio.Future[dict[str, Any]]", stop: asyncio.Event) -> None:
        """Renew the lease until the work has ended, and interrupt it when it is to end earlier."""
        interrupted_s: float | None = None
        loop = asyncio.get_running_loop()
        while not task.done():
            with suppress(MongoUnavailableError):  # the work itself says so when it needs MongoDB
                current = await self._store.heartbeat(self._claim, self.work.meter.progress())
                self._lost = current is None
                self._cancelled = current is not None and current.cancel_requested
            if self._lost or self._cancelled or stop.is_set():
                self.work.meter.interrupted = True
                interrupted_s = loop.time() if interrupted_s is None else interrupted_s
                if loop.time() - interrupted_s > _GRACE_S:
                    return
            await asyncio.wait([task], timeout=self._heartbeat_s)

    async def _write_end(self, task: "asyncio.Future[dict[str, Any]]", stop: asyncio.Event) -> bool:
        """Write how it ended; False if it goes on in another process."""
        error = None if task.cancelled() else task.exception()
        interrupted = error is None or isinstance(first_error(error), InterruptedWorkError)
        if self._lost:
            log.warning("operation_lost", operation=self._claim.operation.id)
            return False
        if not task.cancelled() and error is None:
            await self._store.heartbeat(self._claim, self.work.meter.progress())
            return await self._store.finish(self._claim, "succeeded", result=task.result())
        if self._cancelled:
            return await self._store.finish(self._claim, "cancelled")
        if stop.is_set() and interrupted:
            await self._store.hand_back(self._claim)
            return False
        return await self._store.finish(self._claim, "failed", error=to_error(error))


def to_error(error: BaseException | None) -> OperationError:
    """Why the work failed, as the API would answer it."""
    first = first_error(error or asyncio.CancelledError())
    if not isinstance(first, FramematchError):
        log.error("operation_crashed", error=describe(first), exc_info=first)
    problem = to_problem(first)
    return OperationError(problem.status, problem.code, problem.message, problem.hint)
