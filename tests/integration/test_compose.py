"""Reads compose.edge.yml with the real `docker compose config`, which needs no Docker engine."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from framematch.core.paths import cache_dir
from framematch.stack.cache import cached_folder
from framematch.stack.golang import GoModule, build_program

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
MODULE = GoModule("github.com/docker/compose/v2", "v2.39.4", checksum="h1:lXIyl0axf8rZ5ThGm25g0y5nvtj1a9HKS08qfMvHiFM=")
REQUIRED = {
    "MONGO_ROOT_PASSWORD": "canaryroot",
    "MONGO_PASSWORD": "canaryservices",
    "TRITON_REPOSITORY_KEY": "canary-of-the-repository",
    "FRAMEMATCH_EDGE__CAMERAS": '{"till-1": "rtsp://10.0.0.5/stream1"}',
}
INFRASTRUCTURE = {"kafka", "mongodb"}


class Compose:
    """Runs `docker compose` or an equivalent program on the project's own file."""

    def __init__(self, command: tuple[str, ...], env_file: Path) -> None:
        self._command = command
        self._env_file = env_file

    def config(self, *arguments: str, profile: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run `config …` with only these variables set."""
        files = ("--env-file", str(self._env_file), "-f", str(ROOT / "compose.edge.yml"))
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            [*self._command, *files, "--profile", profile, "config", *arguments],
            env={**environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def services(self, profile: str, **variables: str) -> dict[str, Any]:
        """Return the services of a profile with all variables resolved."""
        done = self.config("--format", "json", profile=profile, variables={**REQUIRED, **variables})
        assert done.returncode == 0, done.stderr
        services: dict[str, Any] = json.loads(done.stdout)["services"]
        return services


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Compose:
    """Return the installed `docker compose`, else the cached one, which is built only on request."""
    empty = tmp_path_factory.mktemp("compose") / "empty.env"
    empty.touch()
    installed = ("docker", "compose")
    if (
        shutil.which("docker")
        and subprocess.run([*installed, "version"], capture_output=True, check=False).returncode == 0
    ):
        return Compose(installed, empty)
    if not (cache_dir() / f"compose-{MODULE.key}").is_dir() and os.environ.get("FRAMEMATCH_BUILD_COMPOSE") != "1":
        pytest.skip("no docker compose here; FRAMEMATCH_BUILD_COMPOSE=1 builds one from its Go module, in minutes")
    folder = cached_folder(
        "compose", MODULE.key, _build, report=print, note=f"building Docker Compose {MODULE.version}"
    )
    return Compose((str(folder / "docker-compose"),), empty)


def _build(folder: Path) -> None:
    flags = ("-trimpath", "-ldflags", f"-s -w -X {MODULE.path}/internal.Version={MODULE.version}")
    build_program(MODULE, folder / "docker-compose", package="./cmd", flags=flags)


@pytest.mark.parametrize("profile", ["cpu", "gpu", "tools"])
def test_compose_accepts_the_file_with_the_required_variables(compose: Compose, profile: str) -> None:
    done = compose.config("-q", profile=profile, variables=REQUIRED)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("missing", sorted(REQUIRED))
def test_compose_names_a_missing_required_variable(compose: Compose, missing: str) -> None:
    given = {name: value for name, value in REQUIRED.items() if name != missing}

    done = compose.config("-q", profile="cpu", variables=given)

    assert done.returncode != 0
    assert missing in done.stderr


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_profile_runs_only_its_own_triton_and_consumer(compose: Compose, profile: str) -> None:
    services = compose.services(profile)

    assert services.keys() == INFRASTRUCTURE | {"api", "archive", "edge", f"triton-{profile}", f"consumer-{profile}"}


def test_triton_has_the_same_address_in_both_profiles(compose: Compose) -> None:
    for profile in ("cpu", "gpu"):
        services = compose.services(profile)
        assert "triton" in services[f"triton-{profile}"]["networks"]["back"]["aliases"]
        assert services[f"consumer-{profile}"]["environment"]["TRITON_URL"] == "triton:8001"


def test_only_the_gpu_profile_reserves_a_gpu(compose: Compose) -> None:
    gpu, cpu = compose.services("gpu", GPU_ID="2"), compose.services("cpu")

    for name in ("triton-gpu", "consumer-gpu"):
        devices = gpu[name]["deploy"]["resources"]["reservations"]["devices"]
        assert devices == [{"capabilities": ["gpu"], "driver": "nvidia", "device_ids": ["2"]}]
    assert not any("reservations" in service["deploy"]["resources"] for service in cpu.values())


def test_ports_are_published_only_on_loopback_by_default(compose: Compose) -> None:
    for profile in ("cpu", "gpu"):
        addresses = {
            port["host_ip"] for service in compose.services(profile).values() for port in service.get("ports", [])
        }
        assert addresses == {"127.0.0.1"}


def test_kafka_advertises_its_published_port(compose: Compose) -> None:
    kafka = compose.services("cpu", KAFKA_PORT="19094", KAFKA_ADVERTISED_HOST="shop.example")["kafka"]

    assert kafka["ports"][0]["published"] == "19094"
    assert "EXTERNAL://shop.example:19094" in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"]


def test_only_triton_and_the_tools_get_the_key_for_loading_models(compose: Compose) -> None:
    services = compose.services("cpu") | compose.services("gpu") | compose.services("tools")

    holders = {name for name, service in services.items() if REQUIRED["TRITON_REPOSITORY_KEY"] in json.dumps(service)}

    assert holders == {"triton-cpu", "triton-gpu", "tools"}


def test_limits_reach_the_containers(compose: Compose) -> None:
    kafka = compose.services("cpu", KAFKA_CPUS="1.5", KAFKA_MEMORY="3g")["kafka"]

    assert kafka["deploy"]["resources"]["limits"] == {"cpus": 1.5, "memory": str(3 * 2**30), "pids": 1024}
    assert kafka["ulimits"]["nofile"] == 65536
    assert "core" in kafka["ulimits"]  # 0 is not shown


def test_images_can_be_pinned(compose: Compose) -> None:
    pinned = "mongo:8.0.16@sha256:" + "0" * 64
    services = compose.services("cpu", MONGO_IMAGE=pinned, PYTHON_IMAGE="python:3.12@sha256:" + "1" * 64)

    assert services["mongodb"]["image"] == pinned
    assert services["edge"]["build"]["args"]["PYTHON"].endswith("1" * 64)


def test_only_mongodb_gets_the_administrators_password(compose: Compose) -> None:
    services = compose.services("cpu")

    holders = {name for name, service in services.items() if REQUIRED["MONGO_ROOT_PASSWORD"] in json.dumps(service)}

    assert holders == {"mongodb"}
