"""Conditional requests: entity tags, and what `If-Match` and `If-None-Match` ask for (RFC 9110)."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header

from framematch.api.problems import Problem

_TAG = r'(?:W/)?"[!#-~\x80-\xff]*"'
_TAGS = re.compile(rf"\s*{_TAG}(?:\s*,\s*{_TAG})*\s*")
_ONE = re.compile(_TAG)


@dataclass(frozen=True)
class Conditions:
    """What a request demands of the resource as it is now. None is no demand; `*` in `match` is any that exists."""

    match: frozenset[str] | None = None
    none_match: frozenset[str] | None = None

    @property
    def given(self) -> bool:
        """Whether there is a demand."""
        return self.match is not None or self.none_match is not None

    def check(self, etag: str | None) -> None:
        """Check the resource's tag, None when it does not exist, before it is changed.

        Raises:
            Problem: it is another one (412).
        """
        if self.match is not None and not _contains(self.match, etag):
            raise precondition_failed()
        if self.none_match is not None and _contains(self.none_match, etag):
            raise precondition_failed()

    def not_modified(self, etag: str) -> bool:
        """Whether a reader has this state already."""
        return self.none_match is not None and _contains({tag.removeprefix("W/") for tag in self.none_match}, etag)


def quoted(etag: str) -> str:
    """The value of the header `ETag`."""
    return f'"{etag}"'


def precondition_failed() -> Problem:
    """The problem of a resource that is not as the client has seen it."""
    return Problem(
        412, "precondition_failed", "it has changed since it was read, or it exists, or it does not",
        hint="Read it again, and repeat the change with its new ETag if it is still right",
    )  # fmt: skip


def parse_tags(header: str, value: str) -> frozenset[str]:
    """The tags of a header, quoted; `*` stands for itself.

    Raises:
        Problem: they are no tags (400).
    """
    if value.strip() == "*":
        return frozenset("*")
    if not _TAGS.fullmatch(value):
        raise Problem(
            400,
            "invalid_request",
            f"the header {header} is no list of entity tags",
            hint=f'Write {header}: "TAG", or *',
        )
    return frozenset(_ONE.findall(value))


def _conditions(
    if_match: Annotated[str | None, Header(description="change it only if it has this ETag")] = None,
    if_none_match: Annotated[str | None, Header(description="`*`: only if it does not exist yet")] = None,
) -> Conditions:
    return Conditions(
        None if if_match is None else parse_tags("If-Match", if_match),
        None if if_none_match is None else parse_tags("If-None-Match", if_none_match),
    )


def _contains(tags: "frozenset[str] | set[str]", etag: str | None) -> bool:
    return etag is not None and ("*" in tags or quoted(etag) in tags)


CurrentConditions = Annotated[Conditions, Depends(_conditions)]
