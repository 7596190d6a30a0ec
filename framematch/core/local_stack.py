"""The state file of the local servers, through which every command finds their addresses."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from framematch.core.errors import SettingsError
from framematch.core.paths import state_dir
from framematch.core.private_files import make_private_folder, write_private

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STATE_FIELD, _START_TIME_FIELD = 0, 19  # of /proc/PID/stat, counted behind the program's name
_ENDED_STATES = "ZX"


@dataclass(frozen=True)
class ProcessId:
    """A process, told by its start (`process_start`) from a later one with the same id."""

    pid: int
    start: str | None

    @property
    def runs(self) -> bool:
        """Whether it still runs."""
        return self.start is not None and process_start(self.pid) == self.start


@dataclass(frozen=True)
class LocalStack:
    """The addresses of the running servers, all on loopback; None for a server that was left out.

    `supervisor_start` belongs to `supervisor_pid`, as in `ProcessId`. `servers` are the servers' processes by name.
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
    supervisor_start: str | None = None
    triton_repository_key: str | None = field(default=None, repr=False)
    servers: dict[str, ProcessId] = field(default_factory=dict)

    @property
    def supervisor(self) -> ProcessId:
        """The process that owns the servers."""
        return ProcessId(self.supervisor_pid, self.supervisor_start)

    def addresses(self) -> dict[str, str]:
        """The address of each running server, by its name."""
        known = {
            "kafka": self.kafka_bootstrap_servers,
            "triton": self.triton_url,
            "mongodb": self.mongodb_uri,
            "mediamtx": self.rtsp_url,
        }
        return {name: address for name, address in known.items() if address is not None}


def state_file() -> Path:
    """Path of the state file; `FRAMEMATCH_STATE_DIR` moves it."""
    return state_dir() / "stack.json"


def write_local_stack(stack: LocalStack) -> None:
    """Write the state file atomically; only its owner can read it, because it contains a key."""
    path = state_file()
    make_private_folder(path.parent)
    temporary = path.with_suffix(".tmp")
    write_private(temporary, msgspec.json.format(msgspec.json.encode(stack)))
    temporary.replace(path)


def remove_local_stack() -> None:
    """Delete the state file, if it exists."""
    state_file().unlink(missing_ok=True)


def read_local_stack() -> LocalStack | None:
    """The running local stack; None when there is none, or the recorded supervisor has ended.

    Raises:
        SettingsError: the state file cannot be read, for instance because its folder is another user's.
    """
    path = state_file()
    try:
        stack = msgspec.json.decode(path.read_bytes(), type=LocalStack)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    except OSError as error:
        raise SettingsError(
            f"cannot read the state file {path}: {error.strerror}",
            hint="Set FRAMEMATCH_STATE_DIR to a folder of your own",
        ) from None
    return stack if stack.supervisor.runs else None


def process_start(pid: int) -> str | None:
    """When a process was started: the boot and the clock ticks since then. None when it has ended, or never existed."""
    fields = process_fields(pid)
    return None if fields is None else f"{_BOOT_ID.read_text(encoding='utf-8').strip()} {fields[_START_TIME_FIELD]}"


def process_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat behind the program's name; None for a process that has ended, or never existed."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[_STATE_FIELD] in _ENDED_STATES else fields
