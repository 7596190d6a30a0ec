"""What kustomize makes of deploy/kubernetes: by kubectl or kustomize, neither of which needs a cluster."""

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest

from framematch.core.paths import cache_dir
from stack.cache import cached_folder
from stack.golang import GoModule, build_program
from tests.kubernetes import FOLDER, Manifest, Pod, check_schema, manifests, pods

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

MODULE = GoModule(
    "sigs.k8s.io/kustomize/kustomize/v5", "v5.7.1", checksum="h1:sYJsarwy/SDJfjjLMUqwFDGPwzUtMOQ1i1Ed49+XSbw="
)
SEARCHING = """
resources: [{folder}/overlays/gpu]
components: [{folder}/components/gpu-search]
"""

Render = Callable[[Path], list[Manifest]]
TARGETS = [FOLDER / name for name in ("overlays/cpu", "overlays/gpu", "example")]

each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda path: str(path.relative_to(FOLDER)))


@pytest.fixture(scope="module")
def render() -> Render:
    """The manifests of a folder, by the installed kubectl or kustomize, else by the one in the cache."""
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
    [found] = [d for d in documents if d["kind"] == kind and d["metadata"]["name"].startswith(name)]
    return found


def pod(documents: list[Manifest], name: str) -> Pod:
    [found] = [found for found in pods(documents) if found.owner == name]
    return found


def gpus(documents: list[Manifest]) -> set[str]:
    """Whose pods take a GPU."""
    return {found.owner for found in pods(documents) if "nvidia.com/gpu" in found.container["resources"]["limits"]}


@each_target
def test_kubernetes_takes_everything_and_ignores_no_field(render: Render, target: Path) -> None:
    documents = render(target)
    assert len(documents) >= 15
    for document in documents:
        check_schema(document)


@each_target
def test_everything_is_in_one_namespace_and_of_one_version(render: Render, target: Path) -> None:
    documents = render(target)
    assert {d["metadata"].get("namespace") for d in documents if d["kind"] != "Namespace"} == {"framematch"}
    assert {found.container["image"].partition(":")[2] for found in pods(documents)} == {version("framematch")}
    assert {found.labels["app.kubernetes.io/part-of"] for found in pods(documents)} == {"framematch"}


@each_target
def test_pods_read_the_settings_under_the_name_that_holds_their_hash(render: Render, target: Path) -> None:
    documents = render(target)
    settings = named(documents, "ConfigMap", "framematch-settings-")["metadata"]["name"]
    for name in ("consumer", "edge", "tools"):
        assert {"configMapRef": {"name": settings}} in pod(documents, name).container["envFrom"]


def test_a_changed_file_of_cameras_reaches_the_running_edge(render: Render) -> None:
    for target in TARGETS:
        assert named(render(target), "ConfigMap", "framematch-edge")["metadata"]["name"] == "framematch-edge"


def test_only_triton_and_the_job_for_its_engines_take_a_gpu(render: Render) -> None:
    cpu, gpu, _ = map(render, TARGETS)
    assert gpus(cpu) == set()
    assert gpus(gpu) == {"triton", "engines"}


def test_consumers_search_on_a_gpu_when_told(render: Render, tmp_path: Path) -> None:
    folder = os.path.relpath(FOLDER, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(SEARCHING.format(folder=folder), encoding="utf-8")
    documents = render(tmp_path)
    for document in documents:
        check_schema(document)
    assert gpus(documents) == {"triton", "engines", "consumer"}
    assert pod(documents, "consumer").container["image"] == f"framematch/consumer-gpu:{version('framematch')}"


def test_the_scaler_alone_sets_the_number_of_consumers(render: Render) -> None:
    example, plain = render(FOLDER / "example"), render(FOLDER / "overlays" / "gpu")
    assert "replicas" not in named(example, "Deployment", "consumer")["spec"]
    assert named(plain, "Deployment", "consumer")["spec"]["replicas"] == 2


def test_a_site_puts_its_own_settings_over_ours(render: Render) -> None:
    documents = render(FOLDER / "example")
    data = named(documents, "ConfigMap", "framematch-settings-")["data"]
    scaler = named(documents, "ScaledObject", "consumer")["spec"]
    assert data["KAFKA_BOOTSTRAP_SERVERS"].startswith("kafka-1.example:")
    assert data["TRITON_URL"] == "triton:8001"
    assert data["FRAMEMATCH_KAFKA__PARTITIONS"] == str(scaler["maxReplicaCount"])
    assert {found.container["image"].partition("/")[0] for found in pods(documents)} == {"registry.example"}
    assert "till-2" in named(documents, "ConfigMap", "framematch-edge")["data"]["edge.yaml"]
    assert scaler["triggers"][0]["authenticationRef"] == {
        "name": named(documents, "TriggerAuthentication", "kafka")["metadata"]["name"]
    }
