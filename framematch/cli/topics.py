"""`framematch topics`: plans the topics of a site, lists them, and creates missing ones."""

import asyncio
from pathlib import Path

import msgspec
import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.console import new_console, print_text
from framematch.cli.topic_plan import Plan, Site, plan_site
from framematch.cli.topic_report import create_commands, settings_lines, state_table, summary_lines, traffic_table
from framematch.core.kafka.cluster_state import cluster_state, partition_differences
from framematch.core.kafka.topics import PARTITIONS_HINT, ensure_topics, replicas_of, topic_specs
from framematch.core.settings import KafkaSettings
from framematch.core.units import BYTES_PER_KB, BYTES_PER_MB, MS_PER_HOUR, MS_PER_MINUTE, MS_PER_S

_SETTINGS = "the settings'"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Plan the topics of a site, list those of a cluster, and create missing ones.",
    epilog="Start with `framematch topics plan --cameras 200 --fps 5`",
)


@app.command(epilog="Example: `framematch topics plan --cameras 200 --fps 5 --retention-minutes 30`")
def plan(
    *,
    cameras: int = typer.Option(..., max=1_000_000, help="Number of cameras of the site."),
    fps: float | None = typer.Option(None, help="Frames per second of each camera.", show_default=_SETTINGS),
    frame_kb: float = typer.Option(50.0, help="Mean size of a JPEG."),
    regions: float = typer.Option(1.0, max=256.0, help="Mean number of regions per frame: each gives a match event."),
    retention_minutes: float | None = typer.Option(None, help="Retention of frames.", show_default=_SETTINGS),
    events_hours: float | None = typer.Option(None, help="Retention of events.", show_default=_SETTINGS),
    consumer_fps: float = typer.Option(200.0, help="Frames per second that one consumer manages: measure yours."),
    index_rows: int = typer.Option(10_000, help="Pictures in the catalogue's index."),
    subscribers: int = typer.Option(1, help="Subscribers that read all match events and sightings."),
    brokers: int = typer.Option(3, help="Brokers of the cluster."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON, in bytes and seconds."),
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Compute partitions, consumers, traffic and disk for a number of cameras, without contacting a server.

    Give the rates of a busy hour. docs/operations.md lists the assumptions.
    """
    settings = prepare_command("topics", config)
    kafka = _planned(settings.kafka, retention_minutes, events_hours, brokers)
    site = Site(
        cameras=cameras,
        fps=settings.edge.fps if fps is None else fps,
        frame_bytes=frame_kb * BYTES_PER_KB,
        frames_retention_s=kafka.frames_retention_minutes * MS_PER_MINUTE / MS_PER_S,
        events_retention_s=kafka.matches_retention_hours * MS_PER_HOUR / MS_PER_S,
        regions=regions,
        consumer_fps=consumer_fps,
        in_flight_bytes=settings.consumer.in_flight_max_mb * BYTES_PER_MB,
        index_rows=index_rows,
        subscribers=subscribers,
        brokers=brokers,
        replicas=replicas_of(kafka, brokers),
    )
    found = plan_site(site)
    if as_json:
        print_text(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        _print(site, found, kafka.model_copy(update={"partitions": found.partitions}))


@app.command(name="list", epilog="Example: `framematch topics list`")
def list_topics(config: Path | None = CONFIG_OPTION) -> None:
    """List the existing topics, and how they differ from the settings."""
    kafka = prepare_command("topics", config).kafka
    cluster = asyncio.run(cluster_state(kafka))
    console = new_console(soft_wrap=True)
    console.print(state_table(topic_specs(kafka, cluster.brokers), cluster))
    if differing := partition_differences(kafka, cluster):
        console.print(f"\nThe numbers of partitions differ: {differing}. {PARTITIONS_HINT}.")


@app.command(epilog="Example: `FRAMEMATCH_KAFKA__PARTITIONS=48 framematch topics create`")
def create(config: Path | None = CONFIG_OPTION) -> None:
    """Create the missing topics according to the settings; existing ones are not changed."""
    created = asyncio.run(ensure_topics(prepare_command("topics", config).kafka))
    print_text("\n".join(f"created {name}" for name in created) or "All topics exist.")


def _planned(kafka: KafkaSettings, minutes: float | None, hours: float | None, brokers: int) -> KafkaSettings:
    """The settings with the options of the command line."""
    update = {
        "frames_retention_minutes": kafka.frames_retention_minutes if minutes is None else minutes,
        "matches_retention_hours": kafka.matches_retention_hours if hours is None else hours,
        "replication_factor": replicas_of(kafka, brokers),
    }
    return kafka.model_copy(update=update)


def _print(site: Site, found: Plan, kafka: KafkaSettings) -> None:
    console = new_console(soft_wrap=True)
    console.print(*summary_lines(site, found), "", sep="\n")
    console.print(traffic_table(found))
    console.print("\nSettings for new topics:\n", *settings_lines(kafka), sep="\n")
    commands = create_commands(kafka, topic_specs(kafka, site.brokers))
    console.print("\nThen `framematch topics create`, or with Kafka's own tool:\n", *commands, sep="\n")
