"""Where the consumer is measured: Kafka, Triton with one model, MongoDB with the demo's catalogue, and pictures."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.consumer.models import Model
from benchmarks.forgetful_kafka import ForgetfulKafka
from benchmarks.frames import draw_jpegs
from benchmarks.processes import tree_cpu_s
from demo.services import fill_catalogue, service_environment
from framematch.core.settings import ConsumerSettings, KafkaSettings
from framematch.model_build.bundles.bundle import Bundle
from stack.mongodb import MongoServer
from stack.triton import TritonServer
from stack.up import describe, running_servers

PICTURES = 240  # different ones; they come again and again


@dataclass(frozen=True)
class Site:
    """Running servers over files in `folder`, with one model and the catalogue's index of it."""

    folder: Path
    model: Model
    bundle: Bundle
    kafka: ForgetfulKafka
    triton: TritonServer
    mongodb: MongoServer
    jpegs: list[bytes]

    @property
    def batch_size(self) -> int:
        """Of the consumer, and the most pictures that the served model takes at once."""
        return ConsumerSettings().batch_size

    def new_topics(self) -> KafkaSettings:
        """Settings with a topic prefix that nobody has used; nothing is created."""
        prefix = f"benchmark-{uuid.uuid4().hex[:8]}"
        return KafkaSettings(bootstrap_servers=self.kafka.bootstrap_servers, topic_prefix=prefix)

    def environment(self, kafka: KafkaSettings, **settings: str) -> dict[str, str]:
        """For a `framematch` command on these topics; `settings` are environment variables."""
        stack = describe((self.kafka, self.triton, self.mongodb), log_dir=self.folder)
        topics = {"FRAMEMATCH_KAFKA__TOPIC_PREFIX": kafka.topic_prefix}
        return service_environment(self.folder / "state", stack) | topics | settings

    def cpu_s(self) -> float:
        """CPU seconds that all servers have used so far."""
        return sum(tree_cpu_s(server.pid) for server in (self.kafka, self.triton, self.mongodb))


@contextmanager
def running_site(model: Model, folder: Path, *, segment_bytes: int | None = None) -> Iterator[Site]:
    """Build the model, start the servers, fill the catalogue, and stop all at the end.

    The served model takes no larger batches than the consumer sends, so that each request is one run of it.

    Raises:
        FramematchError: the model cannot be built, a server did not start, or the catalogue could not be filled.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bundle = model.build(folder, max_batch_size=ConsumerSettings().batch_size)
    site = Site(
        folder=folder,
        model=model,
        bundle=bundle,
        kafka=ForgetfulKafka(folder / "kafka", segment_bytes),
        triton=TritonServer(folder / "triton", folder / "model_repository"),
        mongodb=MongoServer(folder / "mongodb"),
        jpegs=draw_jpegs(PICTURES),
    )
    with running_servers((site.kafka, site.triton, site.mongodb), data_dir=folder, report=print):
        fill_catalogue(site.environment(KafkaSettings()))
        yield site
