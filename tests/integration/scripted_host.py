"""A real HTTP server whose answers are given bytes, also such as no proper one sends; and a resolver of names."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp.abc import AbstractResolver, ResolveResult

Write = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Request:
    """What a client sent; header names are in lower case."""

    path: str
    headers: Mapping[str, str]


@dataclass
class ScriptedHost:
    """Answers each path with its next answer, the last one for ever; unknown paths with 404."""

    port: int = 0
    answers: dict[str, list[bytes | Write]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def give(self, path: str, *answers: bytes | Write) -> None:
        self.answers[path] = list(answers)

    @property
    def asked(self) -> list[str]:
        return [request.path for request in self.requests]

    def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.handle(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = head[0].split(" ")[1]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            self.requests.append(Request(path, headers))
            answers = self.answers.get(path, [reply(404)])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone, as a test wants
        finally:
            writer.close()


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """An answer; `etag="x"` is a header, and so is `content_length`, which is right if it is not given."""
    given = {"content_length": str(len(body)), "connection": "close"} | headers
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items()]
    return f"HTTP/1.1 {status} Status\r\n{''.join(lines)}\r\n".encode() + body


@asynccontextmanager
async def running_host(tls: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> AsyncIterator[ScriptedHost]:
    """A host on a free port."""
    host = ScriptedHost()
    server = await asyncio.start_server(host.connect, address, 0, ssl=tls)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        server.close()
        for task in host.tasks:
            task.cancel()
        await asyncio.gather(*host.tasks, return_exceptions=True)
        await server.wait_closed()


class ScriptedResolver(AbstractResolver):
    """Answers for each name with the next of its lists of addresses, the last one for ever."""

    def __init__(self, **names: list[list[str]]) -> None:
        self.names = {name.replace("_", "."): answers for name, answers in names.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family
        self.asked.append(host)
        answers = self.names.get(host)
        if answers is None:
            raise OSError(socket.EAI_NONAME, "Name or service not known")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=int(socket.AI_NUMERICHOST),
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass
