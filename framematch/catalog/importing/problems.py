"""What is wrong with the rows of a catalogue file: by kind, for the screen."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class ProblemKind(Enum):
    """A kind of problem: what it is, and what to do about it."""

    QUOTES = ("quotes that do not match", 'Write a quote inside of a cell twice (""), and close each cell')
    CELLS = ("other cells than columns", "Put cells that contain the delimiter into quotes")
    NOT_TEXT = (
        "bytes that are no text in the file's encoding",
        "Save the file as CSV (UTF-8), or state its encoding: --encoding cp1252",
    )
    CUT = ("the rest of the file cannot be read", "Export the file again, and transfer it completely")
    TOO_LONG = ("too long", "Shorten the texts: every match event contains them")
    NOT_JSON = ("not a JSON object", "Write one JSON object on each line, each key once")
    FIELD = ("id, name, price or image is missing or invalid", "Fill the cells")
    DUPLICATE = ("an id that another row has", "Give each product one row; it may name several images")
    NO_IMAGE = ("image not found", "Check the names, and the folder (--images)")
    BAD_IMAGE = ("image that cannot be used", "Save the picture again, as JPEG or PNG")
    NOT_ALLOWED = ("picture at a web address that is not allowed", "Allow its host with --allow-host")
    UNREACHABLE = ("picture that could not be downloaded", "Import the file again later; what is stored is kept")
    GROUP = ("rows of a product with a row that is refused", "Correct that row")
    NOT_STORABLE = ("values that cannot be stored", "Write large numbers as text")

    @property
    def title(self) -> str:
        """What is wrong."""
        return self.value[0]

    @property
    def hint(self) -> str:
        """What to do."""
        return self.value[1]


@dataclass(frozen=True)
class RowProblem:
    """Why the row on the lines `line` to `last_line` (1 is the file's first) was not imported."""

    line: int
    last_line: int
    kind: ProblemKind
    reason: str

    @property
    def place(self) -> str:
        """`line 4`, or `lines 4 to 9`."""
        return f"line {self.line}" if self.line == self.last_line else f"lines {self.line} to {self.last_line}"


@dataclass(frozen=True)
class ProblemGroup:
    """All problems of a kind: how many, and the first ones."""

    kind: ProblemKind
    count: int
    first: tuple[RowProblem, ...]


def group_problems(problems: Iterable[RowProblem], shown: int) -> tuple[ProblemGroup, ...]:
    """The problems by kind, the rarest kind first, with the first `shown` of each kind."""
    counts: Counter[ProblemKind] = Counter()
    first: dict[ProblemKind, list[RowProblem]] = {}
    for problem in problems:
        counts[problem.kind] += 1
        examples = first.setdefault(problem.kind, [])
        if len(examples) < shown:
            examples.append(problem)
    return tuple(ProblemGroup(kind, count, tuple(first[kind])) for kind, count in reversed(counts.most_common()))
