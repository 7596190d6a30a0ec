"""The edge's publish rate beside a bare confluent-kafka producer, both in processes of their own, in turns.

All send the same records with the same guarantees to a fresh topic of the same shape: see
`benchmarks.edge.publish_side`. The bare producer is there twice: tuned for pictures, and with librdkafka's defaults.
"""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from benchmarks.edge.publish_side import CONFLUENT, SIDES, WARM_UP_FRAMES, Spent
from benchmarks.edge.site import Site
from benchmarks.edge.videos import JPEGS, write_jpegs
from benchmarks.harness import Comparison, Figure, Round, take_turns
from benchmarks.results import Results
from framematch.core.errors import FramematchError
from framematch.core.kafka.clients import client_options, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import EdgeSettings, KafkaSettings

GOAL = 0.9
CAMERAS = 8
_RUN_TIMEOUT_S = 180.0
_MS_PER_S = 1_000


@dataclass(frozen=True)
class Plan:
    """`rounds` runs of each side, of `frames` frames each."""

    rounds: int
    frames: int


def measure_publish(site: Site, plan: Plan) -> Results:
    """Frames a second of all sides, and the edge's ratio to both bare producers.

    Raises:
        FramematchError: a side failed; it has said why.
    """
    folder = site.folder / "jpegs"
    jpeg_bytes = write_jpegs(folder)
    cpu_ms: dict[str, list[float]] = {name: [] for name in SIDES}

    def run(side: str) -> float:
        spent = _run(site, side, folder, plan.frames)
        cpu_ms[side].append(_MS_PER_S * spent.cpu_s / plan.frames)
        return plan.frames / spent.elapsed_s

    sides = {name: partial(run, name) for name in SIDES}
    for side in sides.values():
        side()  # the broker's own warm-up
    for values in cpu_ms.values():
        values.clear()
    rounds = []
    for number, rates in enumerate(take_turns(sides, rounds=plan.rounds), 1):
        rounds.append(rates)
        said = ", ".join(f"{name} {rate:.0f}" for name, rate in sorted(rates.items()))
        print(f"publish, round {number} of {plan.rounds}: {said} frames/s", flush=True)
    found = Results(settings=_settings(plan, jpeg_bytes))
    found.figures = {f"publish_cpu.{name}": Figure.of(values, "ms/frame") for name, values in cpu_ms.items()}
    for bare in CONFLUENT:
        pairs = tuple(Round(rates["edge"], rates[bare]) for rates in rounds)
        goal = GOAL if bare == "confluent" else None
        found.add(Comparison(f"edge_vs_{bare}", "edge", bare, "frames/s", pairs), at_least=goal)
    return found


def _settings(plan: Plan, jpeg_bytes: int) -> dict[str, Any]:
    kafka = KafkaSettings()
    return {
        "rounds": plan.rounds,
        "frames": plan.frames,
        "warm_up_frames": WARM_UP_FRAMES,
        "jpegs": JPEGS,
        "jpeg_bytes": jpeg_bytes,
        "cameras": CAMERAS,
        "partitions": kafka.partitions,
        "linger_ms": kafka.linger_ms,
        "unacknowledged_max": EdgeSettings().unacknowledged_max,
        **{name: dict(options) for name, options in CONFLUENT.items()},
    }


def _run(site: Site, side: str, jpegs: Path, frames: int) -> Spent:
    """One run into a fresh topic, which is deleted afterwards."""
    kafka = site.new_topics()
    asyncio.run(ensure_topics(kafka))
    try:
        return _spent(kafka, side, jpegs, frames)
    finally:
        asyncio.run(_delete_topics(kafka))


def _spent(kafka: KafkaSettings, side: str, jpegs: Path, frames: int) -> Spent:
    """Start the side, wait until it is warm, and give it the word; what it says that it spent."""
    options: Mapping[str, object] = {
        "bootstrap-servers": kafka.bootstrap_servers,
        "topic-prefix": kafka.topic_prefix,
        "jpegs": jpegs,
        "frames": frames,
        "cameras": CAMERAS,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.edge.publish_side", side, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise FramematchError(f"the side {side} did not get ready")
            output, _ = process.communicate("go\n", timeout=_RUN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise FramematchError(f"the side {side} did not end within {_RUN_TIMEOUT_S:g} s") from None
        finally:
            process.kill()
    if process.returncode:
        raise FramematchError(f"the side {side} ended with exit code {process.returncode}")
    elapsed_s, cpu_s = map(float, output.split())
    return Spent(elapsed_s, cpu_s)


async def _delete_topics(kafka: KafkaSettings) -> None:
    async with started(AIOKafkaAdminClient(**client_options(kafka)), kafka) as admin:
        await admin.delete_topics(list(Topics(kafka.topic_prefix).all))
