"""Checks compose.edge.yml and deploy/.env.example against the settings and against container best practice."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from framematch.core.settings import MotionSettings, Settings
from framematch.core.settings_environment import known_environment_names
from framematch.vision.manifest import ENGINE_SCRIPT

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "compose.edge.yml").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "deploy" / ".env.example").read_text(encoding="utf-8")
EDGE_DOCKERFILE = (ROOT / "deploy" / "docker" / "edge.Dockerfile").read_text(encoding="utf-8")
README = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
OWN_IMAGES = {n: service for n, service in SERVICES.items() if service.get("image", "").startswith("framematch/")}
FRAMEMATCH = {name: service for name, service in OWN_IMAGES.items() if not name.startswith("triton")}
LONG_RUNNING = {name: service for name, service in SERVICES.items() if service.get("restart") != "no"}
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?P<rest>[^}]*)\}")
SECRET = re.compile("PASSWORD|KEY")
SECONDS = {"s": 1, "m": 60}

each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def test_services_with_framematch_images_are_found() -> None:
    assert FRAMEMATCH.keys() == {"api", "archive", "consumer-cpu", "consumer-gpu", "edge", "tools"}


def test_tool_services_run_only_on_request() -> None:
    assert SERVICES.keys() - LONG_RUNNING.keys() == {"tools", "triton-engines"}
    assert all(SERVICES[name]["profiles"] == ["tools"] for name in ("tools", "triton-engines"))


def test_engines_are_built_with_the_image_and_gpu_that_serve_them() -> None:
    engines, serving = SERVICES["triton-engines"], SERVICES["triton-gpu"]

    assert engines["image"] == serving["image"]
    assert engines["deploy"] == serving["deploy"]
    assert engines["command"][-1].endswith(f"/{ENGINE_SCRIPT}")
    # This service writes to the models folder, which belongs to this user.
    assert (engines["volumes"], engines["user"]) == (["models:/models"], "10001:10001")


def test_every_environment_variable_of_a_service_is_a_known_setting() -> None:
    names = {variable for service in FRAMEMATCH.values() for variable in service["environment"]}

    assert names <= known_environment_names()


def test_every_mentioned_framematch_variable_is_a_known_setting() -> None:
    mentioned = set(re.findall(r"\bFRAMEMATCH_\w+", TEXT + EXAMPLE))

    assert mentioned <= known_environment_names()


def test_no_container_expects_a_server_on_localhost() -> None:
    for service in FRAMEMATCH.values():
        assert not [value for value in service["environment"].values() if "localhost" in value or "127.0.0.1" in value]


def test_example_lists_exactly_the_variables_of_the_compose_file() -> None:
    used = {match["name"] for match in VARIABLE.finditer(TEXT)}
    named = set(re.findall(r"^#?([A-Z]\w+)=", EXAMPLE, re.MULTILINE))

    assert named - {"COMPOSE_FILE", "COMPOSE_PROFILES"} == used


def test_example_shows_the_defaults_of_the_compose_file() -> None:
    shown = dict(re.findall(r"^#([A-Z]\w+)=(.*)$", EXAMPLE, re.MULTILINE))
    defaults = {m["name"]: m["rest"].removeprefix(":-") for m in VARIABLE.finditer(TEXT) if m["rest"].startswith(":-")}

    assert shown == defaults


def test_empty_variables_in_the_example_are_required_by_the_compose_file() -> None:
    empty = set(re.findall(r"^([A-Z]\w+)=$", EXAMPLE, re.MULTILINE))
    required = {match["name"] for match in VARIABLE.finditer(TEXT) if match["rest"].startswith(":?")}

    assert empty == required


def test_no_password_has_a_default() -> None:
    passwords = [match for match in VARIABLE.finditer(TEXT) if SECRET.search(match["name"])]

    assert passwords
    assert all(match["rest"].startswith(":?") for match in passwords)


@each_service
def test_no_password_is_written_in_the_file(name: str) -> None:
    environment = SERVICES[name].get("environment", {})

    assert all(value.startswith("${") for variable, value in environment.items() if SECRET.search(variable))


@each_service
def test_no_service_runs_as_root_or_can_become_root(name: str) -> None:
    service = SERVICES[name]

    assert service["user"].partition(":")[0] not in {"", "0", "root"}
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


@each_service
def test_every_image_has_a_version(name: str) -> None:
    image = VARIABLE.sub(lambda match: match["rest"].removeprefix(":-"), SERVICES[name]["image"])
    tag = image.partition(":")[2]

    assert re.search(r"\d+\.\d+", tag)


@pytest.mark.parametrize("name", sorted(LONG_RUNNING))
def test_service_is_restarted_and_has_a_health_check(name: str) -> None:
    service = LONG_RUNNING[name]

    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert all(isinstance(word, str) for word in service["healthcheck"]["test"])
    assert {"interval", "timeout", "retries", "start_period"} <= service["healthcheck"].keys()


@each_service
def test_every_dependency_must_be_healthy_first(name: str) -> None:
    dependencies = SERVICES[name].get("depends_on", {})

    assert all(dependency == {"condition": "service_healthy"} for dependency in dependencies.values())
    assert dependencies.keys() <= LONG_RUNNING.keys()


@pytest.mark.parametrize("name", sorted(FRAMEMATCH))
def test_docker_waits_longer_than_the_shutdown_deadline(name: str) -> None:
    amount, unit = re.fullmatch(r"(\d+)([sm])", FRAMEMATCH[name]["stop_grace_period"]).groups()  # type: ignore[union-attr]  # no match fails the test

    assert int(amount) * SECONDS[unit] > Settings().shutdown_deadline_s


@each_service
def test_every_service_has_limits_of_memory_cpu_processes_and_files(name: str) -> None:
    service = SERVICES[name]

    assert service["deploy"]["resources"]["limits"].keys() == {"memory", "cpus", "pids"}
    assert service["ulimits"] == {"core": 0, "nofile": 65536}


@each_service
def test_every_temporary_folder_has_a_size(name: str) -> None:
    assert [folder for folder in SERVICES[name].get("tmpfs", []) if ":size=" not in folder] == []


def test_the_edge_reaches_kafka_and_none_of_the_other_servers() -> None:
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}

    assert [name for name, joined in networks.items() if joined & networks["edge"]] == ["kafka", "edge"]
    assert networks["kafka"] == {"front", "back"}


@pytest.mark.parametrize("name", ["mongodb", "triton-cpu", "triton-gpu", "triton-engines"])
def test_a_server_without_published_ports_has_no_way_out(name: str) -> None:
    assert yaml.safe_load(TEXT)["networks"]["back"] == {"internal": True}
    assert [*SERVICES[name]["networks"]] == ["back"]
    assert "ports" not in SERVICES[name]


def test_only_triton_and_the_tools_have_the_key_for_loading_models() -> None:
    holders = {name for name, service in SERVICES.items() if "TRITON_REPOSITORY_KEY" in service.get("environment", {})}

    assert holders == {"triton-cpu", "triton-gpu", "tools"}


def test_a_container_that_is_run_by_itself_is_as_hard_as_in_the_compose_file() -> None:
    edge = SERVICES["edge"]
    command = README.partition("\ndocker run")[2].partition(" -v ")[0]
    limits = edge["deploy"]["resources"]["limits"]
    default = {name: VARIABLE.sub(lambda m: m["rest"].removeprefix(":-"), str(limit)) for name, limit in limits.items()}

    assert {
        "--init", "--read-only", f"--tmpfs {edge['tmpfs'][0]}", "--cap-drop ALL",
        "--security-opt no-new-privileges:true", f"--memory {default['memory']}", f"--cpus {default['cpus']}",
        f"--pids-limit {default['pids']}", "--ulimit core=0", "--ulimit nofile=65536",
        f"--user {edge['user']}", f"--log-opt max-size={edge['logging']['options']['max-size']}",
        f"--log-opt max-file={edge['logging']['options']['max-file']}",
    } <= {f"--{part}".strip() for part in re.sub(r"[\\\s]+", " ", command).split(" --")}  # fmt: skip


@each_service
def test_ports_are_published_on_loopback_by_default(name: str) -> None:
    ports = SERVICES[name].get("ports", [])

    assert all(port.startswith("${PUBLISH_ADDRESS:-127.0.0.1}:") for port in ports)


@each_service
def test_every_build_file_and_mounted_path_exists(name: str) -> None:
    service = SERVICES[name]
    paths = [source for source in (volume.split(":")[0] for volume in service.get("volumes", [])) if "/" in source]
    if build := service.get("build"):
        paths.append(build["dockerfile"])

    assert all((ROOT / path).exists() for path in paths)


def test_spool_of_the_edge_is_in_a_volume_of_its_own() -> None:
    edge = SERVICES["edge"]
    volumes = dict(volume.split(":", 1) for volume in edge["volumes"])

    assert edge["read_only"]
    assert volumes["edge"] == re.findall(r"FRAMEMATCH_STATE_DIR=(\S+)", EDGE_DOCKERFILE)[0]
    assert "edge" in yaml.safe_load(TEXT)["volumes"]
    assert [name for name in SERVICES if "edge:" in str(SERVICES[name].get("volumes"))] == ["edge"]


def test_example_settings_file_is_valid_and_mounted_where_the_edge_reads_it() -> None:
    settings = Settings.model_validate(yaml.safe_load((ROOT / "deploy" / "edge" / "example.yaml").read_text("utf-8")))

    assert settings.edge.cameras["shelf-1"].motion == MotionSettings(gate=True)
    assert "./deploy/edge:/etc/framematch:ro" in SERVICES["edge"]["volumes"]
    assert "FRAMEMATCH_CONFIG=/etc/framematch/edge.yaml" in README
