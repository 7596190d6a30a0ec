"""What `framematch topics` prints: the plan of a site, and topics as they are."""

import math
import shlex
from collections.abc import Iterable

from aiokafka.admin import NewTopic
from rich.table import Table

from framematch.cli.topic_plan import BUSY, Plan, Site
from framematch.core.kafka.cluster_state import ClusterState, differences
from framematch.core.settings import KafkaSettings

_KB, _MB, _GB = 1e3, 1e6, 1e9


def traffic_table(plan: Plan) -> Table:
    """What is written to each topic, and the disk that it fills."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Topic")
    for name in ("Partitions", "MB/s", "GB on disk, all replicas"):
        table.add_column(name, justify="right")
    for topic in plan.topics:
        table.add_row(topic.name, str(topic.partitions), _number(topic.bytes_per_s / _MB), _whole(topic.disk_bytes))
    disk_bytes = sum(topic.disk_bytes for topic in plan.topics)
    table.add_row("all", "", _number(plan.in_bytes_per_s / _MB), _whole(disk_bytes), style="bold")
    return table


def summary_lines(site: Site, plan: Plan) -> list[str]:
    """The site, what a broker of the cluster carries, and the consumers."""
    each = f"{site.cameras:,} x {site.fps:g} frames/s x {site.frame_bytes / _KB:g} kB"
    into, out = _number(plan.broker_in_bytes_per_s / _MB), _number(plan.broker_out_bytes_per_s / _MB)
    busy = f"{_number(plan.busiest_frames_per_s)} of the {_number(site.consumer_fps)} frames/s that it manages"
    return [
        f"Cameras    {each} = {_number(plan.frames_per_s)} frames/s",
        f"Brokers    {site.brokers} x {into} MB/s in, {out} MB/s out, {_whole(plan.broker_disk_bytes)} GB of disk",
        f"Consumers  {plan.consumers} processes x {plan.consumer_memory_bytes / _GB:.1f} GB of memory",
        f"           the busiest has {plan.busiest_cameras} cameras: {busy} ({BUSY:.0%} at most)",
    ]


def settings_lines(kafka: KafkaSettings) -> list[str]:
    """The settings of the plan as YAML."""
    names = ("partitions", "replication_factor", "frames_retention_minutes", "matches_retention_hours")
    return ["kafka:", *(f"  {name}: {getattr(kafka, name):g}" for name in names)]


def create_commands(kafka: KafkaSettings, specs: Iterable[NewTopic]) -> list[str]:
    """Kafka's own command for each topic."""
    server = kafka.bootstrap_servers or "KAFKA:9092"
    return [
        shlex.join(
            [
                *("kafka-topics.sh", "--bootstrap-server", server, "--create", "--topic", spec.name),
                *("--partitions", str(spec.num_partitions), "--replication-factor", str(spec.replication_factor)),
                *(word for name, value in spec.topic_configs.items() for word in ("--config", f"{name}={value}")),
            ]
        )
        for spec in specs
    ]


def state_table(specs: Iterable[NewTopic], cluster: ClusterState) -> Table:
    """Topics as they are, and in what they are not as the settings would make them."""
    table = Table("Topic", box=None, pad_edge=False)
    for name in ("Partitions", "Replicas", "Hours kept"):
        table.add_column(name, justify="right")
    table.add_column("Not as the settings say")
    for spec in specs:
        if (found := cluster.topics.get(spec.name)) is None:
            table.add_row(spec.name, "-", "-", "-", "missing: framematch topics create")
            continue
        table.add_row(
            found.name,
            str(found.partitions),
            str(found.replicas),
            _kept(found.config),
            "; ".join(differences(spec, found)),
        )
    return table


def _kept(config: dict[str, str]) -> str:
    if config.get("cleanup.policy") == "compact":
        return "the last"
    milliseconds = int(config["retention.ms"])
    return "for ever" if milliseconds < 0 else f"{milliseconds / 3_600_000:g}"


def _number(value: float) -> str:
    """Three digits at least, and no decimals beyond them."""
    decimals = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{decimals}f}"


def _whole(size_bytes: float) -> str:
    return f"{max(size_bytes / _GB, 1):,.0f}"
