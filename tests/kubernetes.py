"""Reads Kubernetes manifests for tests, finds their pods, and validates them against schemas."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "kubernetes"
VERSIONS = ("1.29", kubernetes_validate.latest_version())
"""The oldest version that the README promises, and the newest with a schema."""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """The pod template of a manifest; `owner` is the manifest's name."""

    owner: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def container(self) -> dict[str, Any]:
        """The pod's only container."""
        [container] = self.spec["containers"]
        single: dict[str, Any] = container
        return single

    @property
    def mounts(self) -> dict[str, str]:
        """Names of the mounted volumes by mount path."""
        return {mount["mountPath"]: mount["name"] for mount in self.container["volumeMounts"]}


def manifests(text: str) -> list[Manifest]:
    """Parse the documents of a YAML stream."""
    return [document for document in yaml.safe_load_all(text) if document is not None]


def read_manifests(path: Path) -> list[Manifest]:
    return manifests(path.read_text(encoding="utf-8"))


def pods(documents: Iterable[Manifest]) -> Iterator[Pod]:
    """Yield the pod templates in these manifests."""
    for document in documents:
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            template = spec["template"]
            yield Pod(document["metadata"]["name"], template.get("metadata", {}).get("labels", {}), template["spec"])


def check_schema(document: Manifest) -> None:
    """Raise if Kubernetes or KEDA would reject the manifest or ignore one of its fields."""
    if document["apiVersion"].startswith("keda.sh/"):
        jsonschema.validate(document, _keda_schema())
        return
    for version in VERSIONS:
        kubernetes_validate.validate(document, version, strict=True)


@cache
def _keda_schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((Path(__file__).parent / "keda.schema.json").read_text(encoding="utf-8"))
    return schema
