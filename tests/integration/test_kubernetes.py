"""Checks the output of kustomize for deploy/kubernetes; kubectl and kustomize need no cluster for it."""

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest

from framematch.core.paths import cache_dir
from framematch.stack.cache import cached_folder
from framematch.stack.golang import GoModule, build_program
from tests.kubernetes import FOLDER, Manifest, Pod, check_schema, manifests, pods

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

MODULE = GoModule(
    "sigs.k8s.io/kustomize/kustomize/v5", "v5.7.1", checksum="h1:sYJsarwy/SDJfjjLMUqwFDGPwzUtMOQ1i1Ed49+XSbw="
)
GPU_SEARCH_SITE = """
resources: [{folder}/overlays/gpu]
components: [{folder}/components/gpu-search]
"""

Render = Callable[[Path], list[Manifest]]
TARGETS = [FOLDER / name for name in ("overlays/cpu", "overlays/gpu", "example")]

each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda path: str(path.relative_to(FOLDER)))


@pytest.fixture(scope="module")
def render() -> Render:
    """Return a function that renders a folder with the installed kubectl or kustomize, else with the cached one."""
    command = _command()

    @cache
    def run(folder: Path) -> list[Manifest]:
        done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return manifests(done.stdout)

    return run


def _command() -> tuple[str, ...]:
    if shutil.which("kubectl"):
        return ("kubectl", "kustomize")
    if shutil.which("kustomize"):
        return ("kustomize", "build")
    if not (cache_dir() / f"kustomize-{MODULE.key}").is_dir() and os.environ.get("FRAMEMATCH_BUILD_KUSTOMIZE") != "1":
        pytest.skip("neither kubectl nor kustomize here; FRAMEMATCH_BUILD_KUSTOMIZE=1 builds one from its Go module")
    folder = cached_folder("kustomize", MODULE.key, _build, report=print, note=f"building kustomize {MODULE.version}")
    return (str(folder / "kustomize"), "build")


def _build(folder: Path) -> None:
    build_program(MODULE, folder / "kustomize", flags=("-trimpath", "-ldflags", "-s -w"))


def named(documents: list[Manifest], kind: str, name: str) -> Manifest:
    [manifest] = [d for d in documents if d["kind"] == kind and d["metadata"]["name"].startswith(name)]
    return manifest


def pod(documents: list[Manifest], name: str) -> Pod:
    [match] = [candidate for candidate in pods(documents) if candidate.owner == name]
    return match


def gpu_owners(documents: list[Manifest]) -> set[str]:
    """Return the owners of pods that use a GPU."""
    return {each.owner for each in pods(documents) if "nvidia.com/gpu" in each.container["resources"]["limits"]}


@each_target
def test_kubernetes_accepts_the_output_and_ignores_no_field(render: Render, target: Path) -> None:
    documents = render(target)
    assert len(documents) >= 15
    for document in documents:
        check_schema(document)


@each_target
def test_output_has_one_namespace_and_one_version(render: Render, target: Path) -> None:
    documents = render(target)
    assert {d["metadata"].get("namespace") for d in documents if d["kind"] != "Namespace"} == {"framematch"}
    assert {each.container["image"].partition(":")[2] for each in pods(documents)} == {version("framematch")}
    assert {each.labels["app.kubernetes.io/part-of"] for each in pods(documents)} == {"framematch"}


@each_target
def test_pods_use_the_settings_by_their_hashed_name(render: Render, target: Path) -> None:
    documents = render(target)
    settings = named(documents, "ConfigMap", "framematch-settings-")["metadata"]["name"]
    for name in ("api", "archive", "consumer", "edge", "tools"):
        assert {"configMapRef": {"name": settings}} in pod(documents, name).container["envFrom"]


def test_config_map_of_cameras_keeps_its_name_so_that_the_running_edge_sees_changes(render: Render) -> None:
    for target in TARGETS:
        assert named(render(target), "ConfigMap", "framematch-edge")["metadata"]["name"] == "framematch-edge"


def test_only_triton_and_its_engines_job_use_a_gpu(render: Render) -> None:
    cpu, gpu, _ = map(render, TARGETS)
    assert gpu_owners(cpu) == set()
    assert gpu_owners(gpu) == {"triton", "engines"}


def test_component_gpu_search_gives_consumers_a_gpu(render: Render, tmp_path: Path) -> None:
    folder = os.path.relpath(FOLDER, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(GPU_SEARCH_SITE.format(folder=folder), encoding="utf-8")
    documents = render(tmp_path)
    for document in documents:
        check_schema(document)
    assert gpu_owners(documents) == {"triton", "engines", "consumer"}
    assert pod(documents, "consumer").container["image"] == f"framematch/consumer-gpu:{version('framematch')}"


def test_scaler_replaces_the_fixed_number_of_consumers(render: Render) -> None:
    example, plain = render(FOLDER / "example"), render(FOLDER / "overlays" / "gpu")
    assert "replicas" not in named(example, "Deployment", "consumer")["spec"]
    assert named(plain, "Deployment", "consumer")["spec"]["replicas"] == 2


def test_settings_of_a_site_override_the_base(render: Render) -> None:
    documents = render(FOLDER / "example")
    data = named(documents, "ConfigMap", "framematch-settings-")["data"]
    scaler = named(documents, "ScaledObject", "consumer")["spec"]
    assert data["KAFKA_BOOTSTRAP_SERVERS"].startswith("kafka-1.example:")
    assert data["TRITON_URL"] == "triton:8001"
    assert data["FRAMEMATCH_KAFKA__PARTITIONS"] == str(scaler["maxReplicaCount"])
    assert {each.container["image"].partition("/")[0] for each in pods(documents)} == {"registry.example"}
    assert "till-2" in named(documents, "ConfigMap", "framematch-edge")["data"]["edge.yaml"]
    assert scaler["triggers"][0]["authenticationRef"] == {
        "name": named(documents, "TriggerAuthentication", "kafka")["metadata"]["name"]
    }
