"""The real servers as fixtures: one of each a session, started when the first test asks, stopped at the end.

A test that kills a server makes its own (`KafkaServer(tmp_path)`), because the others share these.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from framematch.core.settings_sources import known_environment_names
from stack.triton import TritonServer


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the settings or the running stack of whoever runs it; only the cache of servers is shared."""
    for name in known_environment_names() - {"FRAMEMATCH_CACHE_DIR"}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FRAMEMATCH_STATE_DIR", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session")
def start_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], TritonServer]]:
    """Start Triton over a model repository; the same repository gives the running one. `.url` is its gRPC endpoint."""
    servers: dict[Path, TritonServer] = {}

    def start(model_repository: Path) -> TritonServer:
        key = model_repository.resolve()
        if key not in servers:
            servers[key] = TritonServer(tmp_path_factory.mktemp("triton"), key)
            servers[key].start()
        return servers[key]

    yield start
    for server in servers.values():
        server.stop()
