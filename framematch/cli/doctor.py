"""`framematch doctor`: what is reachable, what is wrong, and what to do."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pynvml
import typer
from rich.table import Table
from rich.text import Text

from framematch.cli.camera_statuses import read_statuses
from framematch.cli.camera_table import CameraTable, summary
from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.console import new_console
from framematch.cli.errors import hint_of, missing_package
from framematch.core.errors import FramematchError
from framematch.core.gpu import read_gpus
from framematch.core.kafka.clients import kafka_errors, new_admin, started
from framematch.core.kafka.topics import PARTITIONS_HINT, Topics, differing_partitions
from framematch.core.redact import redact_url
from framematch.core.settings import KafkaSettings, Settings
from framematch.core.settings_sources import require
from framematch.core.timestamps import now_us

_TRITON_TIMEOUT_MAX_S = 3.0
_MARKS = {True: Text("ok", "green"), False: Text("no", "bold red"), None: Text("-", "dim")}


@dataclass(frozen=True)
class Finding:
    """A row of the report; `ok` is None for what a consumer can run without."""

    part: str
    ok: bool | None
    detail: str
    hint: str = ""


def doctor(config: Path | None = CONFIG_OPTION) -> None:
    """Check packages, Kafka, cameras, MongoDB, Triton, the model, the index and the GPU, and say what to do.

    Exit code 0 when `framematch consume` has everything that it needs, 1 otherwise.

    Example: `TRITON_URL=triton:8001 framematch doctor`
    """
    settings = prepare_command("doctor", config)
    findings = asyncio.run(_check_all(settings))
    table = Table("", "Part", "Found", "What to do", box=None, pad_edge=False)
    for finding in findings:
        table.add_row(_MARKS[finding.ok], finding.part, redact_url(finding.detail), redact_url(finding.hint))
    new_console().print(table)
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(1)


async def _check_all(settings: Settings) -> list[Finding]:
    """Run all checks concurrently; the findings are in the order in which a newcomer would fix them."""
    checks: list[tuple[str, Callable[[Settings], Awaitable[list[Finding]]]]] = [
        ("Packages", _packages),
        ("Kafka", _kafka),
        ("MongoDB", _catalogue),
        ("Triton", _model),
        ("GPU", _gpu),
    ]
    found = await asyncio.gather(*(_guarded(part, check, settings) for part, check in checks))
    return [finding for findings in found for finding in findings]


async def _guarded(
    part: str, check: Callable[[Settings], Awaitable[list[Finding]]], settings: Settings
) -> list[Finding]:
    try:
        return await check(settings)
    except ImportError as error:
        if (missing := missing_package(error, "doctor")) is None:
            raise
        return [Finding(part, False, missing.message, missing.hint)]
    except FramematchError as error:
        return [Finding(part, False, error.message, hint_of(error))]


async def _packages(_settings: Settings) -> list[Finding]:
    import_module("consumers.service")
    return [Finding("Packages", True, "all that framematch consume needs")]


async def _kafka(settings: Settings) -> list[Finding]:
    kafka: KafkaSettings = settings.kafka
    async with started(new_admin(kafka), kafka) as admin:
        with kafka_errors(kafka):
            existing = set(await admin.list_topics())
            wanted = [name for name in Topics(kafka.topic_prefix).all if name in existing]
            found = await admin.describe_topics(wanted) if wanted else []
    return [
        Finding("Kafka", True, f"{kafka.bootstrap_servers} by {kafka.security_protocol}"),
        _topics(kafka, {topic["topic"]: len(topic["partitions"]) for topic in found}),
        await _cameras(settings),
    ]


def _topics(kafka: KafkaSettings, partitions: dict[str, int]) -> Finding:
    """Which topics are missing, and whether those that are keyed by camera have the same number of partitions."""
    topics = Topics(kafka.topic_prefix)
    if missing := [name for name in topics.all if name not in partitions]:
        hint = "The edge or the consumer creates them when it starts"
        return Finding("Topics", None, f"missing {', '.join(missing)}", hint)
    if differing := differing_partitions(topics, partitions):
        return Finding("Topics", None, f"different numbers of partitions: {differing}", PARTITIONS_HINT)
    return Finding("Topics", True, "all exist")


async def _cameras(settings: Settings) -> Finding:
    """The number of cameras in each state; consumers run also without cameras."""
    table = CameraTable(settings.edge.status_interval_s)
    try:
        await read_statuses(settings.kafka, table)
    except FramematchError as error:
        return Finding("Cameras", None, error.message, hint_of(error))
    if not (counts := table.counts(now_us())):
        return Finding("Cameras", None, "no status of any", "Run framematch edge --camera ID=SOURCE")
    troubled = any(state != "online" for state in counts)
    hint = "Run framematch cameras to see the reasons" if troubled else ""
    return Finding("Cameras", None if troubled else True, summary(counts), hint)


async def _catalogue(settings: Settings) -> list[Finding]:
    from framematch.catalog.mongo import connect
    from framematch.catalog.products import ProductStore
    from framematch.catalog.snapshot_store import active_snapshot, load_manifest

    uri = require(settings.mongodb.uri, "mongodb.uri").get_secret_value()
    async with await connect(uri, settings.mongodb.timeout_s) as client:
        database = client[settings.mongodb.database]
        store = ProductStore(database)
        count, version = await store.count(), await store.catalog_version()
        active = await active_snapshot(database)
        manifest = await load_manifest(database, active.snapshot_id) if active else None
    products = Finding("Products", count > 0, str(count), "" if count else "Run framematch catalog import FILE")
    if manifest is None:
        index = Finding("Index", False, "none", "Run framematch catalog build")
    elif manifest.catalog_version != version:
        index = Finding("Index", None, f"{manifest.id}, older than the catalogue", "Run framematch catalog build")
    else:
        index = Finding("Index", True, f"{manifest.id}, {manifest.rows} rows of {manifest.model_name}")
    return [Finding("MongoDB", True, uri), products, index]


async def _model(settings: Settings) -> list[Finding]:
    from framematch.vision.encoder import ImageEncoder

    url = require(settings.triton.url, "triton.url")
    async with await ImageEncoder.connect(
        url, timeout_s=min(settings.triton.timeout_s, _TRITON_TIMEOUT_MAX_S), key=settings.triton.key
    ) as encoder:
        manifest = encoder.manifest
    served = f"{manifest.name} ({manifest.digest[:12]}), {manifest.dimension} dimensions"
    return [Finding("Triton", True, url), Finding("Model", True, served)]


async def _gpu(_settings: Settings) -> list[Finding]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [Finding("GPU", None, f"none ({error})", "Not required: models also run on the CPU")]
    try:
        gpus = [f"{sample.name}, {sample.utilisation_percent} % busy" for sample in read_gpus()]
    finally:
        pynvml.nvmlShutdown()
    return [Finding("GPU", True, "; ".join(gpus))]
