"""What is measured of a run of the consumer."""

import asyncio
import os
from types import SimpleNamespace
from typing import Any

from benchmarks.consumer.runs import RunningConsumer
from framematch.core.settings import KafkaSettings


async def no_events(_count: int, _check: object) -> list[Any]:
    return []


def test_a_server_that_is_stopped_has_no_cpu_time() -> None:
    group = os.getpgrp()
    servers = {name: SimpleNamespace(name=name, pid=group, running=True) for name in ("triton", "kafka")}
    site: Any = SimpleNamespace(**servers, mongodb=SimpleNamespace(name="mongodb", pid=2**22 + 1, running=False))
    service: Any = SimpleNamespace(pid=group, check=None)
    matches: Any = SimpleNamespace(read_all=no_events)
    run = asyncio.run(RunningConsumer(site, KafkaSettings(), service, matches).observe(0))
    assert set(run.cpu_s) == {"consumer", "triton", "kafka"}
