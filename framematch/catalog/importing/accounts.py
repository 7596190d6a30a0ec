"""The accounts of an import: each row of the file has exactly one fate."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from framematch.catalog.importing.gathering.product_group import ProductNotice
from framematch.catalog.importing.notices import Notice, Notices
from framematch.catalog.importing.pictures.picture_source import Respelling
from framematch.catalog.importing.pictures.stored_pictures import PictureNotices
from framematch.catalog.importing.problems import RowProblem
from framematch.catalog.importing.prune import LackingProducts
from framematch.catalog.shared_pictures import PictureOwners, SharedPictures

_EXAMPLES = 3
_KEPT = "pictures that could not be downloaded stay as they were stored before"


class Fate(Enum):
    """What became of a row. One with several products has the first of these fates that one of them has."""

    ADDED = "added"
    CHANGED = "changed"
    SAME = "same"
    MERGED = "merged"
    REFUSED = "refused"


@dataclass(frozen=True)
class ImportReport:
    """What became of the rows of a file: read = added + changed + same + merged + refused.

    Attributes:
        read: rows of the file, without the header and blank lines.
        added, changed, same: rows that are in the catalogue as a product that is new, differs, or is as it was.
        merged: rows that are a part of another row's product.
        problems: why rows were refused, in the order of their lines.
        respelled, respellings: how many pictures were found under another name, and the first of them.
        blank_lines: lines without content or with empty cells only.
        notices: what else is worth knowing, each kind once.
        shared: pictures that several products of the file have.
        similar_ids: the first pairs of ids that differ only in case or spaces; they are different products.
        file_changed: the file was written to while it was read.
        dry_run: nothing was stored.
        lacking: products of the catalogue that the file does not have, if it was asked for.
        not_lacking: why they are not known.
        refused_file: where the refused rows are; None if there are none, or they were not to be written.
    """

    read: int
    added: int
    changed: int
    same: int
    merged: int
    refused: int
    problems: tuple[RowProblem, ...] = ()
    blank_lines: int = 0
    respelled: int = 0
    respellings: tuple[Respelling, ...] = ()
    notices: tuple[Notice, ...] = ()
    shared: SharedPictures = field(default_factory=SharedPictures)
    similar_ids: tuple[tuple[str, str], ...] = ()
    file_changed: bool = False
    dry_run: bool = False
    lacking: LackingProducts | None = None
    not_lacking: str = ""
    refused_file: Path | None = None

    def __post_init__(self) -> None:
        """Check that each row was counted once.

        Raises:
            AssertionError: rows were lost, or counted twice: a defect of the import.
        """
        if self.read != self.good + self.refused or self.refused != len(self.problems):
            raise AssertionError(
                f"{self.read} rows were read, but {self.good} imported and {self.refused} refused, "
                f"{len(self.problems)} with a reason"
            )

    @property
    def good(self) -> int:
        """How many rows are in the catalogue now, as a product or a part of one."""
        return self.added + self.changed + self.same + self.merged


class Accounts:
    """Counts rows and what becomes of them, and collects what is worth knowing."""

    def __init__(self, read: int = 0, blank_lines: int = 0, notices: Iterable[str] = ()) -> None:
        self.read = read
        self.blank_lines = blank_lines
        self.done = 0
        """How many rows have a fate."""
        self.lines_by_id: dict[str, int] = {}
        """The first line of each product of the file."""
        self.problems: list[RowProblem] = []
        self.notices = Notices()
        self.owners = PictureOwners()
        self._fates: Counter[Fate] = Counter()
        for notice in notices:
            self.notices.add(notice)

    def refuse(self, problems: Sequence[RowProblem]) -> None:
        """These rows are refused."""
        self.problems += problems
        self.done += len(problems)
        self._fates[Fate.REFUSED] += len(problems)

    def take(self, lines: Sequence[int], fates: Iterable[tuple[int, Fate]]) -> None:
        """The rows on these first lines are one product or several; `fates` has the line and the fate of each."""
        of_lines = fates_of_rows(lines, fates)
        self._fates.update(of_lines.values())
        self.done += len(lines)

    def note(self, notices: Iterable[ProductNotice]) -> None:
        """A product has these notices."""
        for notice in notices:
            self.notices.add(notice.title, notice.example)

    def of(self, fate: Fate) -> int:
        """How many rows have this fate."""
        return self._fates[fate]

    def report(self, pictures: PictureNotices) -> ImportReport:
        """What became of all rows; what happens after the last row is added by the import."""
        return ImportReport(
            read=self.read,
            added=self.of(Fate.ADDED),
            changed=self.of(Fate.CHANGED),
            same=self.of(Fate.SAME),
            merged=self.of(Fate.MERGED),
            refused=self.of(Fate.REFUSED),
            problems=tuple(sorted(self.problems, key=lambda problem: problem.line)),
            blank_lines=self.blank_lines,
            respelled=pictures.respelled,
            respellings=pictures.respellings,
            notices=(*self.notices.all(), *_of_pictures(pictures)),
            shared=self.owners.shared(),
            similar_ids=tuple(_similar_ids(self.lines_by_id))[:_EXAMPLES],
        )


def fates_of_rows(lines: Sequence[int], fates: Iterable[tuple[int, Fate]]) -> Mapping[int, Fate]:
    """The fate of each row of a group: that of the product that it gives its name to, else merged."""
    order = list(Fate)
    of_lines = dict.fromkeys(lines, Fate.MERGED)
    for line, fate in fates:
        of_lines[line] = min(of_lines[line], fate, key=order.index)
    return of_lines


def _of_pictures(pictures: PictureNotices) -> Iterator[Notice]:
    if pictures.kept:
        yield Notice(_KEPT, pictures.kept, pictures.kept_examples)


def _similar_ids(ids: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of ids that differ only in case or spaces."""
    first: dict[str, str] = {}
    for text in ids:
        if (one := first.setdefault(" ".join(text.casefold().split()), text)) != text:
            yield one, text
