"""Who sends a request, and what he may do: scopes say which routes, globs which cameras."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from typing import Literal, get_args

Scope = Literal["read", "match", "operate", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""`read`: lists, events, status. `match`: match and search. `operate`: changes. `admin`: keys, audit log, and all."""

ALL_CAMERAS = ("*",)


@dataclass(frozen=True)
class Principal:
    """Who sends a request, once a key or a token has proved it.

    `cameras` are globs with `*`, `?` and `[…]`; none means no camera. `requests_per_minute` replaces the setting of
    this name, and 0 means no limit.
    """

    name: str
    kind: Literal["key", "oidc", "anonymous"]
    scopes: frozenset[str]
    cameras: tuple[str, ...]
    key_id: str | None = None
    requests_per_minute: int | None = None

    @property
    def identity(self) -> str:
        """One text for each key, each subject of tokens, or everybody without one."""
        return f"{self.kind}:{self.key_id or self.name}"

    def may(self, scope: Scope) -> bool:
        """Whether a route of this scope is allowed. `admin` includes the others, which include none."""
        return scope in self.scopes or "admin" in self.scopes

    def sees(self, camera: str) -> bool:
        """Whether this camera and its events exist for him."""
        return self._cameras.fullmatch(camera) is not None

    @cached_property
    def sees_all(self) -> bool:
        """Whether he sees every camera, so that a query needs no filter."""
        return "*" in self.cameras

    @cached_property
    def _cameras(self) -> re.Pattern[str]:
        return re.compile("|".join(map(translate, self.cameras)) or r"(?!)")


def known_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """Those of `scopes` that are ours: an unknown one allows nothing."""
    return frozenset(scopes) & frozenset(SCOPES)
