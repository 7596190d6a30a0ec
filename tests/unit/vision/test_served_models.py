"""Finding the models of ours that a Triton serves, with scripted answers of Triton."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Self, TypeAlias

import pytest
from tritonclient.utils import InferenceServerException

from framematch.core.errors import ModelError, TritonUnavailableError
from framematch.vision import triton_client
from framematch.vision.manifest import (
    BUILT_AT_PARAMETER,
    MANIFEST_PARAMETER,
    ModelManifest,
    PreprocessSpec,
    served_name,
)
from framematch.vision.served_models import list_served_models, newest_served
from tests.unit.vision.messages import Attributes

SPEC = PreprocessSpec(8, 8, 8, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
MANIFEST = ModelManifest("small", "ab" * 32, 4, SPEC, 6, "cd" * 32, max_batch_size=3)
OTHER = replace(MANIFEST, name="other", digest="ef" * 32)
OLD, NEW = "2026-01-01T00:00:00.000001Z", "2026-02-01T00:00:00.000002Z"

Model: TypeAlias = dict[str, str] | InferenceServerException


def failure(code: str, message: str = "because") -> InferenceServerException:
    return InferenceServerException(message, f"StatusCode.{code}")


def parameters(manifest: ModelManifest, built_at: str = OLD) -> Model:
    return {MANIFEST_PARAMETER: manifest.to_json(), BUILT_AT_PARAMETER: built_at}


def name_of(manifest: ModelManifest) -> str:
    return served_name("clip_image", manifest.digest)


class FakeClient:
    """Serves `models`: the parameters of each by name, or the error for its configuration."""

    def __init__(self, **models: Model) -> None:
        self.models = models
        self.index: list[Attributes] | InferenceServerException = failure("UNAVAILABLE", "This protocol is restricted")
        self.refusals: list[InferenceServerException] = []
        self.closed = False

    def __call__(self, _url: str, **_options: Any) -> Self:
        return self

    async def get_inference_statistics(self, **_options: Any) -> Attributes:
        if self.refusals:
            raise self.refusals.pop(0)
        return Attributes(model_stats=[Attributes(name=name) for name in self.models])

    async def get_model_config(self, name: str, **_options: Any) -> Attributes:
        found = self.models[name]
        if isinstance(found, InferenceServerException):
            raise found
        values = {key: Attributes(string_value=value) for key, value in found.items()}
        return Attributes(config=Attributes(parameters=values))

    async def get_model_repository_index(self, **_options: Any) -> Attributes:
        if isinstance(self.index, InferenceServerException):
            raise self.index
        return Attributes(models=self.index)

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """Two models of ours, each with its text tower, and one of somebody else."""
    fake = FakeClient(clip_text_abababababab={}, clip_text_efefefefefef={}, theirs={}, clip_image={}, clip_imagery={})
    fake.models |= {name_of(MANIFEST): parameters(MANIFEST, NEW), name_of(OTHER): parameters(OTHER, OLD)}
    monkeypatch.setattr(triton_client, "InferenceServerClient", fake)
    return fake


async def test_the_models_of_ours_are_listed_newest_first(client: FakeClient) -> None:
    newest, older = await list_served_models("triton:8001")
    assert (newest.name, newest.manifest) == ("clip_image_abababababab", MANIFEST)
    assert newest.built_at == datetime(2026, 2, 1, microsecond=2, tzinfo=UTC)
    assert (older.name, older.manifest) == ("clip_image_efefefefefef", OTHER)
    assert client.closed


@pytest.mark.parametrize(
    "broken",
    [
        failure("NOT_FOUND", "has no available versions"),
        failure("INTERNAL"),
        {},
        {MANIFEST_PARAMETER: "{"},
        {MANIFEST_PARAMETER: MANIFEST.to_json()},
        parameters(MANIFEST, "yesterday"),
        parameters(MANIFEST, "2026-01-01T00:00:00"),
        parameters(OTHER),
    ],
)
async def test_a_model_that_is_not_usable_does_not_hide_the_others(client: FakeClient, broken: Model) -> None:
    client.models[name_of(MANIFEST)] = broken
    assert [model.manifest for model in await list_served_models("triton:8001")] == [OTHER]


async def test_an_unavailable_triton_is_asked_again(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_client, "_RETRY_INTERVAL_S", 0.001)
    client.refusals = [failure("UNAVAILABLE"), failure("DEADLINE_EXCEEDED")]
    assert len(await list_served_models("triton:8001")) == 2


async def test_a_triton_that_stops_answering_meanwhile_is_unavailable(client: FakeClient) -> None:
    client.models[name_of(MANIFEST)] = failure("UNAVAILABLE")
    with pytest.raises(TritonUnavailableError):
        await list_served_models("triton:8001", timeout_s=0)


async def test_the_newest_built_model_is_found(client: FakeClient) -> None:
    assert (await newest_served("triton:8001", timeout_s=0)).manifest == MANIFEST
    client.models[name_of(OTHER)] = parameters(OTHER, "2026-03-01T00:00:00Z")
    assert (await newest_served("triton:8001", timeout_s=0)).manifest == OTHER


async def test_a_triton_without_a_model_of_ours_is_an_error_with_the_command_that_builds_one(
    client: FakeClient,
) -> None:
    client.models = {"theirs": {}}
    with pytest.raises(ModelError, match="no model that framematch built") as caught:
        await newest_served("triton:8001", timeout_s=10)
    assert "framematch model build" in caught.value.hint


async def test_a_model_of_an_older_version_is_named(client: FakeClient) -> None:
    client.models = {"clip_image": {}, "clip_text": {}}
    with pytest.raises(ModelError, match="clip_image, which an older version of framematch built"):
        await newest_served("triton:8001", timeout_s=10)


async def test_the_reason_why_the_only_model_is_not_usable_is_named(client: FakeClient) -> None:
    client.models = {"clip_image_abababababab": {}}
    with pytest.raises(ModelError, match="clip_image_abababababab has no framematch_manifest"):
        await newest_served("triton:8001", timeout_s=10)


async def test_a_model_that_is_being_loaded_is_waited_for(client: FakeClient) -> None:
    client.models = {}
    client.index = [Attributes(name="clip_image_abababababab", state="LOADING", reason="")]
    with pytest.raises(TritonUnavailableError, match=r"has clip_image_abababababab, but it is not ready: loading"):
        await newest_served("triton:8001", timeout_s=0)
