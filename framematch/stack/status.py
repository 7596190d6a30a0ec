"""Checks whether the servers of the running stack work: their processes, and real protocol calls."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from framematch.core.errors import UnavailableError
from framematch.core.local_stack import LocalStack
from framematch.stack import kafka, mediamtx, mongodb, triton_check


@dataclass(frozen=True)
class ServerStatus:
    """The address of a server, and the reason when it does not work."""

    name: str
    address: str
    error: str | None


def statuses(running: LocalStack) -> list[ServerStatus]:
    """Check every server of the stack, concurrently."""
    checks: Mapping[str, Callable[[str], None]] = {
        "kafka": kafka.ping,
        "triton": partial(triton_check.check, key=running.triton_repository_key),
        "mongodb": mongodb.ping,
        "mediamtx": mediamtx.ping,
    }

    def checked(server: tuple[str, str]) -> ServerStatus:
        name, address = server
        process = running.servers.get(name)
        if process is not None and not process.runs:  # another program may answer at its address
            return ServerStatus(name, address, f"has ended; its log: {running.log_dir}/{name}/{name}.log")
        try:
            checks[name](address)
        except UnavailableError as error:
            return ServerStatus(name, address, error.message)
        return ServerStatus(name, address, None)

    with ThreadPoolExecutor(len(checks)) as pool:
        return list(pool.map(checked, running.addresses().items()))
