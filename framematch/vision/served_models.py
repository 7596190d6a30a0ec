"""Which models of ours a Triton serves. A client needs no key for that, and no access to the model repository."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from tritonclient.utils import InferenceServerException

from framematch.core.errors import ModelError, TritonUnavailableError
from framematch.core.timestamps import from_rfc3339
from framematch.core.units import US_PER_S
from framematch.vision.manifest import (
    BUILT_AT_PARAMETER,
    IMAGE_MODEL,
    JPEG_MODEL,
    MANIFEST_PARAMETER,
    TEXT_MODEL,
    ModelManifest,
    served_name,
)
from framematch.vision.triton_client import (
    BUILD_HINT,
    CONTROL_TIMEOUT_S,
    is_not_found,
    not_ready,
    open_client,
    parameters_of,
    translated,
    until_available,
)

_PREFIX, _TEXT_PREFIX = f"{IMAGE_MODEL}_", f"{TEXT_MODEL}_"
_THE_LIST = "the list of its models"

log = structlog.get_logger()


@dataclass(frozen=True)
class ServedModel:
    """A model that Triton serves: the name of its image tower, its manifest, and when it was built (UTC)."""

    name: str
    manifest: ModelManifest
    built_at: datetime


async def list_served_models(url: str, *, timeout_s: float = 10.0) -> tuple[ServedModel, ...]:
    """The models of ours that the Triton at `url` (host:port) serves, the newest built first.

    Models of others are left out. One of ours whose configuration is not usable is left out with a warning in the log.

    Raises:
        TritonUnavailableError: Triton does not answer in that time.
    """
    async with open_client(url) as client:
        found = await until_available(partial(_read_served, client, url), timeout_s)
    for name, reason in found.unusable.items():
        log.warning("served_model_unusable", model=name, reason=reason)
    return found.models


async def newest_served(url: str, *, timeout_s: float, key: str | None = None) -> ServedModel:
    """The newest built model that the Triton at `url` (host:port) serves.

    It waits up to `timeout_s` while Triton is unreachable. While the only model is being loaded it waits too, if Triton
    tells `key`'s owner so.

    Raises:
        TritonUnavailableError: no answer, or the model is not ready, in that time.
        ModelError: Triton serves no model that framematch built.
    """
    async with open_client(url, key) as client:
        return await until_available(partial(_newest, client, url), timeout_s)


async def serves_jpegs(url: str, manifest: ModelManifest, timeout_s: float) -> bool:
    """Whether the Triton at `url` (host:port) serves what `framematch model build --jpeg` adds to a model.

    Raises:
        TritonUnavailableError: Triton does not answer in that time.
    """
    async with open_client(url) as client:
        found = await until_available(partial(_read_served, client, url), timeout_s)
    return served_name(JPEG_MODEL, manifest.digest) in found.names


def manifest_in(parameters: Mapping[str, str], name: str) -> ModelManifest:
    """The manifest in the parameters of a Triton configuration of the model `name`.

    Raises:
        ModelError: there is none, or it is not readable.
    """
    if MANIFEST_PARAMETER not in parameters:
        raise ModelError(f"{name} has no {MANIFEST_PARAMETER}: framematch did not build it", hint=BUILD_HINT)
    return ModelManifest.from_json(parameters[MANIFEST_PARAMETER])


def described(name: str, parameters: Mapping[str, str]) -> ServedModel:
    """The model that the parameters of the Triton configuration of the image tower `name` describe.

    Raises:
        ModelError: they are not usable, or of another model than the name says.
    """
    manifest = manifest_in(parameters, name)
    if served_name(IMAGE_MODEL, manifest.digest) != name:
        raise ModelError(f"{name} has the manifest of another model, {manifest.digest[:12]}", hint=BUILD_HINT)
    try:
        built_at = datetime.fromtimestamp(from_rfc3339(parameters.get(BUILT_AT_PARAMETER, "")) / US_PER_S, UTC)
    except ValueError as error:
        raise ModelError(f"{name} does not say when it was built: {error}", hint=BUILD_HINT) from error
    return ServedModel(name, manifest, built_at)


@dataclass(frozen=True)
class _Found:
    models: tuple[ServedModel, ...]
    unusable: Mapping[str, str]
    names: frozenset[str]


async def _read_served(client: Any, url: str) -> _Found:
    try:
        # Without a model's name Triton counts for all models that are loaded, and no others.
        counted = await client.get_inference_statistics(client_timeout=CONTROL_TIMEOUT_S)
    except InferenceServerException as error:
        raise translated(error, url, _THE_LIST) from error
    names = frozenset(entry.name for entry in counted.model_stats)
    models, unusable = [], {}
    for name in sorted(name for name in names if name.startswith(_PREFIX)):
        try:
            models.append(await _read_one(client, url, name))
        except ModelError as error:
            unusable[name] = error.message
    newest_first = sorted(models, key=lambda model: (model.built_at, model.name), reverse=True)
    return _Found(tuple(newest_first), unusable, names)


async def _read_one(client: Any, url: str, name: str) -> ServedModel:
    try:
        answer = await client.get_model_config(name, client_timeout=CONTROL_TIMEOUT_S)
    except InferenceServerException as error:
        if is_not_found(error):  # it was unloaded meanwhile
            raise ModelError(f"{name} is not loaded any more") from error
        raise translated(error, url, name) from error
    return described(name, parameters_of(answer.config))


async def _newest(client: Any, url: str) -> ServedModel:
    found = await _read_served(client, url)
    if found.models:
        return found.models[0]
    raise await _none_served(client, url, found)


async def _none_served(client: Any, url: str, found: _Found) -> TritonUnavailableError | ModelError:
    if found.unusable:
        return ModelError(f"Triton at {url}: {next(iter(found.unusable.values()))}", hint=BUILD_HINT)
    if IMAGE_MODEL in found.names:
        return ModelError(
            f"Triton at {url} serves {IMAGE_MODEL}, which an older version of framematch built",
            hint="Build its model again with `framematch model build` of this version",
        )
    try:
        index = await client.get_model_repository_index(client_timeout=CONTROL_TIMEOUT_S)
    except InferenceServerException:  # it needs the key
        entries = []
    else:
        entries = [entry for entry in index.models if entry.name.startswith((_PREFIX, _TEXT_PREFIX))]
    if entries:  # one that Triton tried to load has a state, and says why it is not ready
        return not_ready(next((entry for entry in entries if entry.state), entries[0]), url)
    return ModelError(f"Triton at {url} serves no model that framematch built", hint=BUILD_HINT)
