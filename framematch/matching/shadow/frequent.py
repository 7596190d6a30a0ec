"""Counts the most frequent of any number of keys in bounded memory."""

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class FrequentKeys(Generic[Key]):
    """A space-saving counter.

    See Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and top-k elements in data streams" (2005).
    Each count is too high by at most `error`, which is at most all keys added divided by `capacity`, and a key with
    more occurrences than that is never missing. Without an eviction all counts are exact.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._counts: dict[Key, int] = {}
        self.error = 0

    def add(self, key: Key) -> None:
        """Count an occurrence. A new key, when all places are taken, replaces the rarest one and inherits its count."""
        if key not in self._counts and len(self._counts) >= self._capacity:
            rarest = min(self._counts, key=self._counts.__getitem__)
            self.error = self._counts.pop(rarest)
            self._counts[key] = self.error
        self._counts[key] = self._counts.get(key, 0) + 1

    def most_common(self) -> list[tuple[Key, int]]:
        """All keys that are held with their counts, the most frequent first."""
        return sorted(self._counts.items(), key=lambda item: -item[1])
