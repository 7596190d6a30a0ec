"""What the system must allow for a number of cameras, and what is said when it does not."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.limits import check_limit, check_limits, raise_open_files, tasks_limit
from framematch.core.errors import UsageError


@pytest.fixture
def low_soft_limit() -> Iterator[int]:
    """A soft limit of 256 open files; the fixture is the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("low_soft_limit")
def test_too_many_cameras_for_the_open_files_are_an_error_that_says_what_to_set() -> None:
    check_limits(19)
    with pytest.raises(UsageError, match="100 cameras need 900 open files, and the system allows 256") as raised:
        check_limits(100)
    assert "LimitNOFILE=" in raised.value.hint


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be(low_soft_limit: int) -> None:
    raise_open_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (low_soft_limit, low_soft_limit)


@pytest.mark.parametrize("limit", [None, -1, 900])
def test_what_is_not_limited_or_just_suffices_is_no_error(limit: int | None) -> None:
    check_limit("open files", 100, 900, limit, "")


@pytest.mark.parametrize(("content", "limit"), [("400\n", 400), ("max\n", None)])
def test_the_limit_of_processes_is_that_of_the_own_control_group(
    tmp_path: Path, content: str, limit: int | None
) -> None:
    group = tmp_path / "system.slice" / "edge.service"
    group.mkdir(parents=True)
    (group / "pids.max").write_text(content)
    membership = tmp_path / "cgroup"
    membership.write_text("8:pids:/elsewhere\n0::/system.slice/edge.service\n")
    assert tasks_limit(tmp_path, membership) == limit


def test_a_system_without_such_control_groups_has_no_known_limit(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("8:pids:/\n")
    assert tasks_limit(tmp_path, membership) is None
    assert tasks_limit(tmp_path, tmp_path / "missing") is None
