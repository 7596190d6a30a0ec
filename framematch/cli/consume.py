"""`framematch consume`: frames in, match events out."""

from pathlib import Path

import typer

from framematch.cli.common import CONFIG_OPTION, overrides, prepare
from framematch.cli.importing import service_imports


def consume(
    config: Path | None = CONFIG_OPTION,
    batch_size: int | None = typer.Option(None, help="Maximum number of regions in a batch.", show_default="16"),
    threshold: float | None = typer.Option(None, help="Similarity for a match.", show_default="the snapshot's"),
    workers: int | None = typer.Option(None, help="Processes on this host, as one service.", show_default="1"),
) -> None:
    """Match frames against the product catalogue and publish the decisions.

    Start as many consumers as you need, up to the partitions of the frames topic: they share the frames as a Kafka
    consumer group. --workers runs several of them on this host as one service, and restarts one that fails.
    Offsets are committed only after the match events are acknowledged; SIGTERM finishes what is in flight.

    Example: `KAFKA_BOOTSTRAP_SERVERS=kafka:9092 MONGODB_URI=mongodb://mongo TRITON_URL=triton:8001 framematch consume`
    """
    with service_imports():
        from consumers.service import run_consumer
        from framematch.cli.service_log import run_logged
        from framematch.core.lifecycle import run_service

    given = overrides(consumer={"batch_size": batch_size, "workers": workers}, matching={"threshold": threshold})
    settings = prepare("consumer", config, given)
    deadline_s = settings.shutdown_deadline_s

    def run() -> None:
        if settings.consumer.workers == 1:
            run_service(lambda stop: run_consumer(settings, stop), shutdown_deadline_s=deadline_s, log_crash=True)
        else:
            from consumers.workers.supervisor import EXIT_REPORT_S, run_workers

            run_service(
                lambda stop: run_workers(settings, stop, run_consumer),
                shutdown_deadline_s=deadline_s + EXIT_REPORT_S,
                log_crash=True,
            )

    run_logged(settings, "consumer", run)
