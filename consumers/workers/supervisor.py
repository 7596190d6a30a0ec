"""Runs several consumers of one group on one host: starts their processes, restarts those that die, stops them all."""

import asyncio
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from consumers.workers.http import serve_workers
from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError, UsageError, WorkerError
from framematch.core.kafka.cluster_state import frames_partitions
from framematch.core.lifecycle import first_of
from framematch.core.settings import HttpSettings, Settings
from framematch.core.worker_process import ExitStatus, Service, WorkerProcess

log = structlog.get_logger()

EXIT_REPORT_S = 5.0
"""The parent's deadline beyond `shutdown_deadline_s`, so that a worker can still report why it was not done."""

_FIRST_DELAY_S = 1.0
_MAX_DELAY_S = 30.0
_STABLE_AFTER_S = 60.0  # a worker that ran this long is restarted after the first delay again
_CLEAN_EXIT_CODES = (0, -signal.SIGTERM)  # one that gets SIGTERM before it handles signals dies of it


class WorkerMetrics:
    """The supervisor's metrics, by worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.up = Gauge("framematch_consumer_worker_up", "1 while its process runs", ["worker"], registry=registry)
        self.restarts = Counter(
            "framematch_consumer_worker_restarts", "Restarts of its process", ["worker"], registry=registry
        )


async def run_workers(settings: Settings, stop: asyncio.Event, service: Service) -> None:
    """Run `service` in `settings.consumer.workers` processes until `stop` is set and all have ended.

    A process that ends earlier is restarted after a growing delay. `settings.http` serves the health and the metrics of
    all workers.

    Raises:
        UsageError: a worker found that the settings are wrong; the others have been stopped.
        WorkerError: a worker did not finish in time, or failed while it shut down.
    """
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    with TemporaryDirectory(prefix="framematch-workers-") as folder:
        sockets = {number: Path(folder, str(number)) for number in range(1, settings.consumer.workers + 1)}
        supervisors = [
            WorkerSupervisor(
                number, service, settings.model_copy(update={"http": HttpSettings(host=str(socket))}), metrics
            )
            for number, socket in sockets.items()
        ]
        async with serve_workers(sockets, registry, settings.http), asyncio.TaskGroup() as group:
            warning = group.create_task(_warn_of_idle_workers(settings))
            runs = [group.create_task(supervisor.run(stop)) for supervisor in supervisors]
            await asyncio.wait(runs)
            warning.cancel()
    _raise_failure([run.result() for run in runs])


class WorkerSupervisor:
    """Owns the processes of one worker: runs one after another until it is stopped."""

    def __init__(self, number: int, service: Service, settings: Settings, metrics: WorkerMetrics) -> None:
        self._number = number
        self._service = service
        self._settings = settings
        self._up = metrics.up.labels(str(number))
        self._restarts = metrics.restarts.labels(str(number))

    async def run(self, stop: asyncio.Event) -> ExitStatus | None:
        """Run and restart the process until `stop` is set; returns its exit status, None when none ran then.

        Sets `stop` itself when the settings are wrong, as a restart would not help.
        """
        backoff = Backoff(_FIRST_DELAY_S, _MAX_DELAY_S)
        while True:
            started_s = time.monotonic()
            status = await self._run_once(stop)
            if stop.is_set() or status.exit_code == UsageError.exit_code:
                stop.set()
                return status
            if time.monotonic() - started_s >= _STABLE_AFTER_S:
                backoff.reset()
            delay_s = backoff.next_delay_s()
            fields = {"exit_code": status.exit_code, "reason": status.reason, "hint": status.hint}
            log.warning("worker_ended", worker=str(self._number), **fields, retry_in_s=round(delay_s, 3))
            await first_of(asyncio.sleep(delay_s), stop.wait())
            if stop.is_set():
                return None
            self._restarts.inc()
            log.info("worker_restarted", worker=str(self._number))

    async def _run_once(self, stop: asyncio.Event) -> ExitStatus:
        """Run one process from its start to its end."""
        try:
            fields = {"service": "consumer", "worker": str(self._number)}
            process = WorkerProcess(f"worker-{self._number}", self._service, self._settings, fields)
        except OSError as error:  # no process or file descriptor is available
            return ExitStatus(1, f"its process cannot be started: {error.strerror or error}")
        with process, self._up.track_inprogress():
            log.info("worker_started", worker=str(self._number), pid=process.pid)
            await first_of(process.wait(), stop.wait())
            process.terminate()
            return await process.wait()


def _raise_failure(statuses: list[ExitStatus | None]) -> None:
    """Raise the first failure in the order of the workers' numbers, but wrong settings before any other."""
    failed = {n: status for n, status in enumerate(statuses, 1) if status and status.exit_code not in _CLEAN_EXIT_CODES}
    for status in failed.values():
        if status.exit_code == UsageError.exit_code:
            raise UsageError(status.reason, hint=status.hint)
    for number, status in failed.items():
        raise WorkerError(f"worker {number} did not end as it should: {status.reason}", hint=status.hint)


async def _warn_of_idle_workers(settings: Settings) -> None:
    workers = settings.consumer.workers
    try:
        partitions = await frames_partitions(settings.kafka) or settings.kafka.partitions
    except KafkaUnavailableError:
        return  # every worker reports it
    if workers > partitions:
        hint = "A partition has one consumer at a time: run no more workers, or make more partitions"
        log.warning("workers_idle", workers=workers, partitions=partitions, hint=hint)
