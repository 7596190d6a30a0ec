"""A fake of the public model hub: the part of its API that a download needs, and its failures.

It follows huggingface_hub's code and published answers of the real hub, which was never asked. Small files are
redirected to a path of the same host (307), large ones to a signed address of another host (302) that refuses a token,
as on the real hub. Try it: `python -m tests.integration.hub_server FOLDER`.
"""

import argparse
import asyncio
import gzip
import hashlib
import json
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from aiohttp import web

from framematch.stack.server import ReservedPort

TOKEN = "hf_canary"
SIGNATURE = "signed-canary"
_CHUNK_BYTES = 16 * 1024
_T = TypeVar("_T")


@dataclass
class Fault:
    """A failure of the next `times` requests for a file (`path`), or for the API (`path` "api").

    After `after_bytes` of the response, `cut` closes the connection, and `stall` sends nothing more.
    """

    path: str
    kind: Literal["cut", "stall", "hang", "status", "tamper", "no-range"]
    times: int = 1_000_000
    after_bytes: int = 0
    status: int = 503


@dataclass(frozen=True)
class ReceivedRequest:
    """One received request; `path` is the file, or "api"."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Repository:
    """Branches and tags (`refs`), and the files of every commit."""

    name: str
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(self, files: dict[str, bytes], ref: str = "main") -> str:
        """Replace the files of `ref`. Returns the new commit."""
        digest = hashlib.sha1(usedforsecurity=False)
        for path, content in sorted(files.items()):
            digest.update(path.encode() + b"\0" + content)
        self.refs[ref] = commit = digest.hexdigest()
        self.commits[commit] = dict(files)
        return commit

    def resolve(self, revision: str) -> str | None:
        """The commit of a branch, a tag or a commit's id."""
        return self.refs.get(revision, revision if revision in self.commits else None)


