"""`framematch doctor`: what is reachable, what is wrong, what to do."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pynvml
import typer
from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console
from rich.table import Table

from framematch.cli.camera_board import CameraBoard, summary
from framematch.cli.cameras import read_known
from framematch.cli.common import CONFIG_OPTION, missing_extra, prepare_command
from framematch.core.errors import FramematchError
from framematch.core.gpu import read_gpus
from framematch.core.kafka.clients import client_options, started
from framematch.core.kafka.topics import Topics
from framematch.core.redact import redact_url
from framematch.core.settings import KafkaSettings, Settings
from framematch.core.settings_sources import require
from framematch.core.timestamps import now_us


@dataclass(frozen=True)
class Finding:
    """One line of the report; `ok` is None for what a service can run without."""

    part: str
    ok: bool | None
    detail: str
    hint: str = ""


def doctor(config: Path | None = CONFIG_OPTION) -> None:
    """Check settings, Kafka, cameras, MongoDB, Triton, the model, the index and the GPU, and say what to do.

    Exit code 0 when everything that `framematch consume` needs is there, 1 otherwise.

    Example: `TRITON_URL=triton:8001 framematch doctor`
    """
    settings = prepare_command("doctor", config)
    findings = asyncio.run(_examine(settings))
    table = Table("", "Part", "Found", "What to do", box=None, pad_edge=False)
    marks = {True: "[green]ok[/]", False: "[bold red]no[/]", None: "[dim]-[/]"}
    for finding in findings:
        table.add_row(marks[finding.ok], finding.part, redact_url(finding.detail), redact_url(finding.hint))
    Console(highlight=False).print(table)
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(1)


async def _examine(settings: Settings) -> list[Finding]:
    """All findings, in the order in which a newcomer would mend them; the checks run side by side."""
    checks: list[tuple[str, Callable[[Settings], Awaitable[list[Finding]]]]] = [
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
        lacking = missing_extra(error, "consumer,cpu")
        return [Finding(part, None, lacking.message, lacking.hint)]
    except FramematchError as error:
        return [Finding(part, False, error.message, error.hint)]


async def _kafka(settings: Settings) -> list[Finding]:
    kafka: KafkaSettings = settings.kafka
    async with started(AIOKafkaAdminClient(**client_options(kafka)), kafka) as admin:
        existing = set(await admin.list_topics())
    missing = [name for name in Topics(kafka.topic_prefix).all if name not in existing]
    topics = f"missing {', '.join(missing)}" if missing else "all there"
    hint = "The edge or the consumer creates them when it starts" if missing else ""
    return [
        Finding("Kafka", True, f"{kafka.bootstrap_servers} by {kafka.security_protocol}"),
        Finding("Topics", None if missing else True, topics, hint),
        await _cameras(settings),
    ]


async def _cameras(settings: Settings) -> Finding:
    """How many cameras are in which state; one that is away does not keep consumers from running."""
    board = CameraBoard(settings.edge.status_interval_s)
    try:
        await read_known(settings.kafka, board)
    except FramematchError as error:
        return Finding("Cameras", None, error.message, error.hint)
    if not (counts := board.counts(now_us())):
        return Finding("Cameras", None, "none has told its status", "Run framematch edge --camera ID=SOURCE")
    troubled = any(state != "online" for state in counts)
    hint = "Run framematch cameras: it says why" if troubled else ""
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
    async with await ImageEncoder.connect(url, timeout_s=min(settings.triton.timeout_s, 3.0)) as encoder:
        manifest = encoder.manifest
    served = f"{manifest.name} ({manifest.digest[:12]}), {manifest.dimension} dimensions"
    return [Finding("Triton", True, url), Finding("Model", True, served)]


async def _gpu(_settings: Settings) -> list[Finding]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [Finding("GPU", None, f"none ({error})", "Not needed: models run on the CPU too")]
    try:
        gpus = [f"{sample.name}, {sample.utilisation_percent} % busy" for sample in read_gpus()]
    finally:
        pynvml.nvmlShutdown()
    return [Finding("GPU", True, "; ".join(gpus))]
