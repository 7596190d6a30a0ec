"""Errors of task groups: the one that matters, without the groups around it."""

from collections.abc import Iterator
from contextlib import contextmanager

from framematch.core.errors import FramematchError


@contextmanager
def ungrouped_errors() -> Iterator[None]:
    """Raise the first FramematchError of an exception group in place of the group, unless it has other errors too."""
    try:
        yield
    except BaseExceptionGroup as group:
        ours, others = group.split(FramematchError)
        if ours is None or others is not None:
            raise
        raise first_error(ours) from None


def first_error(error: BaseException) -> BaseException:
    """The first error inside nested groups that is no FramematchError, else the first; others are its consequences."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    _, others = error.split(FramematchError)
    return first_error((others or error).exceptions[0])


def describe(error: BaseException) -> str:
    """An error in one line: its type and its message. It may contain a secret."""
    first = first_error(error)
    message = " ".join(str(first).split())
    return f"{type(first).__name__}: {message}" if message else type(first).__name__
