"""Who reaches Triton without its key can run models, but neither load them nor reach into its host."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException
from typer.testing import CliRunner, Result

from demo.dataset import BUNDLE_DIR
from framematch.cli.model import app
from framematch.core.errors import ModelError, SettingsError, TritonUnavailableError
from framematch.core.triton_key import KEY_NAME, KeyHeader
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.graphs.towers import digest_of, fold_towers
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.triton import TritonServer
from framematch.vision.encoder import ImageEncoder
from framematch.vision.manifest import IMAGE_MODEL, served_name
from framematch.vision.served_models import list_served_models
from framematch.vision.triton import TritonModel

pytestmark = pytest.mark.integration

Client = Any  # Triton's client has no types
WRONG_KEY = "not-the-key-of-this-triton"
MODEL = served_name(IMAGE_MODEL, digest_of(fold_towers(load_bundle(BUNDLE_DIR))))
CODE = {"file:1/model.py": b"import os"}

REFUSED: dict[str, Callable[[Client], Any]] = {
    "the repository's index": lambda client: client.get_model_repository_index(),
    "load": lambda client: client.load_model(MODEL),
    "load with code of one's own": lambda client: client.load_model("mine", config="{}", files=CODE),
    "unload": lambda client: client.unload_model(MODEL),
    "map shared memory": lambda client: client.register_system_shared_memory("mine", "/mine", 64),
    "map the GPU's memory": lambda client: client.register_cuda_shared_memory("mine", b"", 0, 64),
    "list shared memory": lambda client: client.get_system_shared_memory_status(),
    "set the log file": lambda client: client.update_log_settings({"log_verbose_level": 1}),
    "set the trace file": lambda client: client.update_trace_settings(settings={"trace_level": ["OFF"]}),
}
ALLOWED: dict[str, Callable[[Client], Any]] = {
    "health": lambda client: client.is_server_ready(),
    "metadata": lambda client: client.get_model_metadata(MODEL),
    "configuration": lambda client: client.get_model_config(MODEL),
    "statistics": lambda client: client.get_inference_statistics(MODEL),
    "statistics of all models": lambda client: client.get_inference_statistics(),
}
HTTP_REFUSED = [
    ("POST", "/v2/repository/index"),
    ("POST", f"/v2/repository/models/{MODEL}/load"),
    ("POST", f"/v2/repository/models/{MODEL}/unload"),
    ("POST", "/v2/systemsharedmemory/region/mine/register"),
    ("POST", "/v2/logging"),
    ("POST", "/v2/trace/setting"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("GET", "/v2/cudasharedmemory/status"),
    ("GET", "/v2/logging"),
    ("GET", "/v2/trace/setting"),
]


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """Serves the demo's model, with another folder for what a test builds."""
    folder = tmp_path_factory.mktemp("key")
    build_model_repository(load_bundle(BUNDLE_DIR), folder / "repository")
    server = TritonServer(folder / "server", folder / "repository")
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=[None, WRONG_KEY], ids=["no key", "another key"])
def stranger(request: pytest.FixtureRequest, triton: TritonServer) -> Iterator[Client]:
    with tritonclient.grpc.InferenceServerClient(triton.url) as client:
        if request.param:
            client.register_plugin(KeyHeader(request.param))
        yield client


@pytest.mark.parametrize("call", REFUSED)
def test_a_stranger_is_refused_over_grpc(call: str, stranger: Client) -> None:
    with pytest.raises(InferenceServerException, match="This protocol is restricted"):
        REFUSED[call](stranger)


@pytest.mark.parametrize("call", ALLOWED)
def test_what_a_consumer_needs_is_allowed_without_the_key(call: str, stranger: Client) -> None:
    assert ALLOWED[call](stranger)


@pytest.mark.parametrize("headers", [{}, {KEY_NAME: WRONG_KEY}], ids=["no key", "another key"])
@pytest.mark.parametrize(("method", "path"), HTTP_REFUSED)
def test_a_stranger_is_refused_over_http(method: str, path: str, headers: dict[str, str], triton: TritonServer) -> None:
    data = json.dumps({}).encode() if method == "POST" else None
    address = f"http://{triton.http_address}{path}"
    request = urllib.request.Request(address, data, headers, method=method)  # our own server
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)  # noqa: S310  # as above


def test_no_running_process_shows_the_key(triton: TritonServer) -> None:
    shown: dict[str, bytes] = {}
    for entry in Path("/proc").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            shown |= {entry.name: (entry / "cmdline").read_bytes()} if entry.name.isdigit() else {}
    assert shown[str(triton.pid)].count(b"*" * len(triton.repository_key)) == 2
    assert [pid for pid, arguments in shown.items() if triton.repository_key.encode() in arguments] == []
    assert triton.repository_key not in triton.log_file.read_text()


def build(triton: TritonServer, key: str | None) -> Result:
    environment = {"TRITON_URL": triton.url} | ({} if key is None else {"TRITON_REPOSITORY_KEY": key})
    arguments = ["build", "--from", str(BUNDLE_DIR), "--out", str(triton.model_repository)]
    return CliRunner().invoke(app, arguments, env=environment)


@pytest.mark.parametrize(("key", "found"), [(None, "is not set"), (WRONG_KEY, "is another key")])
def test_a_build_without_the_right_key_says_so(key: str | None, found: str, triton: TritonServer) -> None:
    result = build(triton, key)
    assert isinstance(result.exception, SettingsError)
    assert f"TRITON_REPOSITORY_KEY {found}" in result.exception.message
    assert WRONG_KEY not in f"{result.output}{result.exception}"
    assert "Built grocery-lite" in result.output


def test_a_build_with_the_key_is_served(triton: TritonServer) -> None:
    result = build(triton, triton.repository_key)
    assert result.exit_code == 0, result.output
    assert f"Triton at {triton.url} now serves it." in result.output


async def test_without_the_key_all_served_models_are_found(triton: TritonServer) -> None:
    assert [model.name for model in await list_served_models(triton.url)] == [MODEL]


async def test_without_the_key_a_missing_model_is_still_named(triton: TritonServer) -> None:
    with pytest.raises(ModelError, match="no model clip_image_0123456789ab") as caught:
        await ImageEncoder.connect(triton.url, "0123456789ab" * 5 + "0123")
    assert "framematch model build" in caught.value.hint


async def test_only_with_the_key_the_reason_of_a_broken_model_is_known(triton: TritonServer) -> None:
    version = triton.model_repository / "broken" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text("import no_such_module")
    (version.parent / "config.pbtxt").write_text('backend: "python"')
    with tritonclient.grpc.InferenceServerClient(triton.url) as client:
        client.register_plugin(KeyHeader(triton.repository_key))
        with pytest.raises(InferenceServerException):
            client.load_model("broken")
    for key, reason in ((None, "See Triton's log"), (triton.repository_key, "no_such_module")):
        with pytest.raises(TritonUnavailableError, match="has broken, but it is not ready") as caught:
            await TritonModel.connect(triton.url, "broken", timeout_s=0.5, request_timeout_s=1.0, key=key)
        assert reason in caught.value.message + caught.value.hint
