"""Several consumers of one group on one host: starts their processes, starts again what dies, ends all together."""

import asyncio
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from prometheus_client import CollectorRegistry

from consumers.workers.http import serve_workers
from consumers.workers.metrics import WorkerMetrics
from consumers.workers.process import Ending, Work, WorkerProcess
from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError, UsageError, WorkerError
from framematch.core.kafka.cluster_state import frames_partitions
from framematch.core.lifecycle import first_of
from framematch.core.settings import HttpSettings, Settings

log = structlog.get_logger()

LAST_WORDS_S = 5.0
"""What the parent waits beyond `shutdown_deadline_s`, so that a worker can still say what it was busy with."""

_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 30.0
_STABLE_AFTER_S = 60.0  # who ran so long starts again from the first delay


async def run_workers(settings: Settings, stop: asyncio.Event, work: Work) -> None:
    """Run `settings.consumer.workers` processes that do `work` each, until `stop` is set and all have ended.

    One that ends before is started again, after a delay that grows. `settings.http` serves what all of them say.

    Raises:
        UsageError: the settings are wrong: what the first worker said that found out. The others have ended too.
        WorkerError: one did not finish what it had in time, or failed at the end.
    """
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    with TemporaryDirectory(prefix="framematch-workers-") as folder:
        sockets = {number: Path(folder, str(number)) for number in range(1, settings.consumer.workers + 1)}
        keepers = [
            WorkerKeeper(number, work, settings.model_copy(update={"http": HttpSettings(host=str(socket))}), metrics)
            for number, socket in sockets.items()
        ]
        async with serve_workers(sockets, registry, settings.http), asyncio.TaskGroup() as group:
            warning = group.create_task(_warn_of_idle_workers(settings))
            runs = [group.create_task(keeper.run(stop)) for keeper in keepers]
            await asyncio.wait(runs)
            warning.cancel()
    _judge([run.result() for run in runs])


class WorkerKeeper:
    """The one owner of a worker's processes: one after the other, until it is told to stop."""

    def __init__(self, number: int, work: Work, settings: Settings, metrics: WorkerMetrics) -> None:
        self._number = number
        self._work = work
        self._settings = settings
        self._up = metrics.up.labels(str(number))
        self._restarts = metrics.restarts.labels(str(number))

    async def run(self, stop: asyncio.Event) -> Ending | None:
        """Keep it going until `stop` is set; how the last process ended, None when none ran then.

        Sets `stop` itself when the settings are wrong: another try would find the same.
        """
        backoff = Backoff(_FIRST_DELAY_S, _LONGEST_DELAY_S)
        while True:
            began_s = time.monotonic()
            ending = await self._live(stop)
            if stop.is_set() or ending.exit_code == UsageError.exit_code:
                stop.set()
                return ending
            if time.monotonic() - began_s >= _STABLE_AFTER_S:
                backoff.reset()
            delay_s = backoff.next_delay_s()
            fields = {"exit_code": ending.exit_code, "reason": ending.reason, "hint": ending.hint}
            log.warning("worker_ended", worker=str(self._number), **fields, retry_in_s=round(delay_s, 3))
            await first_of(asyncio.sleep(delay_s), stop.wait())
            if stop.is_set():
                return None
            self._restarts.inc()
            log.info("worker_restarted", worker=str(self._number))

    async def _live(self, stop: asyncio.Event) -> Ending:
        """One process from its start to its end."""
        try:
            process = WorkerProcess(self._number, self._work, self._settings)
        except OSError as error:  # no process or descriptor is left
            return Ending(1, f"its process cannot be started: {error.strerror or error}")
        with process, self._up.track_inprogress():
            log.info("worker_started", worker=str(self._number), pid=process.pid)
            await first_of(process.ended(), stop.wait())
            process.terminate()
            return await process.ended()


def _judge(endings: list[Ending | None]) -> None:
    """Raise what the workers ended of, in the order of their numbers, wrong settings first."""
    failed = {number: ending for number, ending in enumerate(endings, 1) if ending and not _finished(ending)}
    for ending in failed.values():
        if ending.exit_code == UsageError.exit_code:
            raise UsageError(ending.reason, hint=ending.hint)
    for number, ending in failed.items():
        raise WorkerError(f"worker {number} did not end as it should: {ending.reason}", hint=ending.hint)


def _finished(ending: Ending) -> bool:
    """Whether it did all that it had to; told to stop before it had begun anything, it dies of the signal."""
    return ending.exit_code in (0, -signal.SIGTERM)


async def _warn_of_idle_workers(settings: Settings) -> None:
    workers = settings.consumer.workers
    try:
        partitions = await frames_partitions(settings.kafka) or settings.kafka.partitions
    except KafkaUnavailableError:
        return  # every worker says so, as often as it tries
    if workers > partitions:
        hint = "A partition has one consumer at a time: run no more workers, or make more partitions"
        log.warning("workers_idle", workers=workers, partitions=partitions, hint=hint)
