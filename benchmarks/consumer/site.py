"""Where the consumer is measured: Kafka, Triton with one model, MongoDB with the demo's catalogue, and pictures."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.frames import draw_jpegs
from benchmarks.harness import Options, steady_rate
from benchmarks.kafka import BenchmarkKafka
from benchmarks.models import build_model
from benchmarks.triton import noise, run_bare
from demo.services import fill_catalogue, service_environment
from framematch.core.settings import ConsumerSettings, KafkaSettings
from framematch.stack.mongodb import MongoServer
from framematch.stack.triton import TritonServer
from framematch.stack.up import describe, running_servers

PICTURES = 240  # different ones, which repeat
WARM_UP_BATCHES = 2
BATCH_SIZE = ConsumerSettings().batch_size
IN_FLIGHT = ConsumerSettings().batches_in_flight
_PROBE_BATCHES = 6
_MIN_BATCHES = 12


@dataclass(frozen=True)
class Site:
    """Running servers with files in `folder`, one of the models, and the catalogue's index of it."""

    folder: Path
    model: str
    kafka: BenchmarkKafka
    triton: TritonServer
    mongodb: MongoServer
    jpegs: list[bytes]

    def environment(self, kafka: KafkaSettings) -> dict[str, str]:
        """For a `framematch` command on these topics."""
        stack = describe((self.kafka, self.triton, self.mongodb), log_dir=self.folder)
        own = {
            "FRAMEMATCH_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
            "FRAMEMATCH_MATCHING__MIN_CONTENT": "0",  # every picture goes to the model, as on the other sides
        }
        return service_environment(self.folder / "state", stack) | own

    async def bare_rate(self, batches: int) -> float:
        """Frames a second of a bare Triton client with batches like the consumer's, and as many in flight."""
        batch = await noise(self.triton.url, BATCH_SIZE)
        done_s = await run_bare(self.triton.url, batch, batches=batches, in_flight=IN_FLIGHT)
        return steady_rate(done_s, warm_up=WARM_UP_BATCHES * BATCH_SIZE)

    def frames_for(self, options: Options) -> int:
        """Frames in whole batches, for which the bare client needs about 15 s (5 s when quick), within bounds."""
        run_s, max_batches = (5, 75) if options.quick else (15, 400)
        batches_per_s = uvloop.run(self.bare_rate(_PROBE_BATCHES)) / BATCH_SIZE
        return BATCH_SIZE * max(_MIN_BATCHES, min(round(run_s * batches_per_s), max_batches))


@contextmanager
def running_site(folder: Path, model: str) -> Iterator[Site]:
    """Build the model, start the servers and fill the catalogue; everything is stopped at the end.

    The served model takes no larger batches than the consumer sends, so that each request is one run of it.
    """
    build_model(model, folder / "model_repository", max_batch_size=BATCH_SIZE)
    site = Site(
        folder=folder,
        model=model,
        kafka=BenchmarkKafka(folder / "kafka"),
        triton=TritonServer(folder / "triton", folder / "model_repository"),
        mongodb=MongoServer(folder / "mongodb"),
        jpegs=draw_jpegs(PICTURES),
    )
    with running_servers((site.kafka, site.triton, site.mongodb), data_dir=folder, report=print):
        fill_catalogue(site.environment(KafkaSettings()))
        yield site
