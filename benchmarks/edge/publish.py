"""The edge's publish rate beside a bare confluent-kafka producer, both in processes of their own, in turns.

All send the same records with the same guarantees to a new topic of the same shape: see `benchmarks.edge.publish_side`.
The bare producer is there twice: tuned for pictures, and with librdkafka's defaults.
"""

import asyncio
import subprocess
import sys
from functools import partial
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from benchmarks.edge.publish_side import CONFLUENT, SIDES, WARM_UP_FRAMES, Spent
from benchmarks.edge.site import Site
from benchmarks.edge.videos import write_jpegs
from benchmarks.harness import Comparison, Figure, Options, Results, take_turns
from framematch.core.errors import FramematchError
from framematch.core.kafka.clients import client_options, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.core.units import MS_PER_S

GOAL = 0.9
CAMERAS = 8
_MIN_ROUNDS = 7  # a producer's rate varies more than CPU time
_RUN_TIMEOUT_S = 180.0


def measure(site: Site, options: Options) -> Results:
    """Frames a second of all sides, and the edge's ratio to both bare producers."""
    frames, folder = 2_000 if options.quick else 15_000, site.folder / "jpegs"
    jpeg_bytes = write_jpegs(folder)
    cpu_ms: dict[str, list[float]] = {name: [] for name in SIDES}

    def run(side: str) -> float:
        spent = _run(site, side, folder, frames)
        cpu_ms[side].append(MS_PER_S * spent.cpu_s / frames)
        return frames / spent.elapsed_s

    for side in SIDES:
        run(side)  # warms the broker up
        cpu_ms[side].clear()
    sides = {name: partial(run, name) for name in SIDES}
    rates = take_turns("publish", sides, rounds=max(options.rounds, _MIN_ROUNDS))
    found = Results(
        figures={f"publish_cpu.{name}": Figure.of(values, "ms/frame") for name, values in cpu_ms.items()},
        settings={"frames": frames, "warm_up_frames": WARM_UP_FRAMES, "jpeg_bytes": jpeg_bytes, **CONFLUENT},
    )
    for bare in CONFLUENT:
        comparison = Comparison.of(f"edge_vs_{bare}", "edge", bare, rates)
        found.add(comparison, at_least=GOAL if bare == "confluent" else None)
    return found


def _run(site: Site, side: str, jpegs: Path, frames: int) -> Spent:
    """One run into a new topic, which is deleted afterwards."""
    kafka = site.new_topics()
    asyncio.run(ensure_topics(kafka))
    try:
        return _spent(kafka, side, jpegs, frames)
    finally:
        asyncio.run(_delete_topics(kafka))


def _spent(kafka: KafkaSettings, side: str, jpegs: Path, frames: int) -> Spent:
    """Start the side, wait until it is warm, let it go, and read what it spent."""
    arguments = [str(kafka.bootstrap_servers), kafka.topic_prefix, str(jpegs), str(frames), str(CAMERAS)]
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
