"""The state file of the servers that `framematch stack up` runs on this machine, so that every command finds them."""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from framematch.core.paths import state_dir


@dataclass(frozen=True)
class LocalStack:
    """Addresses of a running local stack; all of them on loopback."""

    supervisor_pid: int
    kafka_bootstrap_servers: str
    mongodb_uri: str
    triton_url: str
    triton_metrics_url: str
    rtsp_url: str
    model_repository: str
    log_dir: str


def state_file() -> Path:
    """Path of the state file; `FRAMEMATCH_STATE_DIR` moves it."""
    return state_dir() / "stack.json"


def write_local_stack(stack: LocalStack) -> None:
    """Write the state file atomically: a reader sees all of it or none."""
    path = state_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(stack)))
    temporary.replace(path)


def read_local_stack() -> LocalStack | None:
    """The running local stack, or None when there is none or its supervisor is gone."""
    try:
        stack = msgspec.json.decode(state_file().read_bytes(), type=LocalStack)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return stack if _alive(stack.supervisor_pid) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
