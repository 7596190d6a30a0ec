"""One rule for every mapping that is read from outside: a key stands in it once."""

from collections.abc import Iterable
from typing import Any, TypeVar

Value = TypeVar("Value")


class RepeatedKeyError(ValueError):
    """A key stands twice. `first` and `second` are the values with it."""

    def __init__(self, key: str, first: Any, second: Any) -> None:
        super().__init__(key)
        self.key = key
        self.first = first
        self.second = second


def unique(pairs: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """The mapping of these pairs.

    Raises:
        RepeatedKeyError: a key stands twice; `dict` would silently lose the first value.
    """
    found: dict[str, Value] = {}
    for key, value in pairs:
        if key in found:
            raise RepeatedKeyError(key, found[key], value)
        found[key] = value
    return found