class HubServer:
    """The hub at `endpoint`, in its own thread; `stop` interrupts running transfers."""

    def __init__(self, *, bytes_per_s: float | None = None) -> None:
        self._port, self._cdn_port = ReservedPort(), ReservedPort()
        self._bytes_per_s = bytes_per_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._runners: list[web.AppRunner] = []
        self.repositories: dict[str, Repository] = {}
        self.faults: list[Fault] = []
        self.requests: list[ReceivedRequest] = []

    @property
    def endpoint(self) -> str:
        return f"http://{self._port.address}"

    def add(self, name: str, folder: Path) -> Repository:
        """A repository whose main branch has the files of `folder`."""
        repository = self.repositories.setdefault(name, Repository(name))
        paths = [path for path in folder.rglob("*") if path.is_file()]
        repository.commit({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})
        return repository

    def requests_for(self, path: str) -> list[ReceivedRequest]:
        """The requests for the bytes of one file, or for the API."""
        return [request for request in self.requests if request.path == path]

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._start())

    def stop(self) -> None:
        if self._loop is None or self._thread is None:
            return
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    def _run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _start(self) -> None:
        hub, cdn = web.Application(), web.Application()
        hub.router.add_get("/api/models/{name:[^/]+/[^/]+}", self._model)
        hub.router.add_get("/api/models/{name:[^/]+/[^/]+}/revision/{revision}", self._model)
        hub.router.add_get("/api/resolve-cache/models/{name:[^/]+/[^/]+}/{commit}/{path:.+}", self._small_file)
        hub.router.add_get("/{name:[^/]+/[^/]+}/resolve/{revision}/{path:.+}", self._resolve)
        cdn.router.add_get("/xet-bridge-us/{sha256}/{path:.+}", self._large_file)
        for app, host, port in ((hub, "127.0.0.1", self._port.number), (cdn, "localhost", self._cdn_port.number)):
            runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
            await runner.setup()
            await web.TCPSite(runner, host, port).start()
            self._runners.append(runner)

    async def _stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _model(self, request: web.Request) -> web.StreamResponse:
        self._record(request, "api")
        if (fault := self._fault("api", "hang", "status")) is not None:
            return await self._fail(fault)
        repository = self._repository(request)
        revision = request.match_info.get("revision", "main")
        commit = repository.resolve(revision)
        if commit is None:
            return refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = repository.commits[commit]
        blobs = request.query.get("blobs", "").lower() == "true"
        siblings = [sibling(path, content) if blobs else {"rfilename": path} for path, content in files.items()]
        named = {"id": repository.name, "modelId": repository.name, "_id": "0", "private": repository.private}
        return web.json_response({**named, "sha": commit, "tags": [], "downloads": 0, "siblings": siblings})

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        repository = self._repository(request)
        path, revision = request.match_info["path"], request.match_info["revision"]
        if repository.gated and request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return refusal(401, "GatedRepo", f"Access to model {repository.name} is restricted. Please log in.")
        commit = repository.resolve(revision)
        if commit is None:
            return refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        content = repository.commits[commit].get(path)
        if content is None:
            return refusal(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        about = {"X-Repo-Commit": commit, "X-Linked-Size": str(len(content)), "Accept-Ranges": "bytes"}
        if not is_large(path):
            where = f"/api/resolve-cache/models/{repository.name}/{commit}/{quote(path)}?etag={git_sha1(content)}"
            return web.Response(status=307, headers={**about, "Location": where, "ETag": f'"{git_sha1(content)}"'})
        digest = hashlib.sha256(content).hexdigest()
        where = f"http://localhost:{self._cdn_port.number}/xet-bridge-us/{digest}/{quote(path)}?Signature={SIGNATURE}"
        xet = {"X-Xet-Hash": digest, "X-Xet-Refresh-Route": f"/api/models/{repository.name}/xet-read-token/{commit}"}
        return web.Response(status=302, headers={**about, **xet, "Location": where, "X-Linked-Etag": f'"{digest}"'})

    async def _small_file(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        content = self._repository(request).commits[request.match_info["commit"]][path]
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            self._record(request, path)
            return web.Response(body=gzip.compress(content), headers={"Content-Encoding": "gzip"})
        return await self._send(request, path, content)

    async def _large_file(self, request: web.Request) -> web.StreamResponse:
        path, digest = request.match_info["path"], request.match_info["sha256"]
        if "Authorization" in request.headers or request.query.get("Signature") != SIGNATURE:
            return web.Response(status=400, text="Only one auth mechanism allowed")
        every = (files for repository in self.repositories.values() for files in repository.commits.values())
        contents = [files[path] for files in every if path in files]
        [content, *_] = [content for content in contents if hashlib.sha256(content).hexdigest() == digest]
        return await self._send(request, path, content)

    async def _send(self, request: web.Request, path: str, content: bytes) -> web.StreamResponse:
        """The bytes of one file from the start of the request's range, with faults."""
        self._record(request, path)
        if (fault := self._fault(path, "hang", "status")) is not None:
            return await self._fail(fault)
        if self._fault(path, "tamper") is not None:
            content = bytes(reversed(content))
        first = 0 if self._fault(path, "no-range") else request.http_range.start or 0
        if first >= len(content):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        response = web.StreamResponse(status=206 if first else 200)
        if first:
            response.headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        response.content_length = len(content) - first
        await response.prepare(request)
        await self._write(request, response, content[first:], self._fault(path, "cut", "stall"))
        return response

    async def _write(
        self, request: web.Request, response: web.StreamResponse, content: bytes, fault: Fault | None
    ) -> None:
        last = len(content) if fault is None else fault.after_bytes
        for first in range(0, last, _CHUNK_BYTES):
            chunk = content[first : min(first + _CHUNK_BYTES, last)]
            await response.write(chunk)
            if self._bytes_per_s is not None:
                await asyncio.sleep(len(chunk) / self._bytes_per_s)
        if fault is None:
            await response.write_eof()
        elif fault.kind == "stall":
            await asyncio.Event().wait()
        elif request.transport is not None:
            request.transport.close()

    def _repository(self, request: web.Request) -> Repository:
        """The requested repository. Without a token the hub does not distinguish missing from private ones."""
        repository = self.repositories.get(request.match_info["name"])
        token = request.headers.get("Authorization")
        if token not in {None, f"Bearer {TOKEN}"}:
            raise web.HTTPUnauthorized(headers={"X-Error-Message": "Invalid credentials in Authorization header"})
        if repository is None and token is not None:
            raise web.HTTPNotFound(headers={"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        if repository is None or (repository.private and token is None):
            raise web.HTTPUnauthorized(headers={"X-Error-Message": "Invalid username or password."})
        return repository

    def _record(self, request: web.Request, path: str) -> None:
        self.requests.append(ReceivedRequest(request.method, path, dict(request.headers)))

    def _fault(self, path: str, *kinds: str) -> Fault | None:
        for fault in self.faults:
            if fault.path == path and fault.kind in kinds and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    async def _fail(self, fault: Fault) -> web.StreamResponse:
        if fault.kind == "hang":
            await asyncio.Event().wait()
        return web.json_response({"error": "injected failure"}, status=fault.status)


@contextmanager
def running_hub() -> Iterator[HubServer]:
    """A hub that runs within the `with` block."""
    server = HubServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def is_large(path: str) -> bool:
    """Whether .gitattributes of public exports puts the file into LFS."""
    return path.endswith((".onnx", "_data"))


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%s" % (len(content), content), usedforsecurity=False).hexdigest()


def sibling(path: str, content: bytes) -> dict[str, Any]:
    """One file in the API's list with `blobs`. An LFS file's blob is its pointer."""
    if not is_large(path):
        return {"rfilename": path, "size": len(content), "blobId": git_sha1(content)}
    digest = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()
    lfs = {"sha256": digest, "size": len(content), "pointerSize": len(pointer)}
    return {"rfilename": path, "size": len(content), "blobId": git_sha1(pointer), "lfs": lfs}


def refusal(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    explained = {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})}
    return web.Response(status=status, headers=explained, text=json.dumps({"error": message}))


def main() -> None:
    """Serve a folder until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", default="Xenova/clip-vit-base-patch32")
    parser.add_argument("--bytes-per-s", type=float)
    arguments = parser.parse_args()
    server = HubServer(bytes_per_s=arguments.bytes_per_s)
    server.add(arguments.name, arguments.folder)
    server.start()
    print(f"HF_ENDPOINT={server.endpoint}", flush=True)  # noqa: T201  # what its user needs
    threading.Event().wait()


if __name__ == "__main__":
    main()
