"""Where the API is measured: Triton with one model, MongoDB with the demo's catalogue, Kafka, and the demo's photos."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kafka import BenchmarkKafka
from benchmarks.models import build_model
from demo.dataset import DATA_DIR, load_photos
from demo.services import Service, fill_catalogue, running_service, service_environment
from framematch.core.settings import ApiSettings, KafkaSettings
from framematch.stack.mongodb import MongoServer
from framematch.stack.process import Command, ServerProcess
from framematch.stack.server import ReservedPort
from framematch.stack.triton import TritonServer
from framematch.stack.up import describe, running_servers

READY_S = 60.0


@dataclass(frozen=True)
class Site:
    """Running servers, and the API on them; `photos` are JPEGs of about 23 kB."""

    folder: Path
    kafka: KafkaSettings
    triton: TritonServer
    api: Service
    environment: dict[str, str]
    photos: list[bytes]

    @contextmanager
    def seed(self) -> Iterator[Service]:
        """Run the seed's handler inside the context."""
        port = ReservedPort()
        arguments = (sys.executable, "-m", "benchmarks.api.seed", self.triton.http_address, str(port.number))
        process = ServerProcess(Command(arguments, self.environment), self.folder / "seed.log")
        try:
            yield Service(process, "seed", f"http://{port.address}")
        finally:
            process.stop()


@contextmanager
def running_site(folder: Path, model: str) -> Iterator[Site]:
    """Build the model, start the servers and the API, and fill the catalogue; everything is stopped at the end."""
    build_model(model, folder / "model_repository", max_batch_size=ApiSettings().batch_size)
    kafka = BenchmarkKafka(folder / "kafka")
    triton, mongodb = TritonServer(folder / "triton", folder / "model_repository"), MongoServer(folder / "mongodb")
    servers = (kafka, triton, mongodb)
    with ExitStack() as resources:
        resources.enter_context(running_servers(servers, data_dir=folder, report=print))
        own = {
            "FRAMEMATCH_API__AUTH": "none",
            "FRAMEMATCH_MATCHING__MIN_CONTENT": "0",  # every picture goes to the model, as on the other sides
        }
        environment = service_environment(folder / "state", describe(servers, log_dir=folder)) | own
        fill_catalogue(environment)
        api = resources.enter_context(running_service("api", environment=environment, logs=folder))
        api.wait_ready(READY_S)
        photos = [(DATA_DIR / photo.file).read_bytes() for photo in load_photos()]
        yield Site(folder, KafkaSettings(bootstrap_servers=kafka.bootstrap_servers), triton, api, environment, photos)
