"""Makes a running Triton load the models that were just built, or unload some."""

from collections.abc import Iterable
from enum import Enum

from tritonclient.utils import InferenceServerException

from framematch.core.errors import ModelError, SettingsError, TritonUnavailableError
from framematch.core.triton_key import key_was_refused
from framematch.vision.load_errors import load_hint
from framematch.vision.manifest import (
    DECODE_MODEL,
    IMAGE_MODEL,
    JPEG_MODEL,
    TEXT_MODEL,
    ModelManifest,
    jpeg_names,
    served_name,
)
from framematch.vision.triton import TritonModel
from framematch.vision.triton_client import open_client, translated

# The call returns when a model is read, optimised and warmed up.
_LOAD_TIMEOUT_S = 300.0
_CONNECT_TIMEOUT_S = 5.0
_NOT_EXPLICIT = "explicit model load / unload is not allowed"


class Reload(Enum):
    """The result of a reload; the value completes the sentence "Triton at URL …"."""

    LOADED = "now serves it"
    UNREACHABLE = "does not answer"
    NOT_EXPLICIT = "does not load models on request (it runs without --model-control-mode=explicit)"
    OTHER_REPOSITORY = "serves another model repository"


async def reload_models(url: str, manifest: ModelManifest, *, jpeg: bool = False, key: str | None = None) -> Reload:
    """Make Triton at its gRPC endpoint `url` (host:port) load the towers of `manifest`, and check that it serves them.

    `jpeg`: also what was built with `--jpeg`; otherwise Triton unloads what an earlier build of this model had of it.
    The models that it serves already stay. `key` is that of Triton's restricted calls.

    Raises:
        ModelError: Triton failed to load a model.
        SettingsError: Triton restricts loading models, and `key` is missing or another one.
    """
    async with open_client(url, key) as client:
        try:
            index = await client.get_model_repository_index(client_timeout=_CONNECT_TIMEOUT_S)
            known = {entry.name for entry in index.models}
            if served_name(IMAGE_MODEL, manifest.digest) not in known:
                return Reload.OTHER_REPOSITORY
            for name in jpeg_names(manifest.digest):
                if not jpeg and name in known:
                    await client.unload_model(name, client_timeout=_LOAD_TIMEOUT_S)
            # The image tower comes last: it is what clients find a model by.
            towers = () if manifest.context_length is None else (TEXT_MODEL,)
            with_jpeg = (DECODE_MODEL, JPEG_MODEL) if jpeg else ()
            for tower in (*towers, *with_jpeg, IMAGE_MODEL):
                await client.load_model(served_name(tower, manifest.digest), client_timeout=_LOAD_TIMEOUT_S)
        except InferenceServerException as error:
            return _outcome(error, url, key)
    return await _served(url, manifest)


async def unload_models(url: str, names: Iterable[str], *, key: str | None = None) -> bool:
    """Make Triton at its gRPC endpoint `url` (host:port) unload the towers with these names; unknown ones are left out.

    Returns False when it does not unload models on request. `key` is that of Triton's restricted calls.

    Raises:
        TritonUnavailableError: Triton does not answer.
        ModelError: Triton could not unload one.
        SettingsError: Triton restricts unloading models, and `key` is missing or another one.
    """
    async with open_client(url, key) as client:
        for name in names:
            try:
                await client.unload_model(name, client_timeout=_LOAD_TIMEOUT_S)
            except InferenceServerException as error:
                if _NOT_EXPLICIT in error.message():
                    return False
                if key_was_refused(error.message()):
                    raise _refused("nothing was unloaded", "unloads", url, key) from error
                raise translated(error, url, name) from error
    return True


async def _served(url: str, manifest: ModelManifest) -> Reload:
    try:
        model = await TritonModel.connect(
            url,
            served_name(IMAGE_MODEL, manifest.digest),
            timeout_s=_CONNECT_TIMEOUT_S,
            request_timeout_s=_CONNECT_TIMEOUT_S,
        )
    except TritonUnavailableError:
        return Reload.UNREACHABLE
    except ModelError:  # its model of that name was not built by framematch
        return Reload.OTHER_REPOSITORY
    await model.close()
    return Reload.LOADED if model.manifest == manifest else Reload.OTHER_REPOSITORY


def _outcome(error: InferenceServerException, url: str, key: str | None) -> Reload:
    if key_was_refused(error.message()):
        raise _refused("the model is built", "loads", url, key) from error
    if _NOT_EXPLICIT in error.message():
        return Reload.NOT_EXPLICIT
    if error.status() in {"StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED"}:
        return Reload.UNREACHABLE
    reason = " ".join(error.message().split()).rstrip(";. ")
    raise ModelError(
        f"Triton at {url} could not load the model: {reason}",
        hint=load_hint(reason) or "See Triton's log for the cause",
    ) from error


def _refused(done: str, does: str, url: str, key: str | None) -> SettingsError:
    found = "TRITON_REPOSITORY_KEY is not set" if key is None else "TRITON_REPOSITORY_KEY is another key"
    return SettingsError(
        f"{done}, but Triton at {url} {does} models only with its key, and {found}",
        hint="Set it to the key that Triton was started with, and run the command again"
        + ("; or restart Triton, which then loads the model" if does == "loads" else ""),
    )
