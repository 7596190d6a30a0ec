"""What `framematch doctor` reports: findings, and errors as findings."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from framematch.cli.errors import hint_of, missing_package
from framematch.core.errors import FramematchError
from framematch.core.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """A row of the report; `ok` is None for what a consumer can run without."""

    part: str
    ok: bool | None
    detail: str
    hint: str = ""


@dataclass(frozen=True)
class Checked(Generic[T]):
    """The findings of a check, and what it found for the next one; None when it failed."""

    findings: list[Finding]
    found: T | None = None


async def guarded(part: str, check: Callable[[Settings], Awaitable[Checked[T]]], settings: Settings) -> Checked[T]:
    """Run a check; an error or a missing package is its only finding."""
    try:
        return await check(settings)
    except ImportError as error:
        if (missing := missing_package(error, "doctor")) is None:
            raise
        return Checked([Finding(part, False, missing.message, missing.hint)])
    except FramematchError as error:
        return Checked([Finding(part, False, error.message, hint_of(error))])
