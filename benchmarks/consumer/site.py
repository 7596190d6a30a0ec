"""Where the consumer is measured: Kafka, Triton with one model, MongoDB with the demo's catalogue, and pictures."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.frames import draw_jpegs
from benchmarks.harness import Options, steady_rate
from benchmarks.kafka import TidyKafka
from benchmarks.models import build_model
from benchmarks.processes import tree_cpu_s
from benchmarks.triton import noise, run_bare
from demo.services import fill_catalogue, service_environment
from framematch.core.settings import ConsumerSettings, KafkaSettings
from stack.mongodb import MongoServer
from stack.triton import TritonServer
from stack.up import describe, running_servers

PICTURES = 240  # different ones, which repeat
WARM_UP_BATCHES = 2
BATCH_SIZE = ConsumerSettings().batch_size
IN_FLIGHT = ConsumerSettings().batches_in_flight
_PROBE_BATCHES = 6


@dataclass(frozen=True)
class Site:
    """Running servers over files in `folder`, with one model and the catalogue's index of it."""

    folder: Path
    kafka: TidyKafka
    triton: TritonServer
    mongodb: MongoServer
    jpegs: list[bytes]

    def new_topics(self) -> KafkaSettings:
        """Settings with a new topic prefix; no topic is created."""
        prefix = f"benchmark-{uuid.uuid4().hex[:8]}"
        return KafkaSettings(bootstrap_servers=self.kafka.bootstrap_servers, topic_prefix=prefix)

    def environment(self, kafka: KafkaSettings) -> dict[str, str]:
        """For a `framematch` command on these topics."""
        stack = describe((self.kafka, self.triton, self.mongodb), log_dir=self.folder)
        topics = {"FRAMEMATCH_KAFKA__TOPIC_PREFIX": kafka.topic_prefix}
        return service_environment(self.folder / "state", stack) | topics

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds that each server has used so far."""
        servers = (self.triton, self.kafka, self.mongodb)
        return {server.name: tree_cpu_s(server.pid) for server in servers}

    async def bare_rate(self, batches: int) -> float:
        """Frames a second of a bare Triton client with batches like the consumer's, and as many in flight."""
        batch = await noise(self.triton.url, BATCH_SIZE)
        done_s = await run_bare(self.triton.url, batch, batches=batches, in_flight=IN_FLIGHT)
        return steady_rate(done_s, warm_up=WARM_UP_BATCHES * BATCH_SIZE)

    def batches_for(self, options: Options) -> int:
        """How many batches the bare client needs for one run (5 s when quick, else 15 s), within bounds."""
        run_s, max_batches = (5, 75) if options.quick else (15, 400)
        batches_per_s = uvloop.run(self.bare_rate(_PROBE_BATCHES)) / BATCH_SIZE
        return max(12, min(round(run_s * batches_per_s), max_batches))


@contextmanager
def running_site(folder: Path, model: str) -> Iterator[Site]:
    """Build the model, start the servers, fill the catalogue, and stop everything at the end.

    The served model takes no larger batches than the consumer sends, so that each request is one run of it.
    """
    build_model(model, folder / "model_repository", max_batch_size=BATCH_SIZE)
    site = Site(
        folder=folder,
        kafka=TidyKafka(folder / "kafka"),
        triton=TritonServer(folder / "triton", folder / "model_repository"),
        mongodb=MongoServer(folder / "mongodb"),
        jpegs=draw_jpegs(PICTURES),
    )
    with running_servers((site.kafka, site.triton, site.mongodb), data_dir=folder, report=print):
        fill_catalogue(site.environment(KafkaSettings()))
        yield site
