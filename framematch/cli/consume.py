"""`framematch consume`: frames in, match events out."""

from pathlib import Path

import typer

from framematch.cli.common import CONFIG_OPTION, needs, overrides, prepare
from framematch.core.lifecycle import run_service


def consume(
    config: Path | None = CONFIG_OPTION,
    batch_size: int | None = typer.Option(None, help="Frames a batch at most.", show_default="16"),
    threshold: float | None = typer.Option(None, help="Similarity for a match.", show_default="the snapshot's"),
) -> None:
    """Match frames against the product catalogue and publish the decisions.

    Start as many processes as the frames topic has partitions: Kafka's consumer group shares the work among them.
    Offsets are committed only after the match events are acknowledged; SIGTERM finishes what is in flight.

    Example: `KAFKA_BOOTSTRAP_SERVERS=kafka:9092 MONGODB_URI=mongodb://mongo TRITON_URL=triton:8001 framematch consume`
    """
    with needs("consumer,cpu"):
        from consumers.service import run_consumer

    settings = prepare(
        "consumer", config, overrides(consumer={"batch_size": batch_size}, matching={"threshold": threshold})
    )
    run_service(lambda stop: run_consumer(settings, stop), shutdown_deadline_s=settings.shutdown_deadline_s)
