"""What a user should know about an import beside refused rows: each kind once, with its number and first examples."""

from collections import Counter
from dataclasses import dataclass

_EXAMPLES = 3


@dataclass(frozen=True)
class Notice:
    """Something of the kind `title` was found `count` times; the first `examples` say where."""

    title: str
    count: int
    examples: tuple[str, ...] = ()


class Notices:
    """Collects notices, and adds up those of one kind."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, title: str, example: str = "") -> None:
        """Something was found once more."""
        self._counts[title] += 1
        examples = self._examples.setdefault(title, [])
        if example and len(examples) < _EXAMPLES:
            examples.append(example)

    def all(self) -> tuple[Notice, ...]:
        """Each kind once, in the order in which they were found."""
        return tuple(Notice(title, count, tuple(self._examples[title])) for title, count in self._counts.items())
