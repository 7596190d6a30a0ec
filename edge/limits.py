"""What the system must allow for a number of cameras: open files, and processes with their threads."""

import resource
from pathlib import Path

from framematch.core.errors import UsageError

# The service has up to eight for each camera: the channel, two of the shared buffer, two of the process, and three of
# the spool while it is in use.
_FILES_PER_CAMERA = 8
_SERVICE_FILES = 100
# Two threads read and encode; a stream over UDP has one more for each of its two sockets.
_TASKS_PER_CAMERA = 4
_SERVICE_TASKS = 40

_FILES_HINT = (
    "Raise it: ulimit -n, LimitNOFILE= of a systemd unit, ulimits.nofile of a container. Or run another edge for some"
)
_TASKS_HINT = "Raise it: TasksMax= of a systemd unit, the limit pids of a container. Or run another edge for some"

_CGROUPS = Path("/sys/fs/cgroup")


def raise_open_files() -> None:
    """Raise this process's limit of open files as far as it may be; children that start later have it too.

    The lower limit protects programs that wait with select(2), which takes no file number above 1023. The edge does
    not, and its cameras' processes open a dozen files each.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_limits(cameras: int) -> None:
    """Check that the system allows what this many cameras need.

    Raises:
        UsageError: it does not; the message has the limit and what is needed.
    """
    files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    check_limit("open files", cameras, _SERVICE_FILES + cameras * _FILES_PER_CAMERA, files_max, _FILES_HINT)
    tasks_max = tasks_limit(_CGROUPS, Path("/proc/self/cgroup"))
    check_limit("processes and threads", cameras, _SERVICE_TASKS + cameras * _TASKS_PER_CAMERA, tasks_max, _TASKS_HINT)


def check_limit(what: str, cameras: int, needed: int, limit: int | None, hint: str) -> None:
    """Raise UsageError when `needed` is more than `limit`; None or a negative value stands for no limit."""
    if limit is not None and 0 <= limit < needed:
        raise UsageError(f"{cameras} cameras need {needed} {what}, and the system allows {limit}", hint=hint)


def tasks_limit(cgroups: Path, membership: Path) -> int | None:
    """How many processes and threads this process's control group (version 2) may have; None: not known, or no limit.

    Args:
        cgroups: where control groups are mounted.
        membership: /proc/self/cgroup, whose line `0::/NAME` names the group.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
        name = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        return int((cgroups / name / "pids.max").read_text(encoding="utf-8"))
    except (OSError, StopIteration, ValueError):  # no such group, or "max"
        return None
