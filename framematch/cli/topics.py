"""`framematch topics`: how many partitions a site needs, what there is, and what is missing."""

import asyncio
from pathlib import Path

import msgspec
import typer
from rich.console import Console

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.topic_plan import Plan, Site, plan_site
from framematch.cli.topic_report import create_commands, settings_lines, state_table, summary_lines, traffic_table
from framematch.core.kafka.cluster_state import cluster_state
from framematch.core.kafka.topics import ensure_topics, replicas_of, topic_specs
from framematch.core.settings import KafkaSettings

_S_PER_MINUTE, _S_PER_HOUR = 60.0, 3_600.0
_KB, _MB = 1e3, 1e6
_SETTINGS = "the settings'"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Plan the topics of a site, see those of a cluster, and create what is missing.",
    epilog="Start with `framematch topics plan --cameras 200 --fps 5`",
)


@app.command(epilog="Example: `framematch topics plan --cameras 200 --fps 5 --retention-minutes 30`")
def plan(
    *,
    cameras: int = typer.Option(..., help="Cameras of the whole site."),
    fps: float | None = typer.Option(None, help="Frames a second of each.", show_default=_SETTINGS),
    frame_kb: float = typer.Option(50.0, help="Size of a frame's JPEG."),
    regions: float = typer.Option(1.0, help="Regions of a frame on average: each gives a match event."),
    retention_minutes: float | None = typer.Option(None, help="Of frames.", show_default=_SETTINGS),
    events_hours: float | None = typer.Option(None, help="Kept: what is no frame.", show_default=_SETTINGS),
    consumer_fps: float = typer.Option(200.0, help="Frames a second that one consumer manages: measure yours."),
    index_rows: int = typer.Option(10_000, help="Pictures in the catalogue's index."),
    subscribers: int = typer.Option(1, help="Who reads all match events and sightings."),
    brokers: int = typer.Option(3, help="Of the cluster."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON, in bytes and seconds."),
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Compute partitions, consumers, traffic and disk for a number of cameras, without asking a server.

    Give the rates of a busy hour. docs/operations.md says what is assumed.
    """
    settings = prepare_command("topics", config)
    kafka = _planned(settings.kafka, retention_minutes, events_hours, brokers)
    site = Site(
        cameras=cameras,
        fps=settings.edge.fps if fps is None else fps,
        frame_bytes=frame_kb * _KB,
        frames_retention_s=kafka.frames_retention_minutes * _S_PER_MINUTE,
        events_retention_s=kafka.matches_retention_hours * _S_PER_HOUR,
        regions=regions,
        consumer_fps=consumer_fps,
        in_flight_bytes=settings.consumer.in_flight_max_mb * _MB,
        index_rows=index_rows,
        subscribers=subscribers,
        brokers=brokers,
        replicas=replicas_of(kafka, brokers),
    )
    found = plan_site(site)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        _print(site, found, kafka.model_copy(update={"partitions": found.partitions}))


@app.command(name="list", epilog="Example: `framematch topics list`")
def list_topics(config: Path | None = CONFIG_OPTION) -> None:
    """Show the topics as they are, and in what they differ from the settings."""
    kafka = prepare_command("topics", config).kafka
    cluster = asyncio.run(cluster_state(kafka))
    Console(highlight=False).print(state_table(topic_specs(kafka, cluster.brokers), cluster))


@app.command(epilog="Example: `FRAMEMATCH_KAFKA__PARTITIONS=48 framematch topics create`")
def create(config: Path | None = CONFIG_OPTION) -> None:
    """Create the topics that are missing, as the settings say; those that exist stay as they are."""
    created = asyncio.run(ensure_topics(prepare_command("topics", config).kafka))
    typer.echo("\n".join(f"created {name}" for name in created) or "All topics are there.")


def _planned(kafka: KafkaSettings, minutes: float | None, hours: float | None, brokers: int) -> KafkaSettings:
    """The settings with what the command line says."""
    update = {
        "frames_retention_minutes": kafka.frames_retention_minutes if minutes is None else minutes,
        "matches_retention_hours": kafka.matches_retention_hours if hours is None else hours,
        "replication_factor": replicas_of(kafka, brokers),
    }
    return kafka.model_copy(update=update)


def _print(site: Site, found: Plan, kafka: KafkaSettings) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for line in summary_lines(site, found):
        console.print(line)
    console.print()
    console.print(traffic_table(found))
    console.print("\nSettings, for topics that are created from now on:\n")
    for line in settings_lines(kafka):
        console.print(line, markup=False)
    console.print("\nThen `framematch topics create`, or with Kafka's own tool:\n")
    for line in create_commands(kafka, topic_specs(kafka, site.brokers)):
        console.print(line, markup=False)
