"""The output of `framematch topics`: the plan of a site, and the existing topics."""

import math
import shlex
from collections.abc import Iterable

from aiokafka.admin import NewTopic
from rich.table import Table

from framematch.cli.topic_plan import UTILISATION_MAX, Plan, Site
from framematch.core.kafka.cluster_state import ClusterState, differences
from framematch.core.settings import KafkaSettings
from framematch.core.units import BYTES_PER_GB, BYTES_PER_KB, BYTES_PER_MB, MS_PER_HOUR


def traffic_table(plan: Plan) -> Table:
    """The write rate and the disk usage of each topic."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Topic")
    for name in ("Partitions", "MB/s", "GB on disk, all replicas"):
        table.add_column(name, justify="right")
    for topic in plan.topics:
        table.add_row(
            topic.name, str(topic.partitions), _number(topic.bytes_per_s / BYTES_PER_MB), _whole(topic.disk_bytes)
        )
    disk_bytes = sum(topic.disk_bytes for topic in plan.topics)
    table.add_row("all", "", _number(plan.in_bytes_per_s / BYTES_PER_MB), _whole(disk_bytes), style="bold")
    return table


def summary_lines(site: Site, plan: Plan) -> list[str]:
    """The load of the site, of each broker, and of the consumers."""
    each = f"{site.cameras:,} x {site.fps:g} frames/s x {site.frame_bytes / BYTES_PER_KB:g} kB"
    into, out = _number(plan.broker_in_bytes_per_s / BYTES_PER_MB), _number(plan.broker_out_bytes_per_s / BYTES_PER_MB)
    busy = f"{_number(plan.busiest_frames_per_s)} of the {_number(site.consumer_fps)} frames/s that it manages"
    return [
        f"Cameras    {each} = {_number(plan.frames_per_s)} frames/s",
        f"Brokers    {site.brokers} x {into} MB/s in, {out} MB/s out, {_whole(plan.broker_disk_bytes)} GB of disk",
        f"Consumers  {plan.consumers} processes x {plan.consumer_memory_bytes / BYTES_PER_GB:.1f} GB of memory",
        f"           the busiest has {plan.busiest_cameras} cameras: {busy} ({UTILISATION_MAX:.0%} at most)",
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
    """The existing topics, and how they differ from the settings."""
    table = Table("Topic", box=None, pad_edge=False)
    for name in ("Partitions", "Replicas", "Retention, hours"):
        table.add_column(name, justify="right")
    table.add_column("Differs from the settings")
    for spec in specs:
        if (found := cluster.topics.get(spec.name)) is None:
            table.add_row(spec.name, "-", "-", "-", "missing: framematch topics create")
            continue
        table.add_row(
            found.name,
            str(found.partitions),
            str(found.replicas),
            _retention(found.config),
            "; ".join(differences(spec, found)),
        )
    return table


def _retention(config: dict[str, str]) -> str:
    if config.get("cleanup.policy") == "compact":
        return "compacted"
    milliseconds = int(config["retention.ms"])
    return "unlimited" if milliseconds < 0 else f"{milliseconds / MS_PER_HOUR:g}"


def _number(value: float) -> str:
    """At least three digits, and decimals only as far as needed for them."""
    decimals = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{decimals}f}"


def _whole(size_bytes: float) -> str:
    return f"{max(size_bytes / BYTES_PER_GB, 1):,.0f}"
