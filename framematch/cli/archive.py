"""`framematch archive`: events and logs from Kafka to MongoDB."""

from pathlib import Path

from framematch.cli.common import CONFIG_OPTION, prepare


def archive(config: Path | None = CONFIG_OPTION) -> None:
    """Store match events, sightings and log events in MongoDB, where the REST API finds them.

    Start as many as you need: they share the events as a Kafka consumer group. An event is stored once, however often
    it is read, and offsets are committed only after MongoDB has acknowledged the events. SIGTERM finishes the batch.

    How long events are kept is set by `archive.matches_days`, `sightings_days` and `logs_days`.

    Example: `KAFKA_BOOTSTRAP_SERVERS=kafka:9092 MONGODB_URI=mongodb://mongo framematch archive`
    """
    from framematch.archive.service import run_archive
    from framematch.cli.service_log import run_logged
    from framematch.core.lifecycle import run_service

    settings = prepare("archive", config)

    def run() -> None:
        deadline_s = settings.shutdown_deadline_s
        run_service(lambda stop: run_archive(settings, stop), shutdown_deadline_s=deadline_s, log_crash=True)

    run_logged(settings, "archive", run)
