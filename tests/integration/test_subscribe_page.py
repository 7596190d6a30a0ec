"""The Python programs in the documentation run unchanged."""

import asyncio
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from framematch.core.events import MatchEvent, SightingEvent, encode
from framematch.core.kafka.clients import new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.stack.kafka import KafkaServer
from tests.sample_events import match_event, sighting_event
from tests.support import wait_until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PROGRAM = re.compile(r"```python\n(.*?)```", re.DOTALL)


def programs() -> list[str]:
    pages = [ROOT / "README.md", ROOT / "docs" / "subscribe.md"]
    return [code for page in pages for code in PROGRAM.findall(page.read_text(encoding="utf-8"))]


@pytest.fixture
def settings(kafka: KafkaServer) -> KafkaSettings:
    prefix = f"page-{uuid.uuid4().hex[:8]}"
    return KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, partitions=1)


@pytest.fixture
def outputs(settings: KafkaSettings, tmp_path: Path) -> Iterator[list[Path]]:
    """The output file of each program while all run; a topic name in a program is replaced by this test's own."""
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": str(settings.bootstrap_servers),
        "FRAMEMATCH_KAFKA__TOPIC_PREFIX": settings.topic_prefix,
        "PYTHONUNBUFFERED": "1",
    }
    files = []
    with ExitStack() as processes:
        for number, program in enumerate(programs()):
            code = program.replace('"framematch.matches"', f'"{settings.topic_prefix}.matches"')
            files.append(tmp_path / str(number))
            output = processes.enter_context(files[-1].open("wb"))
            process = processes.enter_context(
                subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=output)
            )
            processes.callback(process.kill)
        yield files


def test_every_program_prints_new_events(settings: KafkaSettings, outputs: list[Path]) -> None:
    topics = Topics(settings.topic_prefix)
    number = 0

    async def publish(*events: MatchEvent | SightingEvent) -> None:
        await ensure_topics(settings)
        async with started(new_producer(settings), settings) as producer:
            for event in events:
                topic = topics.matches if isinstance(event, MatchEvent) else topics.sightings
                await producer.send_and_wait(topic, encode(event), key=b"till-1")

    def programs_without_output() -> list[Path]:
        """Publish new events, since a program may have subscribed after the last; return outputs without an event."""
        nonlocal number
        number += 1
        asyncio.run(publish(match_event(number), replace(sighting_event(), id=str(number))))
        return [output for output in outputs if "till-1" not in output.read_text()]

    assert len(outputs) >= 5
    wait_until(lambda: not programs_without_output(), timeout_s=60, message="a line from every program")
