"""Fixtures for end-to-end tests: servers, a model, a catalogue and its index; each test has its own topics."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.dataset import BUNDLE_DIR
from demo.services import service_environment
from framematch.core.local_stack import LocalStack
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.kafka import KafkaServer
from framematch.stack.mongodb import MongoServer
from framematch.stack.triton import TritonServer
from tests.e2e.commands import fill_catalogue
from tests.e2e.fault_run import BreakableServers, breakable_servers
from tests.e2e.site import Site, unique_prefix


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def model_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's encoder as Triton serves it, also with JPEGs that Triton decodes."""
    folder = tmp_path_factory.mktemp("models")
    build_model_repository(load_bundle(BUNDLE_DIR), folder / "repository", BuildOptions(jpeg="fast"))
    return folder / "repository"


@pytest.fixture(scope="session")
def servers(
    kafka: KafkaServer,
    mongodb: MongoServer,
    start_triton: Callable[[Path], TritonServer],
    model_repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> LocalStack:
    """Running servers; MongoDB has the demo's catalogue and its index."""
    stack = stack_of(kafka.bootstrap_servers, mongodb.uri, start_triton(model_repository))
    environment = service_environment(tmp_path_factory.mktemp("state"), stack)
    fill_catalogue(environment)
    return stack


def stack_of(kafka: str, mongodb: str, triton: TritonServer) -> LocalStack:
    return LocalStack(0, kafka, mongodb, triton.url, None, None, None, "", triton_repository_key=triton.repository_key)


@pytest.fixture
def site(servers: LocalStack, tmp_path: Path) -> Iterator[Site]:
    """The test's own topics and consumer group on the shared servers."""
    with Site(servers, tmp_path, prefix=unique_prefix()) as own:
        yield own


@pytest.fixture(scope="session")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BreakableServers]:
    """Servers for tests that kill and freeze them; call `breakable.recover()` first."""
    with breakable_servers(tmp_path_factory.mktemp("breakable")) as running:
        yield running
