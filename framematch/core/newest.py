"""The newest ids of a stream, to find one that comes again."""


class NewestIds:
    """The last ids that were added, at most `most`; looking one up takes the same time however many they are."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._ids: dict[str, None] = {}
        self.last: str | None = None
        """The one that was added last; None before the first."""

    def __contains__(self, one: str) -> bool:
        return one in self._ids

    def add(self, one: str) -> None:
        """Add an id that is not among them; it displaces the oldest when they are too many."""
        self._ids[one] = None
        self.last = one
        if len(self._ids) > self._most:
            del self._ids[next(iter(self._ids))]
