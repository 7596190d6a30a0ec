"""The state file of the servers that `framematch stack up` runs on this machine, so that every command finds them."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from framematch.core.paths import state_dir


@dataclass(frozen=True)
class LocalStack:
    """Addresses of a running local stack, all of them on loopback; None for a server that was left out.

    Each server logs to `log_dir/NAME/NAME.log`.
    """

    supervisor_pid: int
    kafka_bootstrap_servers: str | None
    mongodb_uri: str | None
    triton_url: str | None
    triton_metrics_url: str | None
    rtsp_url: str | None
    model_repository: str | None
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


def remove_local_stack() -> None:
    """Delete the state file, if there is one."""
    state_file().unlink(missing_ok=True)


def read_local_stack() -> LocalStack | None:
    """The running local stack, or None when there is none or its supervisor is gone."""
    try:
        stack = msgspec.json.decode(state_file().read_bytes(), type=LocalStack)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return stack if _alive(stack.supervisor_pid) else None


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # empty: it ended, and nobody has asked how
    except (FileNotFoundError, ProcessLookupError):
        return False
