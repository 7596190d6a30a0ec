"""Checks deploy/kubernetes against the schemas, the settings, the Dockerfiles, and for consistency."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumers.workers.supervisor import EXIT_REPORT_S
from framematch.cli.topic_plan import Site
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings, Settings
from framematch.core.settings_environment import known_environment_names
from framematch.vision.manifest import ENGINE_SCRIPT
from tests.kubernetes import FOLDER, Manifest, Pod, check_schema, pods, read_manifests

ROOT = FOLDER.parents[1]
DOCKER = ROOT / "deploy" / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.edge.yml").read_text(encoding="utf-8"))["services"]
README = (FOLDER / "README.md").read_text(encoding="utf-8")

KUSTOMIZATIONS = {path.parent: read_manifests(path)[0] for path in sorted(FOLDER.rglob("kustomization.yaml"))}
RESOURCES = [
    folder / name
    for folder, kustomization in KUSTOMIZATIONS.items()
    for name in kustomization.get("resources", [])
    if name.endswith(".yaml")
]
PATCHES = [
    folder / patch["path"]
    for folder, kustomization in KUSTOMIZATIONS.items()
    for patch in kustomization.get("patches", [])
    if "path" in patch
]
SECRETS = {s["metadata"]["name"]: s["stringData"] for s in read_manifests(FOLDER / "secrets.example.yaml")}
BASE = [document for path in RESOURCES for document in read_manifests(path)]
PODS = {pod.owner: pod for pod in pods(BASE)}
FRAMEMATCH_PODS = {name: pod for name, pod in PODS.items() if name in {"api", "archive", "consumer", "edge", "tools"}}
SERVING = {name: pod for name, pod in PODS.items() if name in {"api", "archive", "consumer", "edge", "triton"}}
IMAGES = {"api": "api", "archive": "api", "consumer": "consumer", "edge": "edge", "tools": "consumer"}
"""The Dockerfile of each pod."""
SETTINGS = dict(
    line.split("=", 1)
    for line in (FOLDER / "base" / "settings.env").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)

each_pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
each_serving_pod = pytest.mark.parametrize("pod", SERVING.values(), ids=SERVING)


def relative_name(path: Path) -> str:
    return str(path.relative_to(FOLDER))


def kind(wanted: str) -> dict[str, Manifest]:
    """Return the manifests of a kind by name."""
    return {document["metadata"]["name"]: document for document in BASE if document["kind"] == wanted}


def dockerfile(name: str) -> str:
    return (DOCKER / f"{name}.Dockerfile").read_text(encoding="utf-8")


def generated(what: str) -> set[str]:
    return {entry["name"] for k in KUSTOMIZATIONS.values() for entry in k.get(what, [])}


@pytest.mark.parametrize("path", [*RESOURCES, FOLDER / "secrets.example.yaml"], ids=relative_name)
def test_kubernetes_accepts_every_manifest_and_ignores_no_field(path: Path) -> None:
    for document in read_manifests(path):
        check_schema(document)


def test_every_file_is_used() -> None:
    generators = [
        folder / source.rpartition("=")[2]
        for folder, kustomization in KUSTOMIZATIONS.items()
        for generator in kustomization.get("configMapGenerator", [])
        for source in (*generator.get("files", []), *generator.get("envs", []))
    ]
    standalone = [FOLDER / "README.md", FOLDER / "secrets.example.yaml"]
    kustomizations = [folder / "kustomization.yaml" for folder in KUSTOMIZATIONS]
    used = {*RESOURCES, *PATCHES, *generators, *standalone, *kustomizations}
    assert used == {path for path in FOLDER.rglob("*") if path.is_file() and path.name != "secrets.yaml"}


def test_every_folder_in_a_kustomization_is_a_kustomization() -> None:
    for folder, kustomization in KUSTOMIZATIONS.items():
        folders = [name for name in kustomization.get("resources", []) if not name.endswith(".yaml")]
        for name in [*folders, *kustomization.get("components", [])]:
            assert (folder / name).resolve() in KUSTOMIZATIONS


def test_the_pods_are_found() -> None:
    assert PODS.keys() == {"api", "archive", "consumer", "edge", "triton", "tools", "engines"}


def test_every_environment_variable_is_a_known_setting() -> None:
    names = {name for name in SETTINGS if name.isupper()}
    names |= {entry["name"] for pod in PODS.values() for entry in pod.container.get("env", [])}
    names |= {key for secret in SECRETS.values() for key in secret if key.isupper()}
    names |= {
        literal.partition("=")[0]
        for kustomization in KUSTOMIZATIONS.values()
        for generator in kustomization.get("configMapGenerator", [])
        for literal in generator.get("literals", [])
    }
    assert names <= known_environment_names()


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("cameras.yaml")), ids=relative_name)
def test_cameras_are_valid_settings_with_secret_sources(path: Path) -> None:
    settings = Settings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert settings.edge.cameras
    for name, camera in settings.edge.cameras.items():
        assert camera.source.get_secret_value() == f"@/run/secrets/cameras/{name}"
    assert PODS["edge"].mounts["/run/secrets/cameras"] == "cameras"


@each_pod
def test_no_pod_is_root_or_can_become_root_or_uses_the_kubernetes_api(pod: Pod) -> None:
    of_pod, of_container = pod.spec["securityContext"], pod.container["securityContext"]
    assert of_pod["runAsNonRoot"] is True
    assert of_pod["runAsUser"] > 0
    assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert of_container["allowPrivilegeEscalation"] is False
    assert of_container["capabilities"] == {"drop": ["ALL"]}
    assert pod.spec["automountServiceAccountToken"] is False


@each_pod
def test_root_file_system_is_read_only_without_a_gpu(pod: Pod) -> None:
    has_gpu = "nvidia.com/gpu" in pod.container["resources"]["limits"]
    assert pod.container["securityContext"]["readOnlyRootFilesystem"] is not has_gpu


def test_framematch_pods_run_as_the_user_of_their_image() -> None:
    for pod in FRAMEMATCH_PODS.values():
        context = pod.spec["securityContext"]
        user = (str(context["runAsUser"]), str(context["runAsGroup"]))
        assert user in re.findall(r"^USER (\d+):(\d+)$", dockerfile(IMAGES[pod.owner]), re.MULTILINE)


def test_triton_tools_and_engines_share_the_models_through_the_owners_group() -> None:
    assert "chown -R 10001:10001 /models" in dockerfile("triton")
    for name in ("triton", "tools", "engines"):
        assert PODS[name].spec["securityContext"]["fsGroup"] == 10001
        assert PODS[name].mounts["/models"] == "models"
    assert f"/models/repository/{ENGINE_SCRIPT}" in PODS["engines"].container["command"]
    assert COMPOSE["triton-cpu"]["volumes"] == ["models:/models:ro"]


@each_pod
def test_kubernetes_adds_no_service_variables_that_our_settings_reject(pod: Pod) -> None:
    assert pod.spec["enableServiceLinks"] is False


@each_pod
def test_every_pod_has_limits_of_cpu_memory_and_disk(pod: Pod) -> None:
    resources = pod.container["resources"]
    assert {"memory", "ephemeral-storage"} <= resources["requests"].keys()
    assert {"cpu", "memory", "ephemeral-storage"} <= resources["limits"].keys()


@each_pod
def test_every_temporary_volume_has_a_size(pod: Pod) -> None:
    assert [v["name"] for v in pod.spec["volumes"] if "emptyDir" in v and "sizeLimit" not in v["emptyDir"]] == []


def test_every_pod_is_restricted_in_both_directions_by_default() -> None:
    policy = kind("NetworkPolicy")["framematch"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    # `kustomize` gives this label to every pod of the base; the engines, which are only in an overlay, have it already.
    [labels] = KUSTOMIZATIONS[FOLDER / "base"]["labels"]
    assert policy["podSelector"]["matchLabels"] == labels["pairs"]
    assert labels["includeTemplates"]
    assert policy["podSelector"]["matchLabels"].items() <= PODS["engines"].labels.items()


def test_triton_reaches_nothing_and_the_edge_does_not_reach_the_metadata_service() -> None:
    def reached(app: str) -> list[Manifest]:
        found: list[Manifest] = []
        for policy in kind("NetworkPolicy").values():
            selector = policy["spec"]["podSelector"]
            apps = {selector.get("matchLabels", {}).get("app.kubernetes.io/name")}
            apps |= {value for item in selector.get("matchExpressions", []) for value in item["values"]}
            found += policy["spec"].get("egress", []) if app in apps else []
        return found

    assert reached("triton") == reached("engines") == []
    assert {8001, 9092, 27017} <= {p["port"] for rule in reached("consumer") for p in rule["ports"]}
    assert reached("api") == reached("tools") == reached("consumer")
    assert not [rule for rule in reached("archive") if "to" in rule or 8001 in [p["port"] for p in rule["ports"]]]
    assert {9092, 27017} <= {p["port"] for rule in reached("archive") for p in rule["ports"]}
    blocks = [to["ipBlock"] for rule in reached("edge") for to in rule.get("to", [])]
    assert any(block["cidr"] == "0.0.0.0/0" and "169.254.0.0/16" in block["except"] for block in blocks)


def test_only_triton_and_the_tools_have_the_key_for_loading_models() -> None:
    assert {name for name, pod in PODS.items() if "framematch-triton" in str(pod.spec)} == {"triton", "tools"}


@each_pod
def test_mounted_volumes_are_exactly_the_defined_volumes(pod: Pod) -> None:
    claims = kind("StatefulSet").get(pod.owner, {}).get("spec", {}).get("volumeClaimTemplates", [])
    defined = {volume["name"] for volume in pod.spec["volumes"]} | {claim["metadata"]["name"] for claim in claims}
    assert set(pod.mounts.values()) == defined


@each_pod
def test_every_reference_of_a_pod_exists(pod: Pod) -> None:
    volumes = pod.spec["volumes"]
    sources = pod.container.get("envFrom", [])
    configs = {s["configMapRef"]["name"] for s in sources if "configMapRef" in s}
    configs |= {volume["configMap"]["name"] for volume in volumes if "configMap" in volume}
    secrets = {s["secretRef"]["name"] for s in sources if "secretRef" in s}
    secrets |= {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
    claims = {v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v}
    assert configs <= generated("configMapGenerator")
    assert secrets <= SECRETS.keys()
    assert claims <= kind("PersistentVolumeClaim").keys()
    assert pod.spec["serviceAccountName"] in kind("ServiceAccount")


def test_edge_has_no_mongodb_password_and_consumer_no_camera_password() -> None:
    assert "framematch-mongodb" not in str(PODS["edge"].spec)
    for name in ("consumer", "api", "archive"):
        assert "framematch-cameras" not in str(PODS[name].spec)


@pytest.mark.parametrize("name", ["api", "archive", "consumer", "edge"])
def test_ports_and_paths_match_the_image(name: str) -> None:
    pod, text = PODS[name], dockerfile(IMAGES[name])
    variable = "FRAMEMATCH_API__PORT" if name == "api" else "FRAMEMATCH_HTTP__PORT"
    assert [port["containerPort"] for port in pod.container["ports"]] == [
        int(re.findall(rf"{variable}=(\d+)", text)[0])
    ]
    assert re.findall(r"FRAMEMATCH_STATE_DIR=(\S+)", text)[0] in pod.mounts
    assert f'CMD ["{pod.container["args"][0]}"]' in text or COMPOSE[name]["command"] == pod.container["args"]
    assert "/tmp" in pod.mounts  # noqa: S108  # the root file system is read-only


def test_settings_file_of_the_edge_is_mounted_where_it_is_read() -> None:
    [variable] = PODS["edge"].container["env"]
    assert variable == {"name": "FRAMEMATCH_CONFIG", "value": "/etc/framematch/edge.yaml"}
    assert PODS["edge"].mounts["/etc/framematch"] == "config"


def test_spool_of_the_edge_is_persistent_and_has_one_user() -> None:
    edge = kind("StatefulSet")["edge"]
    assert PODS["edge"].mounts["/var/lib/framematch"] == "spool"
    assert edge["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert edge["spec"]["replicas"] == 1


@each_serving_pod
def test_every_probe_uses_an_existing_port_and_path(pod: Pod) -> None:
    ports = {port["name"] for port in pod.container["ports"]}
    paths = {"/v2/health/live", "/v2/health/ready"} if pod.owner == "triton" else {"/healthz", "/readyz"}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        request = pod.container[probe]["httpGet"]
        assert request["port"] in ports
        assert request["path"] in paths
    assert pod.container["livenessProbe"]["httpGet"]["path"] != pod.container["readinessProbe"]["httpGet"]["path"]


def test_kubernetes_waits_longer_than_the_shutdown_deadline() -> None:
    for name in ("api", "archive", "consumer", "edge"):
        pod = PODS[name]
        sleep = pod.container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
        longest_s = int(sleep[1]) + Settings().shutdown_deadline_s + EXIT_REPORT_S
        assert pod.spec["terminationGracePeriodSeconds"] > longest_s


@each_pod
def test_selectors_match_their_own_pods(pod: Pod) -> None:
    for workload in BASE:
        if workload["metadata"]["name"] == pod.owner and "selector" in workload.get("spec", {}):
            selector = workload["spec"]["selector"]
            assert selector.get("matchLabels", selector).items() <= pod.labels.items()


def test_every_service_points_to_a_port_of_its_pods() -> None:
    assert kind("Service").keys() == SERVING.keys()
    for name, service in kind("Service").items():
        container_ports = {port["name"]: port["containerPort"] for port in PODS[name].container["ports"]}
        for port in service["spec"]["ports"]:
            assert container_ports[port["targetPort"]] == port["port"]


def test_settings_have_the_address_of_the_triton_service() -> None:
    host, port = SETTINGS["TRITON_URL"].split(":")
    assert int(port) in [entry["port"] for entry in kind("Service")[host]["spec"]["ports"]]


def test_network_policies_admit_exactly_the_ports_of_services() -> None:
    opened = {
        port["port"]
        for policy in kind("NetworkPolicy").values()
        for rule in policy["spec"].get("ingress", [])
        for port in rule["ports"]
    }
    assert opened == {port["port"] for service in kind("Service").values() for port in service["spec"]["ports"]}


def test_a_drained_node_leaves_consumers_running() -> None:
    budget = kind("PodDisruptionBudget")["consumer"]["spec"]
    assert budget["selector"]["matchLabels"].items() <= PODS["consumer"].labels.items()
    assert 1 <= budget["maxUnavailable"] < kind("Deployment")["consumer"]["spec"]["replicas"]


def test_the_api_always_has_two_pods_and_a_drained_node_takes_one() -> None:
    budget, scaler = kind("PodDisruptionBudget")["api"]["spec"], kind("HorizontalPodAutoscaler")["api"]["spec"]
    assert budget["selector"]["matchLabels"].items() <= PODS["api"].labels.items()
    assert 1 <= budget["maxUnavailable"] < scaler["minReplicas"] < scaler["maxReplicas"]
    assert scaler["scaleTargetRef"]["name"] == "api"
    assert "replicas" not in kind("Deployment")["api"]["spec"], "every `kubectl apply` would undo the autoscaler"
    assert "cpu" in PODS["api"].container["resources"]["requests"], "the utilisation is a share of the request"


def test_only_the_public_paths_of_the_api_are_open_to_the_outside() -> None:
    ingress = kind("Ingress")["api"]["spec"]
    [rule] = ingress["rules"]
    backends = [path["backend"]["service"] for path in rule["http"]["paths"]]
    assert {path["path"] for path in rule["http"]["paths"]} == {"/v1", "/docs", "/openapi.json"}
    assert {(each["name"], each["port"]["name"]) for each in backends} == {("api", "http")}
    assert ingress["tls"][0]["hosts"] == [rule["host"]]


def test_every_image_has_the_version_of_this_package() -> None:
    tags = {image["name"]: image["newTag"] for image in KUSTOMIZATIONS[FOLDER / "base"]["images"]}
    assert set(tags.values()) == {version("framematch")}
    for pod in PODS.values():
        name, _, tag = pod.container["image"].partition(":")
        assert (tag or tags[name]) == version("framematch")
    assert f"V={version('framematch')}" in README


def test_every_image_is_also_built_by_compose() -> None:
    built = {service["image"].partition(":")[0] for service in COMPOSE.values()}
    replaced = {
        image.get("newName", image["name"]).removeprefix("registry.example/")
        for kustomization in KUSTOMIZATIONS.values()
        for image in kustomization.get("images", [])
    }
    assert replaced <= built


def test_scaler_watches_the_topic_and_group_of_the_consumers() -> None:
    scaler = kind("ScaledObject")["consumer"]["spec"]
    kafka = scaler["triggers"][0]["metadata"]
    assert kafka["topic"] == Topics(KafkaSettings().topic_prefix).frames
    assert kafka["offsetResetPolicy"] == Settings().consumer.start_at
    assert {kafka["bootstrapServersFromEnv"], kafka["consumerGroupFromEnv"]} <= SETTINGS.keys()
    assert scaler["scaleTargetRef"]["name"] in kind("Deployment")


def test_scaler_starts_no_more_consumers_than_partitions() -> None:
    scaler = kind("ScaledObject")["consumer"]["spec"]
    assert scaler["maxReplicaCount"] == int(SETTINGS["FRAMEMATCH_KAFKA__PARTITIONS"])
    assert 1 <= scaler["minReplicaCount"] < scaler["maxReplicaCount"]
    assert scaler["triggers"][0]["metadata"]["allowIdleConsumers"] == "false"


def test_scaler_does_not_react_to_frames_in_flight() -> None:
    threshold = int(kind("ScaledObject")["consumer"]["spec"]["triggers"][0]["metadata"]["lagThreshold"])
    assert threshold > 2 * Site(cameras=1, fps=1).consumer_fps * Settings().consumer.commit_interval_s
