"""Scopes and camera globs: what a principal may do and see."""

import pytest

from framematch.api.access.principal import SCOPES, Principal, Scope, known_scopes


def principal(*scopes: str, cameras: tuple[str, ...] = ()) -> Principal:
    return Principal("test", "key", frozenset(scopes), cameras)


@pytest.mark.parametrize("held", ["read", "match", "operate"])
@pytest.mark.parametrize("wanted", SCOPES)
def test_a_scope_allows_itself_alone(held: str, wanted: Scope) -> None:
    assert principal(held).may(wanted) is (held == wanted)


@pytest.mark.parametrize("wanted", SCOPES)
def test_admin_allows_every_scope(wanted: Scope) -> None:
    assert principal("admin").may(wanted)


@pytest.mark.parametrize("wanted", SCOPES)
def test_nothing_is_allowed_without_a_scope(wanted: Scope) -> None:
    assert not principal().may(wanted)


def test_an_unknown_scope_is_dropped() -> None:
    assert known_scopes(["read", "root", "Admin", "*", ""]) == {"read"}


@pytest.mark.parametrize(
    ("globs", "camera", "seen"),
    [
        ((), "till-1", False),
        (("*",), "till-1", True),
        (("till-*",), "till-1", True),
        (("till-*",), "xtill-1", False),
        (("till-*",), "TILL-1", False),
        (("till-?",), "till-10", False),
        (("door", "till-[12]"), "till-2", True),
        (("door", "till-[12]"), "till-3", False),
        (("door",), "door2", False),
        (("a.b",), "axb", False),
        (("till-1|door",), "door", False),
        (("till-*",), "till-1\n", True),  # no camera has such a name
        (("",), "till-1", False),
    ],
)
def test_a_camera_is_seen_if_a_glob_matches_its_whole_name(globs: tuple[str, ...], camera: str, seen: bool) -> None:
    assert principal("read", cameras=globs).sees(camera) is seen


def test_admin_sees_no_camera_that_his_globs_do_not_name() -> None:
    assert not principal("admin", cameras=("till-*",)).sees("door")


def test_a_glob_of_many_stars_takes_linear_time() -> None:
    glob = "*a" * 60 + "b"
    assert not principal("read", cameras=(glob,)).sees("a" * 64)


def test_only_a_star_sees_all() -> None:
    assert principal("read", cameras=("door", "*")).sees_all
    assert not principal("read", cameras=("till-*",)).sees_all
