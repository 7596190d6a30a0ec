"""`framematch doctor`: what is reachable, what is wrong, and what to do."""

import asyncio
from collections.abc import Awaitable, Callable
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
from framematch.cli.doctor_api import PART, check_api
from framematch.cli.doctor_matching import check_matching
from framematch.cli.errors import hint_of
from framematch.cli.finding import Checked, Finding, guarded
from framematch.core.errors import FramematchError
from framematch.core.gpu import read_gpus
from framematch.core.kafka.clients import kafka_errors, new_admin, started
from framematch.core.kafka.topics import PARTITIONS_HINT, Topics, differing_partitions
from framematch.core.redact import redact_url
from framematch.core.settings import KafkaSettings, Settings
from framematch.core.timestamps import now_us
from framematch.core.tracing import open_tracer

_MARKS = {True: Text("ok", "green"), False: Text("no", "bold red"), None: Text("-", "dim")}


def doctor(config: Path | None = CONFIG_OPTION) -> None:
    """Check packages, Kafka, cameras, MongoDB, Triton, the model, the index, the API and the GPU, and say what to do.

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
        ("MongoDB", check_matching),
        (PART, check_api),
        ("GPU", _gpu),
    ]
    found = await asyncio.gather(*(_findings(part, check, settings) for part, check in checks))
    return [finding for findings in found for finding in findings]


async def _findings(
    part: str, check: Callable[[Settings], Awaitable[list[Finding]]], settings: Settings
) -> list[Finding]:
    async def checked(settings: Settings) -> Checked[None]:
        return Checked(await check(settings))

    return (await guarded(part, checked, settings)).findings


async def _packages(settings: Settings) -> list[Finding]:
    import_module("consumers.service")
    with open_tracer(settings.tracing, "doctor"):  # needs packages of its own where spans are sent
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
